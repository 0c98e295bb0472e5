//! Stand-ins for the library's rooms.

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, fence};
}

/// What the two halves are together.
pub(crate) mod asymmetric_fence {
    use std::sync::atomic::Ordering;

    use super::atomic::fence;

    pub(crate) fn is_available() -> bool {
        true
    }

    pub(crate) fn light() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn heavy() {
        fence(Ordering::SeqCst);
    }
}

pub(crate) mod descriptor {
    use std::io::{Stdin, stdin};
    use std::os::fd::{AsFd, BorrowedFd};

    /// Something that has a descriptor, which the locks' stand-in does not look at.
    #[derive(Debug)]
    pub(crate) struct PrivateDescriptor(Stdin);

    impl PrivateDescriptor {
        pub(crate) fn of_nothing() -> Self {
            Self(stdin())
        }

        #[expect(clippy::unused_self, reason = "the real one looks")]
        pub(crate) fn is_ours(&self) -> bool {
            true
        }
    }

    impl AsFd for PrivateDescriptor {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

pub(crate) mod fork {
    /// Who dies has no generation; see the crate's documentation.
    pub(crate) fn generation() -> u32 {
        u32::from(!std::thread::panicking())
    }
}

pub(crate) mod futex {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use loom::sync::{Condvar, Mutex};
    use rustix::io::Errno;
    use rustix::time::Timespec;

    use super::atomic::AtomicU64;

    /// On which bits somebody sleeps, and what wakes it.
    type Sleeper = (u32, Arc<Condvar>);

    loom::lazy_static! {
        /// Who sleeps; there is only one futex. The kernel looks at the word with its queue locked, too.
        static ref SLEEPERS: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());
    }

    /// Sleeps until woken: nobody's time runs out here, so whoever is forgotten sleeps for ever, which loom reports.
    pub(crate) fn wait(word: &AtomicU64, value: u32, _: &Timespec, bits: NonZeroU32) -> Result<(), Errno> {
        let mut sleepers = SLEEPERS.lock().expect("nobody dies with it");
        if word.load(Ordering::Relaxed) as u32 != value {
            return Err(Errno::AGAIN);
        }
        let alarm = Arc::new(Condvar::new());
        sleepers.push((bits.get(), Arc::clone(&alarm)));
        while sleepers.iter().any(|(_, other)| Arc::ptr_eq(other, &alarm)) {
            sleepers = alarm.wait(sleepers).expect("nobody dies with it");
        }
        Ok(())
    }

    pub(crate) fn wake(_: &AtomicU64, count: u32, bits: NonZeroU32) {
        let mut sleepers = SLEEPERS.lock().expect("nobody dies with it");
        for _ in 0..count {
            let Some(next) = sleepers.iter().position(|(other, _)| other & bits.get() != 0) else { break };
            sleepers.remove(next).1.notify_one();
        }
    }
}

pub(crate) mod lock {
    use std::io;
    use std::ops::Range;
    use std::os::fd::BorrowedFd;

    use loom::sync::Mutex;

    use crate::backend::robust::me;

    loom::lazy_static! {
        /// Who has which byte. A process is known by its slot.
        static ref OWNERS: Mutex<[Option<u16>; 8]> = Mutex::new([None; 8]);
    }

    pub(crate) fn try_lock(_: BorrowedFd<'_>, byte: u16) -> io::Result<bool> {
        let owner = &mut OWNERS.lock().expect("nobody dies with it")[usize::from(byte)];
        if owner.is_some_and(|owner| owner != me()) {
            return Ok(false);
        }
        *owner = Some(me());
        Ok(true)
    }

    pub(crate) fn unlock(_: BorrowedFd<'_>, byte: u16) -> io::Result<()> {
        OWNERS.lock().expect("nobody dies with it")[usize::from(byte)] = None;
        Ok(())
    }

    pub(crate) fn is_locked(file: BorrowedFd<'_>, bytes: Range<u16>) -> io::Result<bool> {
        find_locked(file, bytes).map(|found| found.is_some())
    }

