//! [`Epoch`]: the number that a reset increments.

/// Counts the resets that this process knows of; a permit from an earlier epoch is no longer what it was.
pub(crate) type Epoch = u32;
