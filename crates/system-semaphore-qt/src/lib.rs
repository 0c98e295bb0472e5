//! What Qt's class `QSystemSemaphore` does, answer for answer, by the semaphores of [`system_semaphore`].
//!
//! It is the ground of the C++ and the Python face, which add nothing but their languages' manners, so that both behave
//! the same. In Rust one uses [`system_semaphore::SystemSemaphore`].
//!
//! Numbers, defaults, texts and the order of things are those of Qt 6.12; where it differs on purpose, `docs/qt.md` says
//! why.
//!
//! ```
//! use system_semaphore_qt::{AccessMode, QSystemSemaphore, SemaphoreError};
//!
//! # let name = &format!("doc-qt-face-{}", std::process::id());
//! let market = QSystemSemaphore::new(name, 3, AccessMode::Create);
//! assert!(market.acquire(1)); // 2 left; this process has one until it releases it, or ends
//! assert!(market.release(1));
//! # #[cfg(unix)]
//! assert_eq!(market.available(), 3);
//! assert_eq!(market.error(), SemaphoreError::NoError);
//! ```

mod error;
mod key;
mod semaphore;

pub use error::SemaphoreError;
pub use key::QNativeIpcKey;
pub use semaphore::{AccessMode, ENGINE_VARIABLE, QSystemSemaphore, Waited};
