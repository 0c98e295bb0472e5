//! A process that is measured: it does what it is told line by line, and takes the time itself.
//!
//! A command is words between spaces, its answer a line `ok NUMBER...`. What has to wait says `began` first. Semaphores have
//! the numbers 0, 1, ... in the order in which they were made or opened. At the end of its input it removes those that it
//! made. `bench/workers` has the same in C++ and Python.

mod mutex;
mod ours;
mod sem_t;
mod semop;

use std::hint::black_box;
use std::io::{BufRead, stdin};
use std::sync::mpsc::channel;
use std::thread;

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A semaphore to be measured. What fails, panics: the sample is void then.
trait Semaphore: Sized {
    /// Makes it; it must not be there.
    fn make(key: &str, value: u32) -> Self;
    /// Opens it; it must be there.
    fn open(key: &str) -> Self;
    /// Takes it out of the system.
    fn remove(key: &str);
    /// Takes a permit and gives it back.
    #[inline(always)]
    fn pair(&self) {
        self.hold();
        self.unhold();
    }
    /// Takes a permit that comes back at the process's death, if the semaphore can do that,
    fn hold(&self);
    /// and gives it back.
    fn unhold(&self);
    /// Takes a permit for good, as a consumer does.
    fn take(&self) {
        self.hold();
    }
    /// Creates a permit, as a producer does.
    fn give(&self) {
        self.unhold();
    }
}

/// Serves as the contestant of this name.
pub(crate) fn serve(contestant: &str) {
    match contestant {
        "robust" => Worker::<ours::Robust>::serve(),
        "robust-threads" => beside_a_thread(Worker::<ours::Robust>::serve),
        "system-v" => Worker::<ours::SystemV>::serve(),
        "posix" => Worker::<ours::Posix>::serve(),
        "sem_t" => Worker::<sem_t::Named>::serve(),
        "sem_t-threads" => beside_a_thread(Worker::<sem_t::Named>::serve),
        "semop" => Worker::<semop::Plain>::serve(),
        "semop-undo" => Worker::<semop::Undone>::serve(),
        "mutex" => Worker::<mutex::Binary>::serve(),
        "condvar" => Worker::<mutex::Counting>::serve(),
        _ => panic!("there is no contestant {contestant:?}"),
    }
}

/// Does it while another thread of the process sleeps.
fn beside_a_thread(serve: impl FnOnce()) {
    let (stop, stopped) = channel::<()>();
    let other = thread::spawn(move || stopped.recv());
    serve();
    drop(stop);
    let _ = other.join();
}

struct Worker<S: Semaphore> {
    semaphores: Vec<S>,
    /// The keys of those that are removed at the end.
    made: Vec<String>,
}

