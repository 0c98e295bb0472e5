//! A stranger who may write the file of a live semaphore writes anything into it. What the semaphore is worth then, is
//! another matter: whatever is called returns, nothing panics, and processes end as they like.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use fastrand::Rng;
use system_semaphore::{AccessMode, ErrorKind};
use test_support::format::{
    FIRST_SLOTS, Field, SLOT_SIZE, SLOTS, SLOTS_AT, StateWord, header, slot, slot_at, slot_of,
};
use test_support::robust_file::assert_works;
use test_support::{Puppet, wait_until};

use super::helper;
use super::test_file::{TestFile, valid_bytes};

/// Those who use what is scribbled on.
struct Users {
    holder: Puppet,
    waiter: Puppet,
    user: Puppet,
}

impl Users {
    fn new() -> Self {
        Self { holder: Puppet::of_this_program(), waiter: Puppet::of_this_program(), user: helper::start() }
    }

    /// Lets everybody use a new semaphore on which somebody scribbles.
    fn use_while(&mut self, what: &str, scribble: impl Fn(&File)) {
        let test_file = TestFile::own();
        let Self { holder, waiter, user } = self;
        let semaphore = test_file.create(3);
        let file = test_file.file();
        for puppet in [&mut *holder, &mut *waiter] {
            puppet.must(&test_file.opening("OpenExisting"));
        }
        holder.must("acquire\ts\t2");
        holder.must("acquire\ts\t1");
        holder.must("hold\ts");
        waiter.send("acquire\ts\t1\t30");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(20) && semaphore.waiting().is_ok_and(|count| count == 0)
        {
            std::thread::yield_now();
        }
        scribble(&file);
        let _ = waiter.answer();
        user.must(&format!("everything\t{}\t{}", test_file.key, what.len()));
        for (puppet, is_holder) in [(holder, true), (waiter, false)] {
            for question in ["available", "waiting", "held"] {
                let _ = puppet.ask(&format!("{question}\ts"));
            }
            if is_holder {
                let _ = puppet.ask("drop\ts");
                let _ = puppet.ask("release\ts\t2");
            }
            let _ = puppet.ask("try\ts\t1");
            let _ = puppet.ask("acquire\ts\t2\t5");
            puppet.must("close\ts");
        }
        drop(semaphore);
        Self::sweep(&test_file);
    }

    /// What nobody uses can be used again, or removed.
    fn sweep(test_file: &TestFile) {
        wait_until("it can be removed", || {
            if test_file.exists() {
                let _ = test_file.remove();
            }
            !test_file.exists()
        });
        assert_works(&test_file.create(2), 2);
    }

    fn exit(self) {
        for puppet in [self.holder, self.waiter, self.user] {
            let status = puppet.exit();
            assert!(status.success(), "{status}");
        }
    }
}

