//! Where files have handles instead of numbers, no file can take the place of a standard stream.

/// Nothing has to be occupied here.
pub(crate) struct Reservation;

impl Reservation {
    /// Does nothing.
    pub(crate) fn new() -> Self {
        Self
    }
}
