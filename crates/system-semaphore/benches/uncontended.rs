//! What an uncontended acquire and release cost, beside `sem_wait` and `sem_post` of the C library.
//!
//! ```text
//! cargo bench -p system-semaphore --bench uncontended
//! ```
//!
//! Only ratios within a run mean something: the rounds are interleaved, and of each thing the median is taken. First
//! in a process of one thread, then in one that has another, which sleeps.

#![cfg_attr(target_os = "linux", allow(unsafe_code))]

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("there is nothing to compare on this platform");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::hint::black_box;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Instant;

    use system_semaphore::{AccessMode, KeyType, SystemSemaphore};

    const PAIRS: u32 = 200_000;
    const ROUNDS: usize = 51;

    /// A thing to measure, by name.
    type Subject<'a> = (&'static str, Box<dyn FnMut() + 'a>);

    pub(super) fn main() {
        let open = |key_type| {
            SystemSemaphore::builder(format!("bench-uncontended-{}", std::process::id()))
                .key_type(key_type)
                .initial_value(1)
                .mode(AccessMode::CreateNew)
                .build()
                .expect("nobody has the name")
        };
        let mut plain = PlainSemaphore::new();
        let [robust, system_v, posix] = [KeyType::Robust, KeyType::SYSTEM_V, KeyType::Posix].map(open);
        println!("{:<24} {:>10} {:>8}", "", "ns a pair", "x sem_t");
        let mut compare = |threads: &str| {
            let mut subjects: Vec<Subject<'_>> = vec![
                ("sem_wait + sem_post", Box::new(|| plain.pair())),
                ("robust", Box::new(|| drop(black_box(&robust).acquire()))),
                (
                    "robust, by release",
                    Box::new(|| {
                        black_box(&robust).acquire().and_then(|permit| permit.release()).expect("it works");
                    }),
                ),
                ("POSIX", Box::new(|| drop(black_box(&posix).acquire()))),
                // the slowest: measured less often
                ("System V", Box::new(|| drop(black_box(&system_v).acquire()))),
            ];
            let times = measure(&mut subjects);
            println!("{threads}");
            for ((name, _), time) in subjects.iter().zip(&times) {
                println!("  {name:<22} {time:>10.2} {:>8.2}", time / times[0]);
            }
        };
        compare("one thread");
        let (stop, stopped) = channel::<()>();
        let other = thread::spawn(move || stopped.recv());
        compare("two threads, one asleep");
        drop(stop);
        let _ = other.join();
    }

    /// The median nanoseconds of one call of each.
    fn measure(subjects: &mut [Subject<'_>]) -> Vec<f64> {
        let mut times = vec![Vec::new(); subjects.len()];
        for _ in 0..ROUNDS {
            for ((name, pair), times) in subjects.iter_mut().zip(&mut times) {
                let pairs = if *name == "System V" { PAIRS / 50 } else { PAIRS };
                let begin = Instant::now();
                for _ in 0..pairs {
                    pair();
                }
                times.push(begin.elapsed().as_secs_f64() * 1e9 / f64::from(pairs));
            }
        }
        times
            .into_iter()
            .map(|mut times| {
                times.sort_by(f64::total_cmp);
                times[times.len() / 2]
            })
            .collect()
    }

    /// A semaphore of the C library, shared between processes as named ones are.
    struct PlainSemaphore(Box<libc::sem_t>);

    impl PlainSemaphore {
        fn new() -> Self {
            // SAFETY: all zeros is a valid value of a plain struct
            let mut semaphore = Box::new(unsafe { std::mem::zeroed() });
            // SAFETY: it is live, and not moved, being in a box
            let result = unsafe { libc::sem_init(&mut *semaphore, 1, 1) };
            assert_eq!(result, 0);
            Self(semaphore)
        }

        fn pair(&mut self) {
            // SAFETY: `new` made it
            let waited = unsafe { libc::sem_wait(black_box(&mut *self.0)) };
            // SAFETY: as above
            let posted = unsafe { libc::sem_post(black_box(&mut *self.0)) };
            assert_eq!((waited, posted), (0, 0));
        }
    }
}
