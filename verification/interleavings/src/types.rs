//! A stand-in for the shared data types.

pub(crate) type Epoch = u32;
