//! The built program, from outside.

#![cfg(unix)]

mod manage;
mod run;
mod stage;
mod watch;
