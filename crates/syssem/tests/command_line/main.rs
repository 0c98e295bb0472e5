//! The built program, from outside.

#![cfg(unix)]

mod harness;
mod manage;
mod run;
mod watch;