/// Each number of so many bytes, at places that make trouble.
fn extremes(size: usize) -> Vec<Vec<u8>> {
    let words = [
        0,
        1,
        2,
        u64::from(i32::MAX as u32),
        1 << 31,
        u64::from(u32::MAX) - 1,
        u64::from(u32::MAX),
        1 << 32,
        u64::MAX >> 1,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    let mut values: Vec<Vec<u8>> = words.iter().map(|word| word.to_ne_bytes()[..size].to_vec()).collect();
    values.sort();
    values.dedup();
    values
}

pub(crate) fn any_value_in_any_header_field_is_survived() {
    let mut users = Users::new();
    for (name, at, size) in header_fields() {
        for value in extremes(size) {
            let what = format!("{name} is {value:x?}");
            eprintln!("{what}");
            users.use_while(&what, |file| file.write_all_at(&value, at).expect("it can be written"));
        }
    }
    // the last operation was by this slot, with this number
    for slot in [1, 2, 3, FIRST_SLOTS - 1, FIRST_SLOTS, 1000, SLOTS - 1, SLOTS, SLOTS + 1, SLOTS + 2] {
        for seq in [0, 1, 0xF_FFFFu32] {
            for low in [0, 5, 1 << 31, u32::MAX] {
                let (waiters, count) = (low >> 31 != 0, low & !(1 << 31));
                let state = StateWord { slot, seq, waiters, count }.encode();
                let what = format!("state is slot {slot}, seq {seq}, {low:x}");
                eprintln!("{what}");
                let bytes = state.to_ne_bytes();
                users.use_while(&what, |file| {
                    file.write_all_at(&bytes, header::STATE).expect("it can be written");
                });
            }
        }
    }
    for byte in [0, 0x55, 0xFF] {
        let what = format!("used is {byte:x}");
        eprintln!("{what}");
        let used = [byte; header::USED_SIZE];
        users.use_while(&what, |file| file.write_all_at(&used, header::USED).expect("it can be written"));
    }
    users.exit();
}

pub(crate) fn any_value_in_any_slot_field_is_survived() {
    let mut users = Users::new();
    // of everybody, and of those who are not there
    for (slots, used) in [(0..4, false), (0..FIRST_SLOTS, true)] {
        for &Field { name, offset, size } in slot::FIELDS {
            for value in extremes(size) {
                let what = format!("{name} of {slots:?} is {value:x?}");
                eprintln!("{what}");
                users.use_while(&what, |file| {
                    for slot in slots.clone() {
                        let at = slot_at(slot) + offset;
                        file.write_all_at(&value, at).expect("it can be written");
                    }
                    if used {
                        file.write_all_at(&[0xFF; 7], header::USED).expect("it can be written");
                    }
                });
            }
        }
    }
    users.exit();
}

/// The fields behind the magic and the version. Those of both kinds of epochs are two.
fn header_fields() -> Vec<(&'static str, u64, usize)> {
    let is_single = |field: &&Field| {
        ![header::MAGIC, header::VERSION, header::MAX_PERMITS, header::USED].contains(&field.offset)
    };
    let mut fields: Vec<_> =
        header::FIELDS.iter().filter(is_single).map(|field| (field.name, field.offset, field.size)).collect();
    fields.extend([
        ("max_permits of even epochs", header::MAX_PERMITS, 4),
        ("max_permits of odd epochs", header::MAX_PERMITS + 4, 4),
    ]);
    fields.sort_by_key(|(_, at, _)| *at);
    fields
}

/// Behind what says which file it is; what is above, never changes.
const BODY: u64 = header::EPOCH;

fn random_bytes(random: &mut Rng, range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    random.fill(&mut bytes);
    bytes
}

#[track_caller]
fn with_a_seed(what: impl FnOnce(&mut Rng)) {
    let seed = std::env::var("HOSTILE_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    eprintln!("HOSTILE_SEED={seed}");
    what(&mut Rng::with_seed(seed));
}

/// Nobody uses it when it is opened.
pub(crate) fn file_of_garbage_ends_no_process() {
    let good = valid_bytes();
    with_a_seed(|random| {
        let mut user = helper::start();
        for round in 0..20 {
            let test_file = TestFile::own();
            let mut bytes = good.clone();
            let range =
                if round % 2 == 0 { BODY..good.len() as u64 } else { header::PERSISTENT..SLOTS_AT + 600 };
            bytes[range.start as usize..range.end as usize].copy_from_slice(&random_bytes(random, range));
            test_file.plant_bytes(&bytes);
            for _ in 0..3 {
                user.must(&format!("everything\t{}\t{}", test_file.key, random.u32(..)));
            }
            Users::sweep(&test_file);
        }
        assert!(user.exit().success());
    });
}

pub(crate) fn continuous_random_writes_end_no_process() {
    const TIME: Duration = Duration::from_secs(6);
    with_a_seed(|random| {
        let test_file = TestFile::own();
        let mut users = [helper::start(), helper::start(), helper::start()];
        for user in &mut users {
            let (seed, ms) = (random.u32(..), TIME.as_millis());
            user.send(&format!("random\t{}\t{seed}\t{ms}", test_file.key));
        }
        let end = Instant::now() + TIME;
        let size = valid_bytes().len() as u64;
        let mut count = 0;
        while Instant::now() < end {
            // it may have been removed, and is made again
            let Ok(file) = OpenOptions::new().write(true).open(&test_file.path) else { continue };
            scribble(random, &file, size);
            count += 1;
            std::thread::sleep(Duration::from_micros(random.u64(0..2000)));
        }
        for mut user in users {
            let count = user.answer().expect("whatever it does, it does not fail");
            assert_ne!(count, "0", "it could never be opened");
            assert!(user.exit().success());
        }
        assert!(count > 0, "nothing was scribbled on");
        Users::sweep(&test_file);
        // and can be used again
        let mut semaphore = test_file.open(1, AccessMode::Create).expect("it is new");
        semaphore.set_key(&test_file.key, 2, AccessMode::Create).expect("it is there");
        assert_works(&semaphore, 2);
    });
}

/// What says which file it is, may go, too: who is there goes on, and nobody else comes.
pub(crate) fn any_bytes_in_header_of_open_file_are_survived() {
    with_a_seed(|random| {
        for zeros in [true, false] {
            let test_file = TestFile::own();
            let semaphore = test_file.create(3);
            let (mut user, mut waiter) = (test_file.puppet(), test_file.puppet());
            waiter.send("acquire\ts\t4\t2000");
            wait_until("it waits", || semaphore.waiting().is_ok_and(|waiting| waiting == 1));
            let size = valid_bytes().len() as u64;
            let bytes = if zeros { vec![0; size as usize] } else { random_bytes(random, 0..size) };
            test_file.file().write_all_at(&bytes, 0).expect("it can be written");
            let _ = waiter.answer();
            for puppet in [&mut user, &mut waiter] {
                for what in ["available\ts", "waiting\ts", "try\ts\t1", "acquire\ts\t1\t20", "release\ts\t2"]
                {
                    let _ = puppet.ask(what);
                }
            }
            test_file.is_refused_while_used("a scribbled head", ErrorKind::Corrupt, &["remove it"]);
            drop(semaphore);
            user.must("close\ts");
            waiter.must("close\ts");
            assert!(user.exit().success());
            assert!(waiter.exit().success());
            assert!(!zeros || !test_file.exists(), "its last user has not unlinked it");
            test_file.clear();
        }
    });
}

/// A slot that says that its last operation happened and is not written down looks as if a signal handler had
/// interrupted it.
pub(crate) fn slot_with_unfinished_operation_is_reported() {
    let test_file = TestFile::own();
    let semaphore = test_file.create(3);
    let file = test_file.file();
    let at = slot_at(slot_of(&file, std::process::id()));
    let number = 7u32;
    let pending = (u64::from(number) << 32).to_ne_bytes();
    file.write_all_at(&pending, at + slot::PENDING).expect("it can be written");
    file.write_all_at(&number.to_ne_bytes(), at + slot::HELPED).expect("it can be written");
    for mode in [AccessMode::Open, AccessMode::Create] {
        let again = test_file.open(2, mode).expect("this process has it open");
        let error = again.try_acquire().expect_err("nobody can tell what it holds").to_string();
        assert!(error.contains("something else has written to its file"), "{error}");
    }
    drop(semaphore);
    assert_works(&test_file.create(2), 2);
}

fn scribble(random: &mut Rng, file: &File, size: u64) {
    let slots = if random.bool() { 4 } else { SLOTS };
    let slot = slot_at(random.u16(0..slots));
    let range = match random.u8(0..16) {
        0 => BODY..size,
        1 => BODY..header::MAX_PERMITS + 16,
        2..5 => header::STATE..header::STATE + 8,
        5 => header::USED..SLOTS_AT,
        6..9 => slot..slot + SLOT_SIZE,
        9 => SLOTS_AT..SLOTS_AT + 4 * SLOT_SIZE,
        10..13 => {
            let at = slot + 4 * random.u64(0..15);
            at..at + 4
        }
        _ => {
            let at = BODY + 4 * random.u64(0..11);
            at..at + 4
        }
    };
    let bytes = match random.u8(0..4) {
        0 => vec![random.u8(..) & 0x81; (range.end - range.start) as usize],
        1 if range.end - range.start >= 8 => {
            let mut bytes = random_bytes(random, range.clone());
            let values = extremes(8);
            bytes[..8].copy_from_slice(&values[random.usize(..values.len())]);
            bytes
        }
        _ => random_bytes(random, range.clone()),
    };
    // the file may be shorter in the end than anybody thinks, but never becomes so
    file.write_all_at(&bytes, range.start).expect("it can be written");
}
