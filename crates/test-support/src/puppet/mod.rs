//! Processes that do as they are told, and the side that drives them.
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
//! | `available H`, `waiting H`, `held H`, `recoveries H` | | the number |
//! | `holders H` | | how many permits they hold |
//! | `remove KEY` | | |
//! | `produce H N`, `consume H N` | adds N permits one by one; acquires and forgets N | |
//! | `pass H I N` | N times acquires and forgets one of H and adds one to I | |
//! | `reset-under-a-waiter H N KEY` | a thread acquires while another resets to N; the guard is H's | |
//! | `count-concurrent H N FILE` | goes in and out N times, counting who is inside in FILE | the most it saw |
//! | `open-close-loop KEY MS` | so long opens, takes, gives back and closes, over and over | how often |
//! | `exclusive-visit KEY MS FILE` | the same where one permit is; counts in FILE who is inside, which must be one | how often |
//! | `exclusive-create KEY MS` | so long makes a semaphore and checks that nobody else has it | how often |
//! | `forked H` | forks; the child checks what a child may do, see `child_check.rs` | |
//! | `build H KEY OPTION...` | opens with `initial=N`, `mode=MODE`, `max=N`, `permissions=OCTAL`, `persistent` | |
//! | `start T COMMAND...` | a new thread T does the command, without `began` | |
//! | `finish T` | waits for that thread | what it answers |
//! | `idle` | nothing, for ever; for a thread | nothing |
//! | `leak-borrowed H N` | takes N into a guard that borrows, and leaks that | |
//! | `split H N`, `merge H` | splits N off the latest guard; merges the latest into the one before | |
//! | `guards H` | | the permits in guards of H |
//! | `inheritable H N`, `drop-inheritable H` | permits that follow `exec` and children | |
//! | `exec PROGRAM` | becomes another program | nothing |
//! | `spawn` | starts a program that lives until the driver lets go | its pid |
//! | `fork H N` | forks a child that lives as long; it takes N permits by its copy of H | its pid |
//! | `child`, `child-exit` | forks; the child does what is told from then on, until the second, and its parent waits | |
//! | `hand-over HOW` | forks; the parent closes everything and leaves (`close`) or is killed (`die`); the child goes on | its pid |
//! | `close-descriptors` | closes all but the standard ones, whosever they are | |
//! | `become UID` | another user | |
//! | `pairs H N` | acquires and gives back N times; any system call meanwhile kills it; exits with 42 | nothing |
//! | `repeat H N` | acquires and gives back N times | |
//! | `spin-pairs H` | acquires and gives back for ever, without a pause | nothing |
//! | `short-waits H N` | N times waits for a millisecond, in vain | |
//! | `open-many KEY N` | opens KEY0, KEY1, ..., and never closes them | |
//! | `work H FILE` | takes and gives back for ever, counting in FILE | nothing |
//! | `visit KEY FILE` | the same, opening and closing each time; others may be in the way | nothing |
//! | `random-ops H OPERATIONS MS` | so long does at random what changes nothing in the end, see `random_ops.rs` | how often |
//! | `exit` | ends without tidying up, as `exit(3)` does | nothing |
//!
//! An answer is `ok`, `ok VALUE`, or `error KIND MESSAGE`.

#[cfg(unix)]
mod child_check;
mod driver;
mod random_ops;
mod serve;

#[cfg(unix)]
pub use self::driver::own_sleep_count;
pub use self::driver::{Failure, Puppet, TEST_TIMEOUT, TestLock, output, start, wait_until};
pub use self::serve::serve;
