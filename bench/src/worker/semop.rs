//! `semop`, with and without `SEM_UNDO`.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_short};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::Semaphore;

pub(super) type Plain = Set<0>;
pub(super) type Undone = Set<{ libc::SEM_UNDO as c_short }>;

/// A set of one semaphore. It is there until it is removed; to close it means nothing.
pub(super) struct Set<const FLAGS: c_short>(c_int);

impl<const FLAGS: c_short> Set<FLAGS> {
    fn get(key: &str, flags: c_int) -> Self {
        // SAFETY: it takes no pointers
        let set = unsafe { libc::semget(key_of(key), 1, flags) };
        assert_ne!(set, -1, "semget {key}");
        Self(set)
    }

    #[inline(always)]
    fn add(&self, difference: c_short, flags: c_short) {
        let mut operation = libc::sembuf { sem_num: 0, sem_op: difference, sem_flg: flags };
        // SAFETY: one operation, as it says
        let result = unsafe { libc::semop(self.0, &mut operation, 1) };
        assert_eq!(result, 0, "semop: {}", std::io::Error::last_os_error());
    }
}

/// Like `ftok` without a file. Never 0, which means a private set. Those of many keys that differ in the number at their end
/// only are different for sure.
fn key_of(key: &str) -> libc::key_t {
    const NUMBERS: u64 = 1 << 14;
    let (name, number) = key.rsplit_once('-').expect("a number at the end");
    let (name, number) = match number.parse::<u64>() {
        Ok(number) if number < NUMBERS => (name, number),
        _ => (key, 0),
    };
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(name);
    (hash % (1 << 17) * NUMBERS + number + 1) as libc::key_t & libc::key_t::MAX
}

impl<const FLAGS: c_short> Semaphore for Set<FLAGS> {
    fn make(key: &str, value: u32) -> Self {
        let set = Self::get(key, libc::IPC_CREAT | libc::IPC_EXCL | 0o600);
        // SAFETY: the set is there, and the value goes with SETVAL
        let result = unsafe { libc::semctl(set.0, 0, libc::SETVAL, value) };
        assert_eq!(result, 0, "SETVAL");
        set
    }

    fn open(key: &str) -> Self {
        Self::get(key, 0)
    }

    fn remove(key: &str) {
        let set = Self::get(key, 0);
        // SAFETY: it takes no more arguments
        let result = unsafe { libc::semctl(set.0, 0, libc::IPC_RMID) };
        assert_eq!(result, 0, "IPC_RMID");
    }

    #[inline(always)]
    fn hold(&self) {
        self.add(-1, FLAGS);
    }

    #[inline(always)]
    fn unhold(&self) {
        self.add(1, FLAGS);
    }
}
