//! Counting semaphores shared by processes, named by a key.
//!
//! A [`SystemSemaphore`] counts permits that processes take and give back: "at most three of these at once on
//! this machine", or the free and used places of a ring buffer between producers and consumers. However a process
//! ends, the permits that it held come back, and those who wait are woken by its death; all at the speed of an
//! uncontended atomic (on Linux; see [`KeyType::Robust`]). It is what Qt's `QSystemSemaphore` is to C++ and Python, and
//! can share semaphores with it.
//!
//! ```
//! use system_semaphore::SystemSemaphore;
//!
//! # let name = &format!("doc-market-{}", std::process::id());
//! # let market = SystemSemaphore::open(name, 3)?;
//! # /*
//! let market = SystemSemaphore::open("market", 3)?; // 3 available, for every process that opens "market"
//! # */
//! let permit = market.acquire()?; // 2
//! let two = market.acquire_many(2)?; // 0, both or none
//! assert!(market.try_acquire().is_err());
//! # // whoever does the same meanwhile gets nothing
//! # assert!(SystemSemaphore::open(name, 3)?.try_acquire().is_err());
//! drop(permit); // 1
//! drop(two); // 3
//! # assert_eq!(market.available_permits()?, 3);
//! # Ok::<(), system_semaphore::Error>(())
//! ```
//!
//! # Words
//!
//! A **permit** is one of the resources that the semaphore counts. To **acquire** permits makes them this
//! process's; however it ends, they come back, on the types of semaphore that can
//! ([`Capabilities::returns_on_death`]). To **detach** a permit takes it out of its guard, and
//! the process holds it still. To **release** returns detached permits of the process, and adds the rest of the number;
//! [`add_permits`](SystemSemaphore::add_permits) only adds. Added permits stay when the process exits. To **forget** a
//! permit leaves it acquired, and no process holds it.
//!
//! # Names
//!
//! A plain name, such as `"market"`, means the platform's best type of semaphore
//! ([`NativeIpcKey::best_type`]; on Linux: [`Robust`](KeyType::Robust)). The exact native name is given by a
//! [`NativeIpcKey`], which has a text form (`robust:market`, `posix:/market`). The semaphore that
//! `QSystemSemaphore("market")` means has the [`legacy_native_key`] of Qt's type:
//!
//! ```
//! use system_semaphore::{NativeIpcKey, SystemSemaphore};
//!
//! # let name = &format!("doc-qt-{}", std::process::id());
//! # let market = SystemSemaphore::builder(name).key_type(NativeIpcKey::legacy_default_type()).build()?;
//! # /*
//! let market = SystemSemaphore::builder("market").key_type(NativeIpcKey::legacy_default_type()).build()?;
//! # */
//! assert_eq!(market.native_key().key_type(), NativeIpcKey::legacy_default_type());
//! # Ok::<(), system_semaphore::Error>(())
//! ```
//!
//! # Platforms
//!
//! Linux, Windows, macOS, FreeBSD and QNX; `docs/platforms.md` tells what was run and what was only type-checked. The
//! examples here are Linux's: [`Robust`](KeyType::Robust) is there alone, and Windows' semaphores cannot give several permits at
//! once, nor tell how many are free. What each type of semaphore can do is told by [`Capabilities`]; what it cannot is the
//! error [`Unsupported`](ErrorKind::Unsupported), at once.

mod backend;
mod error;
#[cfg(unix)]
mod inheritable;
mod key;
mod observer;
mod options;
mod permit;
mod process;
mod semaphore;
mod sys;
mod types;

#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use backend::robust_format;
pub use error::{Error, ErrorKind, Result};
#[cfg(unix)]
pub use inheritable::InheritablePermit;
pub use key::{
    Directory, Environment, Facility, Key, KeyType, NativeIpcKey, Platform, ProjectId, legacy_native_key,
    platform_safe_key,
};
pub use observer::{Observer, list};
pub use options::Builder;
pub use permit::{MergeError, OwnedPermit, Permit};
pub use semaphore::SystemSemaphore;
pub use types::{AccessMode, Capabilities, Holder, Listed, Owners, Snapshot, Waiter};

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
