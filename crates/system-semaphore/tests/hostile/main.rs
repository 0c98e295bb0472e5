//! What strangers, full file systems, limits and stopped processes can do to the crash-safe engine: the answer is an
//! error that says what to do, never a crash or a hang.
//!
//! Every case runs in a process of its own, some of them in a mount namespace with a `/dev/shm` of its own, and is killed
//! with all that it has started if it hangs.

#[cfg(target_os = "linux")]
mod linux;

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
}
