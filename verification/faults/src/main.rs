//! Every system call that the engine makes fails once, one after the other.
//!
//! A scene (`scenes.rs`) is played once, and the calls of its subject are noted (`tracer.rs`). Then it is played again for each
//! of them and each way in which it can fail (`call.rs`). Whatever fails: the subject tells of a clear error, and has done
//! nothing, or goes on without; no permit is lost, nobody hangs, all of it still works, and nothing is left (`stage.rs`). A
//! call that was seen and never made to fail is a failure, too.
//!
//! `cargo run --release -p faults -- [SCENE...]`; all of them if none is named. Needs the right to mount.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> std::process::ExitCode {
    eprintln!("calls are made to fail by way of the registers of x86-64, on Linux");
    std::process::ExitCode::FAILURE
}
