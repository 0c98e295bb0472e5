//! Tracing of another process by ptrace(2): its threads, its memory, its system calls, one instruction at a time.
//!
//! The tracer is the thread that has started the tracing; no other thread may use a [`Thread`].

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace;
pub use nix::sys::ptrace::Options;
pub use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
pub use nix::unistd::Pid;

use crate::{process, unsafe_calls};

pub use crate::unsafe_calls::tracing::mark;

/// The registers of a stopped thread.
pub type Registers = user_regs_struct;

/// The first byte of the instruction of a [`mark`].
pub const MARK: u8 = 0xCC;
/// The bytes of a system call.
pub const SYSTEM_CALL: [u8; 2] = [0x0F, 0x05];

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug)]
pub enum Resume {
    /// Until something stops it.
    Freely,
    /// By one instruction.
    OneInstruction,
    /// Until it enters or leaves a system call.
    ToSystemCall,
}

/// On which side of a system call a thread has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStop {
    /// It is about to enter it.
    Entry,
    /// It comes back from it.
    Exit,
    /// On none.
    None,
}

/// A thread of another process. What is not said otherwise needs that it is traced and has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread(Pid);

impl Thread {
    /// The thread of this number.
    #[must_use]
    pub fn new(id: Pid) -> Self {
        Self(id)
    }

    /// Begins to trace a thread that runs, and stops it.
    ///
    /// # Errors
    /// As the system says.
    pub fn seize(self, options: Options) -> Result<(), Errno> {
        ptrace::seize(self.0, options)?;
        ptrace::interrupt(self.0)
    }

    /// Lets it go on, and delivers the signal.
    ///
    /// # Errors
    /// `ESRCH`: it was killed. Other errors as the system says.
    pub fn resume(self, how: Resume, signal: Option<Signal>) -> Result<(), Errno> {
        match how {
            Resume::Freely => ptrace::cont(self.0, signal),
            Resume::OneInstruction => ptrace::step(self.0, signal),
            Resume::ToSystemCall => ptrace::syscall(self.0, signal),
        }
    }

    /// Its registers.
    ///
    /// # Errors
    /// As the system says.
    pub fn registers(self) -> Result<Registers, Errno> {
        ptrace::getregs(self.0)
    }

    /// Gives it other registers.
    ///
    /// # Errors
    /// As the system says.
    pub fn set_registers(self, registers: &Registers) -> Result<(), Errno> {
        ptrace::setregs(self.0, *registers)
    }

    /// On which side of a system call it has stopped.
    ///
    /// # Errors
    /// As the system says.
    pub fn call_stop(self) -> Result<CallStop, Errno> {
        Ok(match ptrace::syscall_info(self.0)?.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => CallStop::Entry,
            libc::PTRACE_SYSCALL_INFO_EXIT => CallStop::Exit,
            _ => CallStop::None,
        })
    }

    /// Whether the trap that it has stopped for is an instruction of its own, as a [`mark`] is.
    ///
    /// # Errors
    /// As the system says.
    pub fn is_at_mark(self) -> Result<bool, Errno> {
        const BY_INSTRUCTION: i32 = 0x80; // SI_KERNEL
        Ok(ptrace::getsiginfo(self.0)?.si_code == BY_INSTRUCTION)
    }

    /// Stops it before it executes this instruction. `None`: not any more. No other thread of the process stops there.
    ///
    /// # Errors
    /// As the system says.
    pub fn set_breakpoint(self, address: Option<u64>) -> Result<(), Errno> {
        let poke = |number: usize, value: u64| {
            let register = offset_of!(libc::user, u_debugreg) + number * size_of::<u64>();
            ptrace::write_user(self.0, ptr::without_provenance_mut::<c_void>(register), value.cast_signed())
        };
        // first off, then at another address: "enabled, for this task, where it is executed"
        poke(7, 0)?;
        match address {
            Some(address) => poke(0, address).and_then(|()| poke(7, 1)),
            None => Ok(()),
        }
    }

    /// The memory of its process, at any time.
    ///
    /// # Errors
    /// As the system says.
    pub fn memory(self) -> io::Result<Memory> {
        File::options().read(true).write(true).open(format!("/proc/{}/mem", self.0)).map(Memory)
    }
}

/// The memory of another process.
#[derive(Debug)]
pub struct Memory(File);

