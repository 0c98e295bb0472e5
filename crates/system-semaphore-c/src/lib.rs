//! The C ABI of [`system_semaphore`] and [`system_semaphore_qt`].
//!
//! Its users read `include/system_semaphore.h`, which is generated from here by cbindgen: what stands in front of an item
//! here is its documentation there, so it is written for C. The C++ faces `system_semaphore.hpp` and
//! `qsystemsemaphore.hpp` lie beside it.
//!
//! How the border is kept, which `border` has the means for:
//!
//! - Handles and places for results come in as `Option<&T>`, `Option<&mut MaybeUninit<T>>` and `Option<Box<T>>`, which C
//!   sees as pointers that may be `NULL`. So only texts need unsafe code.
//! - No panic passes: each function that does more than read or free runs in `border::call` or `border::value`.
//! - An error is a number; its message stays with the thread until the next one.

mod border;

// in the order of the header
mod semaphore;

mod permit;

mod key;

mod status;
mod text;

mod qt;

pub use key::*;
pub use permit::*;
pub use qt::*;
pub use semaphore::*;
pub use status::*;
pub use text::*;
