//! Stand-ins for what the engine asks of the library around it.

pub(crate) mod api;
pub(crate) mod robust;
