//! Another process, held by ptrace: it goes on by one instruction, or to a certain one, and is killed where it stands.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{c_int, c_long, c_void};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::{mem, ptr};

use libc::{pid_t, user_regs_struct as Registers};

/// Where a path begins and ends: the tracer is told. Without one it is death.
#[inline(always)]
pub(crate) fn mark() {
    // SAFETY: changes no register; the signal goes to the tracer, which lets the process go on behind it
    unsafe { std::arch::asm!("int3") }
}

/// The first byte of that instruction.
pub(crate) const MARK: u8 = 0xCC;
/// The bytes of a system call.
pub(crate) const SYSTEM_CALL: [u8; 2] = [0x0F, 0x05];

/// Why a process has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is behind a [`mark`].
    Marked,
    /// It has made its step, or come to where it was to go.
    There,
    /// It is about to enter the kernel, or to come back from there.
    SystemCall,
    /// A signal is about to be delivered.
    Signal(c_int),
    /// It is gone.
    Gone(c_int),
}

/// How a stopped process goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Go {
    On,
    OneInstruction,
    ToSystemCall,
}

/// A process that stops where it is told to. It dies with this, or with its tracer.
pub(crate) struct Tracee {
    child: Child,
    memory: File,
    is_gone: bool,
}

impl Tracee {
    /// Starts this program again; it has not done anything yet. Each time it has the same addresses.
    pub(crate) fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        // a signal from the terminal would be one more stop
        command.process_group(0);
        // SAFETY: two system calls, which is allowed in a forked child
        unsafe { command.pre_exec(be_traced) };
        let child = command.spawn()?;
        let memory = File::options().read(true).write(true).open(format!("/proc/{}/mem", child.id()));
        let mut tracee = Self { child, memory: memory?, is_gone: false };
        match tracee.wait()? {
            Event::There => {}
            event => return Err(io::Error::other(format!("a process cannot be traced here: {event:?}"))),
        }
        tracee.ptrace(libc::PTRACE_SETOPTIONS, 0, libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD)?;
        tracee.hide_the_clock()?;
        Ok(tracee)
    }

    /// Without the kernel's own library in its memory, it reads the clock by system calls, which can be seen.
    fn hide_the_clock(&self) -> io::Result<()> {
        let mut at = self.registers()?.rsp + 8;
        // arguments, variables, and then what the kernel tells
        for _ in 0..2 {
            while self.word(at)? != 0 {
                at += 8;
            }
            at += 8;
        }
        while ![libc::AT_NULL, libc::AT_SYSINFO_EHDR].contains(&self.word(at)?) {
            at += 16;
        }
        self.write(at, &libc::AT_IGNORE.to_ne_bytes())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> pid_t {
        self.child.id() as pid_t
    }

    fn ptrace(&self, request: libc::c_uint, address: usize, data: c_int) -> io::Result<()> {
        let (address, data) = (ptr::without_provenance_mut::<c_void>(address), data as c_long);
        // SAFETY: none of the requests made by this touches this process's memory
        check(unsafe { libc::ptrace(request, self.pid(), address, data) })
    }

    /// Lets it go on.
    pub(crate) fn resume(&self, go: Go) -> io::Result<()> {
        let request = match go {
            Go::On => libc::PTRACE_CONT,
            Go::OneInstruction => libc::PTRACE_SINGLESTEP,
            Go::ToSystemCall => libc::PTRACE_SYSCALL,
        };
        self.ptrace(request, 0, 0)
    }

    /// Waits until it stops.
    pub(crate) fn wait(&mut self) -> io::Result<Event> {
        self.look(0).map(|event| event.expect("it was waited for"))
    }

    /// What it has stopped for, if it has stopped.
    pub(crate) fn poll(&mut self) -> io::Result<Option<Event>> {
        self.look(libc::WNOHANG)
    }

    fn look(&mut self, options: c_int) -> io::Result<Option<Event>> {
        let mut status = 0;
        // SAFETY: the status is live
        let pid = unsafe { libc::waitpid(self.pid(), &mut status, options | libc::__WALL) };
        check(pid.into())?;
        if pid == 0 {
            return Ok(None);
        }
        if !libc::WIFSTOPPED(status) {
            self.is_gone = true;
            return Ok(Some(Event::Gone(status)));
        }
        Ok(Some(match libc::WSTOPSIG(status) {
            libc::SIGTRAP if self.is_mark()? => Event::Marked,
            libc::SIGTRAP => Event::There,
            signal if signal == libc::SIGTRAP | 0x80 => Event::SystemCall,
            signal => Event::Signal(signal),
        }))
    }

    /// Whether the trap that it stopped for is an instruction of its own.
    fn is_mark(&self) -> io::Result<bool> {
        const BY_INSTRUCTION: c_int = 0x80; // SI_KERNEL
        // SAFETY: all zeros is valid
        let mut information: libc::siginfo_t = unsafe { mem::zeroed() };
        let (nothing, data) = (ptr::null_mut::<c_void>(), &raw mut information);
        // SAFETY: the information is live
        check(unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, self.pid(), nothing, data) })?;
        Ok(information.si_code == BY_INSTRUCTION)
    }

    pub(crate) fn registers(&self) -> io::Result<Registers> {
        // SAFETY: all zeros is valid
        let mut registers: Registers = unsafe { mem::zeroed() };
        let (nothing, data) = (ptr::null_mut::<c_void>(), &raw mut registers);
        // SAFETY: the registers are live
        check(unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.pid(), nothing, data) })?;
        Ok(registers)
    }

    pub(crate) fn set_registers(&self, registers: &Registers) -> io::Result<()> {
        let nothing = ptr::null_mut::<c_void>();
        // SAFETY: the registers are live
        check(unsafe { libc::ptrace(libc::PTRACE_SETREGS, self.pid(), nothing, ptr::from_ref(registers)) })
    }

    /// Lets its first thread stop before this instruction; `None`: not any more. No other thread does.
    pub(crate) fn set_breakpoint(&self, address: Option<u64>) -> io::Result<()> {
        let register = |number: usize| mem::offset_of!(libc::user, u_debugreg) + number * 8;
        let poke = |number: usize, value: u64| {
            let (address, data) = (register(number), value as usize);
            let (address, data) = (ptr::without_provenance_mut::<c_void>(address), data as c_long);
            // SAFETY: changes a debug register of the other process
            check(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, self.pid(), address, data) })
        };
        // first off, then elsewhere: "enabled, for this task, where it is executed"
        poke(7, 0)?;
        match address {
            Some(address) => poke(0, address).and_then(|()| poke(7, 1)),
            None => Ok(()),
        }
    }

    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.memory.read_exact_at(bytes, address)
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, address)
    }

    fn word(&self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Whether its first thread sleeps in the kernel.
    pub(crate) fn is_asleep(&self) -> io::Result<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        Ok(stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
    }
}

