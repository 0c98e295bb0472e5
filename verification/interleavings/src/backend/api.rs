//! A stand-in for the traits of the backends: how long an operation may wait.

use std::marker::PhantomData;

use super::robust::Instant;
use crate::error::{Cause, ErrorKind};

/// How long a wait may be: none has an end here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitLimit {
    None,
    #[expect(dead_code, reason = "no time passes")]
    Until(Instant),
    Forever,
}

impl WaitLimit {
    pub(crate) fn is_expired(self) -> bool {
        self == Self::None
    }

    pub(crate) fn timeout_error(self) -> Cause {
        Cause::new(ErrorKind::NoPermits, "no permits")
    }
}

pub(crate) struct WaitOptions<'a> {
    pub(crate) limit: WaitLimit,
    pub(crate) interrupted: PhantomData<&'a ()>,
}

impl WaitOptions<'_> {
    #[expect(clippy::unused_self, reason = "the real one uses it")]
    pub(crate) fn check_interrupt(&mut self) -> Result<(), Cause> {
        Ok(())
    }
}
