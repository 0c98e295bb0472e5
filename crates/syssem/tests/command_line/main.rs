//! Tests the built program from outside, on Unix.

#![cfg(unix)]

mod harness;
mod manage;
mod run;
mod watch;