/// A clock that hardly moves: steps are slow, and what is to be done in a moment would seem to take long.
#[derive(Default)]
pub(crate) struct Clock(HashMap<u64, [i64; 2]>);

/// What passes between two looks at the clock, in nanoseconds.
const TICK: i64 = 5_000;

impl Clock {
    /// Time passes again, until it is asked for.
    pub(crate) fn go_on(&mut self) {
        self.0.clear();
    }

    /// If the process has just read the clock, by the system call of these registers, it reads a little more than it has read before.
    pub(crate) fn show(&mut self, tracee: &Tracee, call: u64, registers: &Registers) -> io::Result<()> {
        if call != libc::SYS_clock_gettime as u64 {
            return Ok(());
        }
        let mut now = [0; 16];
        tracee.read(registers.rsi, &mut now)?;
        let [seconds, nanoseconds] =
            [0, 8].map(|at| i64::from_ne_bytes(std::array::from_fn(|byte| now[at + byte])));
        let shown = self.0.entry(registers.rdi).or_insert([seconds, nanoseconds]);
        shown[1] += TICK;
        if shown[1] >= 1_000_000_000 {
            *shown = [shown[0] + 1, shown[1] - 1_000_000_000];
        }
        now[..8].copy_from_slice(&shown[0].to_ne_bytes());
        now[8..].copy_from_slice(&shown[1].to_ne_bytes());
        tracee.write(registers.rsi, &now)
    }
}

impl Drop for Tracee {
    /// Kills it where it stands, and waits until nothing of it is left.
    fn drop(&mut self) {
        // its number may be somebody else's by now
        if !self.is_gone {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// In the child, before it becomes the program.
fn be_traced() -> io::Result<()> {
    // SAFETY: takes plain numbers
    check(unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as _) }.into())?;
    // SAFETY: takes nothing else
    check(unsafe { libc::ptrace(libc::PTRACE_TRACEME) })
}

fn check(result: c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
