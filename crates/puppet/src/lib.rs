//! Drives other processes, for tests that need several of them.
//!
//! A [`Puppet`] is a process that does what it is told by a line on its standard input and answers by a line on
//! its standard output. [`serve`] is the puppet's side in Rust; other languages can play it as well, since the
//! protocol is only words between tabs:
//!
//! | command | does | answers |
//! |---|---|---|
//! | `open H KEY INITIAL MODE` | opens the semaphore as handle H; KEY is `name=...` or a native key's text | |
//! | `clone H I`, `close H` | another handle; drops one, with its permits | |
//! | `acquire H N [MS]` | acquires into a guard, blocking or with a timeout; says `began` first | |
//! | `interruptible H N` | the same; each SIGUSR1 is counted, the second ends the wait | the count |
//! | `try H N` | acquires without waiting | |
//! | `drop H`, `hold H`, `forget H`, `leak H` | what happens to the latest guard of H | |
//! | `release H N`, `add H N`, `forget-held H N` | | |
//! | `available H`, `waiting H`, `held H` | | the number |
//! | `produce H N`, `consume H N` | adds N permits one by one; acquires and forgets N | |
//! | `pass H I N` | N times acquires and forgets one of H and adds one to I | |
//! | `reset-under-a-waiter H N KEY` | a thread acquires while another resets to N; the guard is H's | |
//! | `crowd H N FILE` | goes in and out N times, counting who is inside in FILE | the most it saw |
//! | `come-and-go KEY MS` | so long opens, takes, gives back and closes, over and over | how often |
//! | `alone KEY MS` | so long makes a semaphore and checks that nobody else has it | how often |
//! | `forked H` | forks; the child checks what a child may do, see `forked.rs` | |
//! | `exit` | ends without tidying up, as `exit(3)` does | nothing |
//!
//! An answer is `ok`, `ok VALUE`, or `error KIND MESSAGE`.

mod driver;
mod forked;
pub mod raw;
mod serve;
mod shared;
mod signal;

pub use driver::{Failure, PATIENCE, Puppet, own_naps, wait_for};
pub use serve::serve;
