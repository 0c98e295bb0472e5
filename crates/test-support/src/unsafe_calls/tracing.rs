//! What a traced process does itself.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::personality::{self, Persona};
use nix::sys::ptrace;

/// Stops this process and lets its tracer know. A process without a tracer dies of it.
#[inline(always)]
pub fn mark() {
    // SAFETY: changes no register; the signal goes to the tracer, which lets the process go on behind it
    unsafe { std::arch::asm!("int3") }
}

/// Has the started process traced by this thread, and loads it at the same addresses each time.
pub(crate) fn be_traced_at_fixed_addresses(command: &mut Command) {
    let be_traced = || {
        personality::set(Persona::ADDR_NO_RANDOMIZE)?;
        ptrace::traceme().map_err(io::Error::from)
    };
    // SAFETY: two system calls, which a forked child may make
    unsafe { command.pre_exec(be_traced) };
}