impl Memory {
    /// Fills these bytes.
    ///
    /// # Errors
    /// If not all of it is mapped.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, address)
    }

    /// Writes these bytes.
    ///
    /// # Errors
    /// If not all of it is mapped.
    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, address)
    }

    /// A number of 8 bytes.
    ///
    /// # Errors
    /// If not all of it is mapped.
    pub fn read_word(&self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// A C string, of which at most 512 bytes are read. Empty if nothing is mapped there.
    #[must_use]
    pub fn read_string(&self, address: u64) -> String {
        let mut bytes = [0; 512];
        // it may end at the end of what is mapped
        let read = self.0.read_at(&mut bytes, address).unwrap_or(0);
        let text = bytes[..read].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Why a [`Tracee`] has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is behind a [`mark`].
    Marked,
    /// It has made its step, or has come to its breakpoint.
    Arrived,
    /// It is about to enter the kernel, or to come back from there.
    SystemCall,
    /// A signal is about to be delivered.
    Signal(Signal),
    /// It has ended.
    Ended(WaitStatus),
}

/// A process that is traced from its first instruction. It dies when this is dropped, or with its tracer.
#[derive(Debug)]
pub struct Tracee {
    child: Child,
    thread: Thread,
    memory: Memory,
    has_ended: bool,
}

impl Tracee {
    /// Starts this program again; it has not done anything yet. Each time it has the same addresses.
    ///
    /// # Errors
    /// As the system says.
    pub fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        // a signal from the terminal would be one more stop
        command.process_group(0);
        unsafe_calls::tracing::be_traced_at_fixed_addresses(&mut command);
        let child = command.spawn()?;
        let thread = Thread::new(Pid::from_raw(child.id().cast_signed()));
        let mut tracee = Self { memory: thread.memory()?, child, thread, has_ended: false };
        match tracee.wait()? {
            Event::Arrived => {}
            event => return Err(io::Error::other(format!("a process cannot be traced here: {event:?}"))),
        }
        ptrace::setoptions(thread.0, Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACESYSGOOD)?;
        tracee.hide_the_clock()?;
        Ok(tracee)
    }

    /// Without the kernel's own library in its memory, it reads the clock by system calls, which can be seen.
    fn hide_the_clock(&self) -> io::Result<()> {
        let mut at = self.thread.registers()?.rsp + 8;
        // the arguments, the variables, and then what the kernel passes to each program
        for _ in 0..2 {
            while self.memory.read_word(at)? != 0 {
                at += 8;
            }
            at += 8;
        }
        while ![libc::AT_NULL, libc::AT_SYSINFO_EHDR].contains(&self.memory.read_word(at)?) {
            at += 16;
        }
        self.memory.write(at, &libc::AT_IGNORE.to_ne_bytes())
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Lets its first thread go on.
    ///
    /// # Errors
    /// As the system says.
    pub fn resume(&self, how: Resume) -> io::Result<()> {
        Ok(self.thread.resume(how, None)?)
    }

    /// The registers of its first thread.
    ///
    /// # Errors
    /// As the system says.
    pub fn registers(&self) -> io::Result<Registers> {
        Ok(self.thread.registers()?)
    }

    /// Gives its first thread other registers.
    ///
    /// # Errors
    /// As the system says.
    pub fn set_registers(&self, registers: &Registers) -> io::Result<()> {
        Ok(self.thread.set_registers(registers)?)
    }

    /// As [`Thread::set_breakpoint`], for its first thread.
    ///
    /// # Errors
    /// As the system says.
    pub fn set_breakpoint(&self, address: Option<u64>) -> io::Result<()> {
        Ok(self.thread.set_breakpoint(address)?)
    }

    /// Whether its first thread sleeps in the kernel.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        process::is_asleep(self.id())
    }

    /// Waits until it stops.
    ///
    /// # Errors
    /// As the system says.
    pub fn wait(&mut self) -> io::Result<Event> {
        Ok(self.next_event(WaitPidFlag::empty())?.expect("it was waited for"))
    }

    /// What it has stopped for, if it has stopped.
    ///
    /// # Errors
    /// As the system says.
    pub fn poll(&mut self) -> io::Result<Option<Event>> {
        self.next_event(WaitPidFlag::WNOHANG)
    }

    fn next_event(&mut self, flags: WaitPidFlag) -> io::Result<Option<Event>> {
        Ok(match waitpid(self.thread.0, Some(flags | WaitPidFlag::__WALL))? {
            WaitStatus::StillAlive => None,
            WaitStatus::PtraceSyscall(_) => Some(Event::SystemCall),
            WaitStatus::Stopped(_, Signal::SIGTRAP) if self.thread.is_at_mark()? => Some(Event::Marked),
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Some(Event::Arrived),
            WaitStatus::Stopped(_, signal) => Some(Event::Signal(signal)),
            status => {
                self.has_ended = true;
                Some(Event::Ended(status))
            }
        })
    }
}

impl Drop for Tracee {
    /// Kills it where it is, and waits until nothing of it is left.
    fn drop(&mut self) {
        // when it has been waited for, its number may be another process's
        if !self.has_ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
