//! Killed at every instruction: `stepping [--full] [PATH...]`.
//!
//! A process goes along a path (an acquire, a close, a recovery) and is killed after the first instruction, another one
//! after the second, and so on. After each kill others look at the books: all permits are there, a waiter gets through, the
//! semaphore still works; and along the path the outcome turns from "not done" to "done" once.
//!
//! The processes are this program again, with the library compiled as it is shipped: nothing is built in to stop it.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;

fn main() -> std::process::ExitCode {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    return linux::main();
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    {
        eprintln!("stepping needs Linux on x86-64: there the crash-safe engine and its debug registers are");
        std::process::ExitCode::FAILURE
    }
}
