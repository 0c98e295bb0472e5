//! A robust mutex of the C library in a file of shared memory, alone, and with a condition variable and a count.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fs::{self, File, OpenOptions};
use std::mem::MaybeUninit;
use std::path::PathBuf;

use memmap2::{MmapOptions, MmapRaw};

use super::Semaphore;

/// What is in the file.
#[repr(C)]
struct Shared {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    nonzero: UnsafeCell<libc::pthread_cond_t>,
    count: UnsafeCell<u32>,
}

/// The mapped file.
struct Mapped(MmapRaw);

impl Mapped {
    fn make(key: &str, value: u32) -> Self {
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).open(path(key)).expect("it is new");
        file.set_len(size_of::<Shared>() as u64).expect("there is room");
        let mapped = Self::map(&file);
        mapped.initialize(value);
        mapped
    }

    fn open(key: &str) -> Self {
        Self::map(&OpenOptions::new().read(true).write(true).open(path(key)).expect("it is there"))
    }

    fn map(file: &File) -> Self {
        Self(MmapOptions::new().map_raw(file).expect("it can be mapped"))
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the file has the size, a mapping is aligned, and all that is written to is in cells
        unsafe { &*self.0.as_ptr().cast::<Shared>() }
    }

    fn initialize(&self, value: u32) {
        let shared = self.shared();
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: it is the place to initialize
        unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
        // SAFETY: initialized above
        unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: initialized above
        unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: nobody else has the file yet
        let result = unsafe { libc::pthread_mutex_init(shared.mutex.get(), attributes.as_ptr()) };
        assert_eq!(result, 0);
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: it is the place to initialize
        unsafe { libc::pthread_condattr_init(attributes.as_mut_ptr()) };
        // SAFETY: initialized above
        unsafe { libc::pthread_condattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: nobody else has the file yet
        let result = unsafe { libc::pthread_cond_init(shared.nonzero.get(), attributes.as_ptr()) };
        assert_eq!(result, 0);
        // SAFETY: nobody else has the file yet
        unsafe { shared.count.get().write(value) };
    }

    #[inline(always)]
    fn lock(&self) {
        // SAFETY: it was initialized before anybody could open the file
        match unsafe { libc::pthread_mutex_lock(self.shared().mutex.get()) } {
            0 => {}
            libc::EOWNERDEAD => self.take_over(),
            error => panic!("lock: {error}"),
        }
    }

    #[cold]
    fn take_over(&self) {
        // SAFETY: this thread has it locked
        let result = unsafe { libc::pthread_mutex_consistent(self.shared().mutex.get()) };
        assert_eq!(result, 0);
    }

    #[inline(always)]
    fn unlock(&self) {
        // SAFETY: this thread has it locked
        let result = unsafe { libc::pthread_mutex_unlock(self.shared().mutex.get()) };
        assert_eq!(result, 0);
    }
}

fn path(key: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(key)
}

fn remove(key: &str) {
    fs::remove_file(path(key)).expect("it is there");
}

/// The mutex alone: one permit, which comes back at a death.
pub(super) struct Binary(Mapped);

impl Semaphore for Binary {
    fn make(key: &str, value: u32) -> Self {
        assert_eq!(value, 1);
        Self(Mapped::make(key, value))
    }

    fn open(key: &str) -> Self {
        Self(Mapped::open(key))
    }

    fn remove(key: &str) {
        remove(key);
    }

    #[inline(always)]
    fn hold(&self) {
        self.0.lock();
    }

    #[inline(always)]
    fn unhold(&self) {
        self.0.unlock();
    }
}

/// A count under the mutex. What a dead process had taken stays taken.
pub(super) struct Counting(Mapped);

impl Semaphore for Counting {
    fn make(key: &str, value: u32) -> Self {
        Self(Mapped::make(key, value))
    }

    fn open(key: &str) -> Self {
        Self(Mapped::open(key))
    }

    fn remove(key: &str) {
        remove(key);
    }

    fn hold(&self) {
        let shared = self.0.shared();
        self.0.lock();
        // SAFETY: the mutex is locked
        while unsafe { shared.count.get().read() } == 0 {
            // SAFETY: both are initialized, and the mutex is locked
            let result = unsafe { libc::pthread_cond_wait(shared.nonzero.get(), shared.mutex.get()) };
            if result == libc::EOWNERDEAD {
                self.0.take_over();
            }
        }
        // SAFETY: the mutex is locked
        unsafe { *shared.count.get() -= 1 };
        self.0.unlock();
    }

    fn unhold(&self) {
        let shared = self.0.shared();
        self.0.lock();
        // SAFETY: the mutex is locked
        unsafe { *shared.count.get() += 1 };
        // SAFETY: it is initialized
        let result = unsafe { libc::pthread_cond_signal(shared.nonzero.get()) };
        assert_eq!(result, 0);
        self.0.unlock();
    }
}
