//! A named semaphore of the C library: the reference.
#![allow(unsafe_code)]

use std::ffi::CString;

use super::Semaphore;

pub(super) struct Named(*mut libc::sem_t);

impl Named {
    fn call_open(key: &str, flags: i32, value: u32) -> Self {
        let name = name(key);
        // SAFETY: the name ends with a zero, and the mode and value are there
        let semaphore = unsafe { libc::sem_open(name.as_ptr(), flags, 0o600 as libc::mode_t, value) };
        assert_ne!(semaphore, libc::SEM_FAILED, "sem_open {key}");
        Self(semaphore)
    }
}

fn name(key: &str) -> CString {
    CString::new(format!("/{key}")).expect("no zero in it")
}

impl Semaphore for Named {
    fn make(key: &str, value: u32) -> Self {
        Self::call_open(key, libc::O_CREAT | libc::O_EXCL, value)
    }

    fn open(key: &str) -> Self {
        Self::call_open(key, 0, 0)
    }

    fn remove(key: &str) {
        let name = name(key);
        // SAFETY: the name ends with a zero
        let result = unsafe { libc::sem_unlink(name.as_ptr()) };
        assert_eq!(result, 0, "sem_unlink {key}");
    }

    #[inline(always)]
    fn hold(&self) {
        // SAFETY: it is open until it is dropped
        let result = unsafe { libc::sem_wait(self.0) };
        assert_eq!(result, 0);
    }

    #[inline(always)]
    fn unhold(&self) {
        // SAFETY: it is open until it is dropped
        let result = unsafe { libc::sem_post(self.0) };
        assert_eq!(result, 0);
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more
        unsafe { libc::sem_close(self.0) };
    }
}