    pub(crate) fn find_locked(_: BorrowedFd<'_>, bytes: Range<u16>) -> io::Result<Option<u16>> {
        let owners = OWNERS.lock().expect("nobody dies with it");
        let mut bytes = bytes.into_iter();
        Ok(bytes.find(|byte| owners[usize::from(*byte)].is_some_and(|owner| owner != me())))
    }

    /// Every process has a lock on the byte of its own slot.
    pub(crate) fn give(process: u16) {
        OWNERS.lock().expect("nobody dies with it")[usize::from(process)] = Some(process);
    }

    /// What the kernel does at a death.
    pub(crate) fn release_all_of(process: u16) {
        let mut owners = OWNERS.lock().expect("nobody dies with it");
        for owner in owners.iter_mut().filter(|owner| **owner == Some(process)) {
            *owner = None;
        }
    }
}

pub(crate) mod memory {
    use std::fmt;
    use std::ops::Deref;
    use std::sync::Arc;

    /// Declares a struct of shared parts.
    macro_rules! shared {
        ($(#[$attribute:meta])* struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
            $(#[$attribute])*
            #[derive(Debug, Default)]
            pub(crate) struct $name { $($(#[$doc])* pub(crate) $field: $type,)* }
        };
    }
    pub(crate) use shared;

    /// What is shared: a beginning, and what follows.
    #[derive(Debug)]
    pub(crate) struct Mapping<T, R>(pub(crate) Arc<T>, pub(crate) Arc<R>);

    impl<T: Send + Sync + 'static, R: Send + Sync + 'static> Mapping<T, R> {
        pub(crate) fn rest(&self) -> &R {
            &self.1
        }

        pub(crate) fn part<P: 'static>(
            &self,
            choose: impl for<'a> Fn(&'a T, &'a R) -> &'a P + Send + Sync + 'static,
        ) -> Part<P> {
            Part(Box::new(Chosen { beginning: Arc::clone(&self.0), rest: Arc::clone(&self.1), choose }))
        }
    }

    impl<T, R> Deref for Mapping<T, R> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    /// A part of it.
    pub(crate) struct Part<P>(Box<dyn Deref<Target = P> + Send + Sync>);

    struct Chosen<T, R, F> {
        beginning: Arc<T>,
        rest: Arc<R>,
        choose: F,
    }

    impl<T, R, P: 'static, F: for<'a> Fn(&'a T, &'a R) -> &'a P> Deref for Chosen<T, R, F> {
        type Target = P;

        fn deref(&self) -> &P {
            (self.choose)(&self.beginning, &self.rest)
        }
    }

    impl<P> Deref for Part<P> {
        type Target = P;

        fn deref(&self) -> &P {
            &self.0
        }
    }

    impl<P> fmt::Debug for Part<P> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Part")
        }
    }
}

pub(crate) mod thread {
    use std::cell::Cell;

    thread_local!(static IS_SINGLE: Cell<bool> = const { Cell::new(true) });

    /// Whether processes have one thread each in this test.
    pub(crate) fn set_single(is_single: bool) {
        IS_SINGLE.set(is_single);
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct SingleThreaded(bool);

    impl SingleThreaded {
        pub(crate) fn find() -> Self {
            Self(IS_SINGLE.get())
        }

        pub(crate) fn get(self) -> bool {
            self.0
        }
    }

    pub(crate) fn back_off(_: &mut u32) {
        loom::thread::yield_now();
    }

    // those of one test share a thread of the system's
    thread_local!(static LAST: Cell<usize> = const { Cell::new(0) });
    loom::thread_local!(static NUMBER: usize = LAST.replace(LAST.get() + 2) + 2);

    /// Numbers threads anew, in the order in which they ask. (An address would not be the same in each execution.)
    pub(crate) fn forget_all() {
        LAST.set(0);
    }

    pub(crate) fn current() -> usize {
        NUMBER.with(|number| *number)
    }
}
