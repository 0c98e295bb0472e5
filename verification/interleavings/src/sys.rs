//! Stand-ins for the library's modules that contain unsafe code.

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, fence};
}

/// Both halves as one fence.
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

pub(crate) mod fork {
    /// A dying process has no generation; see the crate's documentation.
    pub(crate) fn generation() -> u32 {
        u32::from(!std::thread::panicking())
    }
}

pub(crate) mod shared_memory {
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

    /// What may be shared: anything, because these processes are threads.
    pub(crate) trait Shared: Send + Sync + 'static {}

    impl<T: Send + Sync + 'static> Shared for T {}

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
        pub(crate) fn get_flag() -> Self {
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
