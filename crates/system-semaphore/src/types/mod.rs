//! Plain data that all layers share. Of the crate, these modules import `error` and `key` only.

mod access_mode;
mod capabilities;
mod epoch;
mod info;

pub use access_mode::AccessMode;
pub use capabilities::Capabilities;
pub(crate) use epoch::Epoch;
pub use info::{Holder, Listed, Owners, Snapshot, Waiter};
