//! A stand-in for the traits of the backends: how long an operation may wait.

use std::marker::PhantomData;

use super::robust::Instant;
use crate::error::{Cause, ErrorKind};

/// How long a wait may be: none has an end here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    #[expect(dead_code, reason = "no time passes")]
    Until(Instant),
    Forever,
}

impl Patience {
    pub(crate) fn is_exhausted(self) -> bool {
        self == Self::None
    }

    pub(crate) fn exhausted(self) -> Cause {
        Cause::new(ErrorKind::NoPermits, "no permits")
    }
}

pub(crate) struct Wait<'a> {
    pub(crate) patience: Patience,
    pub(crate) interrupted: PhantomData<&'a ()>,
}

impl Wait<'_> {
    #[expect(clippy::unused_self, reason = "the real one uses it")]
    pub(crate) fn before_sleep(&mut self) -> Result<(), Cause> {
        Ok(())
    }
}
