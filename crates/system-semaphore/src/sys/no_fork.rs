//! Where there is no fork, a process is itself for ever.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

/// This process's generation; never 0.
pub(crate) fn generation() -> u32 {
    1
}

/// Where it stands.
pub(crate) fn cell() -> &'static AtomicU32 {
    static CELL: AtomicU32 = AtomicU32::new(1);
    &CELL
}

/// A value that every process has for itself.
pub(crate) struct PerProcess<T: 'static>(OnceLock<T>);

impl<T: Default + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    pub(crate) fn get(&self) -> &T {
        self.0.get_or_init(T::default)
    }
}
