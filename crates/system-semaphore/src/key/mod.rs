//! Names of semaphores.
//!
//! [`KeyType`] is the type of a semaphore. [`NativeIpcKey`] is its exact name in the operating system, with the type;
//! `text` has its text form, both ways. [`Key`] is what a user passes: a plain name or a native key. `derive` turns a
//! plain name into a native key, as Qt does, as a pure function of the name, the type and an [`Environment`].

mod derive;
mod environment;
mod key_type;
mod name;
mod native;
mod text;

pub use derive::{legacy_native_key, platform_safe_key};
pub use environment::{Directory, Environment, Facility, Platform};
pub use key_type::{KeyType, ProjectId};
pub use name::Key;
pub use native::NativeIpcKey;
