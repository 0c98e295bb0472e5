//! Ours, of each type.

use system_semaphore::{AccessMode, KeyType, SystemSemaphore};

use super::Semaphore;

pub(super) type Robust = Ours<0>;
pub(super) type SystemV = Ours<1>;
pub(super) type Posix = Ours<2>;

/// By number, the type of key.
pub(super) struct Ours<const TYPE: usize>(SystemSemaphore);

impl<const TYPE: usize> Ours<TYPE> {
    const KEY_TYPE: KeyType = [KeyType::Robust, KeyType::SYSTEM_V, KeyType::Posix][TYPE];

    fn build(key: &str, value: u32, mode: AccessMode) -> Self {
        let builder = SystemSemaphore::builder(key).key_type(Self::KEY_TYPE);
        Self(builder.initial_value(value).mode(mode).build().expect("it can be opened"))
    }
}

impl<const TYPE: usize> Semaphore for Ours<TYPE> {
    fn make(key: &str, value: u32) -> Self {
        Self::build(key, value, AccessMode::CreateNew)
    }

    fn open(key: &str) -> Self {
        Self::build(key, 0, AccessMode::OpenExisting)
    }

    /// What was made is gone with its maker's last handle.
    fn remove(_key: &str) {}

    #[inline(always)]
    fn pair(&self) {
        drop(self.0.acquire());
    }

    fn hold(&self) {
        self.0.acquire().expect("it works").detach();
    }

    fn unhold(&self) {
        self.0.release(1).expect("it works");
    }

    #[inline(always)]
    fn take(&self) {
        self.0.acquire().and_then(|permit| permit.forget()).expect("it works");
    }

    #[inline(always)]
    fn give(&self) {
        self.0.add_permits(1).expect("it works");
    }
}
