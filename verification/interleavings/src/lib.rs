//! The engine's algorithm compiled over loom's atomics and a simulated platform.
//!
//! Loom tries every order in which the threads' accesses can happen, and every value that the memory model lets a load see,
//! up to a number of preemptions. What it runs is the library's folder `backend/robust/algorithm`, all of it as it is: the
//! slot lock and the rule of fairness are in it. The platform (`backend/robust/platform.rs`: memory, locks, parking, clock) is
//! the model's own.
//!
//! Not here: time (sleeps end only by a wake), the death watch, opening and closing, and the operating system's own parts,
//! which are behaviour of the kernel and not of memory. Spinning and back-off only repeat loads, so they do nothing here.
//! Two or three processes do one or two operations each.
//!
//! `cargo test --release -p interleavings --features explore` runs it; `MORE_PREEMPTIONS=1` before it raises the bound of
//! every scene by one. `verification/defects verification/interleavings/defects.toml` shows that it can fail.
//!
//! A *process* is a thread of loom's with a slot. It dies at a step of the engine by unwinding, of which
//! the engine notices nothing: what it would do in a `Drop` it does not do where the generation is another one, as in a
//! forked child, and the generation of a thread that unwinds is another.

#![cfg(all(test, target_os = "linux", feature = "explore"))]

#[path = "../../../crates/system-semaphore/src/error.rs"]
#[allow(dead_code, unreachable_pub)]
mod error;

mod backend;
mod sys;
mod types;
