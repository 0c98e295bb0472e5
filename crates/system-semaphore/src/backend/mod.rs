//! One operating-system mechanism a file, behind the traits of [`api`]. [`namespace`] is where a key finds its
//! mechanism, and the only place that says which platform has which.
//!
//! A backend knows one semaphore and says what the system said; what a permit is, who holds what without a
//! guard, what a fork changes and which texts name the key is the business of the layer above
//! (`process`, `permit`, `semaphore`), the same for all.

pub(crate) mod api;
#[cfg(unix)]
mod posix;
#[cfg(target_os = "linux")]
mod robust;
#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
mod system_v;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use std::any::Any;

use self::api::{Backend, Namespace};
use crate::error::{Cause, ErrorKind};
use crate::key::{KeyType, NativeIpcKey};
#[cfg(not(target_os = "linux"))]
use crate::types::Epoch;
use crate::types::{Listed, Owners};

#[cfg(target_os = "linux")]
pub(crate) use robust::FastPath;
#[cfg(target_os = "linux")]
pub use robust::format as robust_format;

/// The fast path of no type of semaphore: the platform has none.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) enum FastPath {}

#[cfg(not(target_os = "linux"))]
impl FastPath {
    pub(crate) fn acquire_single_threaded(&self, _: u32) -> Option<Epoch> {
        match *self {}
    }

    pub(crate) fn acquire(&self, _: u32) -> Option<Epoch> {
        match *self {}
    }

    pub(crate) fn release_single_threaded(&self, _: u32, _: Epoch) -> bool {
        match *self {}
    }

    pub(crate) fn release(&self, _: u32, _: Epoch) -> bool {
        match *self {}
    }

    pub(crate) fn add(&self, _: u32) -> bool {
        match *self {}
    }

    pub(crate) fn forget(&self, _: u32, _: Epoch) -> bool {
        match *self {}
    }
}

/// Returns the fast path of an open semaphore, if its type has one.
pub(crate) fn fast_path(backend: &dyn Backend) -> Option<FastPath> {
    #[cfg(target_os = "linux")]
    if let Some(robust) = (backend as &dyn Any).downcast_ref::<robust::RobustSemaphore>() {
        return Some(robust.fast_path());
    }
    let _ = backend;
    None
}

/// Where this platform has the semaphores of this type, if it has any.
///
/// Elsewhere than here: `sys::posix::HAS_TIMEOUT` (no `sem_timedwait` on Apple's systems) and `sys::system_v::HAS_TIMEOUT`
/// (`semtimedop` is Linux's) become capabilities; what names are cut to is in `key`. Android has no System V sets, and its
/// `sem_open` only fails, which is seen at run time; QNX has no sets either; NetBSD, OpenBSD and Solaris have them, but the
/// `libc` crate does not.
fn namespace(key_type: KeyType) -> Option<Box<dyn Namespace>> {
    match key_type {
        #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
        KeyType::SystemV(project) => Some(Box::new(system_v::KeyFiles(project))),
        #[cfg(unix)]
        KeyType::Posix => Some(Box::new(posix::Names)),
        #[cfg(target_os = "linux")]
        KeyType::Robust => Some(Box::new(robust::Files)),
        #[cfg(windows)]
        KeyType::Windows => Some(Box::new(windows::KernelObjects)),
        _ => None,
    }
}

/// Where the semaphore of this key is found.
pub(crate) fn namespace_of(key: &NativeIpcKey) -> Result<Box<dyn Namespace>, Cause> {
    namespace(key.key_type()).ok_or_else(|| {
        let reason = format!("keys of type {} are not supported on this platform", key.key_type());
        Cause::new(ErrorKind::KeyError, reason)
    })
}

/// What semaphores there are, of the types that the platform tells of.
pub(crate) fn list(owners: Owners) -> Result<Vec<Listed>, Cause> {
    let types = [KeyType::Robust, KeyType::SYSTEM_V, KeyType::Posix, KeyType::Windows];
    let namespaces = types.into_iter().filter_map(namespace);
    let told: Vec<Vec<Listed>> = namespaces.filter_map(|namespace| namespace.list(owners)).collect();
    if told.is_empty() {
        return Err(Cause::unsupported("this platform does not tell which semaphores there are"));
    }
    Ok(told.into_iter().flatten().collect())
}

/// Whether keys of this type name semaphores here.
pub(crate) fn is_supported(key_type: KeyType) -> bool {
    namespace(key_type).is_some_and(|namespace| namespace.is_supported())
}