impl<S: Semaphore> Worker<S> {
    fn serve() {
        let mut worker = Self { semaphores: Vec::new(), made: Vec::new() };
        for line in stdin().lock().lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            println!("ok {}", worker.obey(words[0], &words[1..]));
        }
    }

    fn obey(&mut self, command: &str, arguments: &[&str]) -> String {
        let key = *arguments.first().unwrap_or(&"");
        let number = |index: usize| arguments[index].parse::<u64>().expect("a number");
        match command {
            "make" => self.make(key, number(1), number(2) as u32),
            "open" => self.semaphores.push(S::open(key)),
            "open-many" => self.semaphores.extend(many(key, number(1)).map(|key| S::open(&key))),
            "pairs" => return self.pairs(number(0)),
            "open-close" => return measure(number(1), || drop(black_box(S::open(key)))),
            "create-remove" => return measure(number(1), || create_and_remove::<S>(key)),
            "ping" => return self.ping(number(0)),
            "pong" => self.pong(number(0)),
            "contend" => return self.contend(number(0), number(1)),
            "contend-timed" => return self.contend_timed(number(0), number(1)),
            "produce" => return self.pass(0, 1, number(0), number(1)),
            "consume" => return self.pass(1, 0, number(0), number(1)),
            "hold" => self.semaphores[0].hold(),
            "unhold" => self.semaphores[0].unhold(),
            "wait" => return self.wait(),
            _ => panic!("there is no command {command:?}"),
        }
        String::new()
    }

    fn make(&mut self, key: &str, count: u64, value: u32) {
        for key in many(key, count) {
            self.semaphores.push(S::make(&key, value));
            self.made.push(key);
        }
    }

    /// Nanoseconds of CPU time a pair, round robin over all that are open.
    fn pairs(&self, milliseconds: u64) -> String {
        if let [semaphore] = &self.semaphores[..] {
            return measure(milliseconds, || black_box(semaphore).pair());
        }
        // what is touched for the first time costs more
        self.semaphores.iter().for_each(S::pair);
        let mut next = 0;
        measure(milliseconds, || {
            self.semaphores[next].pair();
            next = if next + 1 == self.semaphores.len() { 0 } else { next + 1 };
        })
    }

    /// Nanoseconds there and back.
    fn ping(&self, times: u64) -> String {
        let begin = now();
        for _ in 0..times {
            self.semaphores[1].give();
            self.semaphores[0].take();
        }
        ((now() - begin) as f64 / times as f64).to_string()
    }

    fn pong(&self, times: u64) {
        for _ in 0..times {
            self.semaphores[1].take();
            self.semaphores[0].give();
        }
    }

    /// How many pairs.
    fn contend(&self, start: u64, duration: u64) -> String {
        let semaphore = &self.semaphores[0];
        sleep_until(start);
        let mut pairs = 0;
        while now() < start + duration {
            (0..64).for_each(|_| semaphore.pair());
            pairs += 64;
        }
        pairs.to_string()
    }

    /// The longest that one wait took, in nanoseconds.
    fn contend_timed(&self, start: u64, duration: u64) -> String {
        let semaphore = &self.semaphores[0];
        sleep_until(start);
        let (mut longest, mut begin) = (0, now());
        while begin < start + duration {
            semaphore.hold();
            longest = longest.max(now() - begin);
            semaphore.unhold();
            begin = now();
        }
        longest.to_string()
    }

    /// When it was done.
    fn pass(&self, source: usize, target: usize, start: u64, items: u64) -> String {
        sleep_until(start);
        for _ in 0..items {
            self.semaphores[source].take();
            self.semaphores[target].give();
        }
        now().to_string()
    }

    /// When it had a permit, and the CPU time that it took to wait.
    fn wait(&self) -> String {
        println!("began");
        let begin = cpu_time();
        self.semaphores[0].hold();
        let end = now();
        format!("{end} {}", cpu_time() - begin)
    }
}

/// At a panic, too.
impl<S: Semaphore> Drop for Worker<S> {
    fn drop(&mut self) {
        self.semaphores.clear();
        self.made.iter().for_each(|key| S::remove(key));
    }
}

/// The keys of so many semaphores; that of one is as given.
fn many(key: &str, count: u64) -> impl Iterator<Item = String> {
    (0..count).map(move |number| if number == 0 { key.to_owned() } else { format!("{key}-{number}") })
}

fn create_and_remove<S: Semaphore>(key: &str) {
    let semaphore = S::make(key, 1);
    drop(black_box(semaphore));
    S::remove(key);
}

/// Nanoseconds of CPU time an operation: as many as take about the time asked for, after some to warm up.
fn measure(milliseconds: u64, mut operation: impl FnMut()) -> String {
    let mut times: u64 = 16;
    loop {
        let begin = cpu_time();
        for _ in 0..times {
            operation();
        }
        let taken = cpu_time() - begin;
        if taken >= milliseconds * 500_000 {
            return (taken as f64 / times as f64).to_string();
        }
        times *= 2;
    }
}

fn now() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

fn cpu_time() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn sleep_until(time: u64) {
    let time = Timespec { tv_sec: (time / 1_000_000_000) as i64, tv_nsec: (time % 1_000_000_000) as _ };
    while !matches!(clock_nanosleep_absolute(ClockId::Monotonic, &time), Ok(())) {}
}
