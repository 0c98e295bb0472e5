//! The algorithm: safe code over atomics in the shared file. `verification/interleavings` compiles this folder as it is.

pub(crate) mod backoff;
pub(crate) mod epoch;
pub(crate) mod fairness;
pub(crate) mod fast_path;
pub(crate) mod layout;
pub(crate) mod mapped_file;
pub(crate) mod operation;
pub(crate) mod participant;
pub(crate) mod recovery;
pub(crate) mod reset;
pub(crate) mod slot_lock;
pub(crate) mod spin;
pub(crate) mod state;
pub(crate) mod wait;
pub(crate) mod wake;
