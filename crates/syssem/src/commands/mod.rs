//! The commands: one file each, with a function `execute`.

pub(crate) mod completions;
pub(crate) mod create;
pub(crate) mod doctor;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod manual;
pub(crate) mod release;
pub(crate) mod remove;
pub(crate) mod reset;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod take;
pub(crate) mod watch;
