//! Watches the system calls of a process by ptrace(2), and lets one of them fail.
//!
//! Not by `strace -e inject`: the subject is traced only from when it listens, and a run takes milliseconds; a call is known
//! by its thread, by what the subject was told, and by its arguments, instead of a count from the beginning; a failing `close`
//! has closed; and what the subject does shows meanwhile, so that nothing has to be waited for by the clock.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use test_support::ptrace::{CallStop, Memory, Options, Resume, Thread};

use super::call::{Call, Entry, Fault, Role};

/// Which call is to fail, and how.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) call: Call,
    pub(super) fault: Fault,
}

impl Plan {
    /// Whether nobody may go on as if it had not happened: memory that was not reserved is a SIGBUS later.
    pub(super) fn must_show(&self) -> bool {
        let lacks_memory = [Errno::ENOSPC, Errno::ENOMEM].map(Fault::Instead).contains(&self.fault);
        self.call.name == "fallocate" && lacks_memory
    }
}

/// What shows of the traced process while it goes on.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The call has failed.
    pub(super) hit: AtomicBool,
    /// How many answers it has given.
    pub(super) answers: AtomicUsize,
    /// For how many milliseconds it sleeps on a futex, at most; 0: it does not.
    pub(super) sleeps_for: AtomicI64,
    /// How many such sleeps it has begun.
    pub(super) sleeps: AtomicUsize,
    /// The library's thread has something to do.
    pub(super) thread_is_busy: AtomicBool,
}

/// What was seen: each call, and how it can fail (`None` if nobody knows).
pub(super) type Seen = Vec<(Call, Option<Vec<Fault>>)>;

/// Traces a process, the leader of a group of its own, until it ends. Returns when it is under way.
pub(super) fn trace(pid: u32, plan: Option<Plan>, progress: &Arc<Progress>) -> JoinHandle<Seen> {
    let (sender, receiver) = channel();
    let progress = Arc::clone(progress);
    let tracer = thread::Builder::new().name("tracer".into()).spawn(move || {
        let pid = Pid::from_raw(pid as i32);
        let mut tracer = Tracer { pid, plan, progress, tasks: HashMap::new(), seen: Vec::new() };
        tracer.run(sender);
        tracer.seen
    });
    receiver.recv().expect("the tracer says when it has begun");
    tracer.expect("a thread can be had")
}

struct Tracer {
    pid: Pid,
    plan: Option<Plan>,
    progress: Arc<Progress>,
    tasks: HashMap<Pid, Task>,
    seen: Seen,
}

struct Task {
    role: Role,
    memory: Memory,
    /// What the call that it is in is to return.
    result: Option<i64>,
}

impl Tracer {
    fn run(&mut self, under_way: Sender<()>) {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_EXITKILL;
        Thread::new(self.pid).seize(options).unwrap_or_else(|errno| {
            panic!(
                "cannot trace a child: {errno}; see kernel.yama.ptrace_scope, and what the container forbids"
            )
        });
        let mut under_way = Some(under_way);
        let ends = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL;
        // its end is left to its parent, another thread of this process
        while let Ok(status) = waitid(Id::PGid(self.pid), ends | WaitPidFlag::WNOWAIT) {
            let Some(task) = status.pid() else { continue };
            let has_ended = matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
            if has_ended && task == self.pid {
                break;
            }
            let _ = waitid(Id::Pid(task), ends);
            let resume = |signal| Thread::new(task).resume(Resume::ToSystemCall, signal);
            let outcome = match status {
                WaitStatus::PtraceSyscall(_) => self.at_call(task).and_then(|()| resume(None)),
                // a signal is on its way
                WaitStatus::PtraceEvent(_, signal, 0) => resume(Some(signal)),
                WaitStatus::PtraceEvent(_, Signal::SIGTRAP, _) => resume(None),
                _ if has_ended => {
                    self.forget(task);
                    Ok(())
                }
                other => panic!("the traced process came to {other:?}"),
            };
            match outcome {
                // it was killed
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => panic!("cannot trace: {errno}"),
            }
            if let Some(sender) = under_way.take() {
                sender.send(()).expect("somebody waits for it");
            }
        }
    }

    fn forget(&mut self, task: Pid) {
        if self.tasks.remove(&task).is_some_and(|task| task.role == Role::Thread) {
            self.progress.thread_is_busy.store(false, Ordering::SeqCst);
        }
    }

    fn task(&mut self, pid: Pid) -> &mut Task {
        let leader = self.pid;
        self.tasks.entry(pid).or_insert_with(|| {
            let is_thread = Path::new(&format!("/proc/{leader}/task/{pid}")).exists();
            let role = match is_thread {
                _ if pid == leader => Role::Main,
                true => Role::Thread,
                false => Role::Child,
            };
            let memory = Thread::new(pid).memory().expect("a tracer may read and write it");
            Task { role, memory, result: None }
        })
    }

    /// A call begins or ends.
    fn at_call(&mut self, pid: Pid) -> Result<(), Errno> {
        match Thread::new(pid).call_stop()? {
            CallStop::Entry => self.at_entry(pid),
            CallStop::Exit => self.at_exit(pid),
            CallStop::None => Ok(()),
        }
    }

    fn at_entry(&mut self, pid: Pid) -> Result<(), Errno> {
        let mut registers = Thread::new(pid).registers()?;
        let entry = Entry {
            number: registers.orig_rax as i64,
            arguments: [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
                registers.r9,
            ],
        };
        if self.is_not_the_library(&entry) {
            return Ok(());
        }
        let step = self.progress.answers.load(Ordering::SeqCst);
        let task = self.task(pid);
        let role = task.role;
        let (name, faults) = entry.faults(&task.memory).unzip();
        let name = name.unwrap_or("?");
        let text = match name {
            "?" => format!("system call {}", entry.number),
            name => entry.describe(name, &task.memory),
        };
        let sleeps_until = entry.sleeps_until(&task.memory);
        let polls_for = entry.polls_for(&task.memory);
        self.show(role, sleeps_until, polls_for);
        let mut call = Call { role, step, name, text, occurrence: 1 };
        while self.seen.iter().any(|(seen, _)| seen.is(&call)) {
            call.occurrence += 1;
        }
        let fault = self.plan.as_ref().filter(|plan| plan.call.is(&call)).map(|plan| plan.fault);
        self.seen.push((call, faults));
        let Some(fault) = fault else { return Ok(()) };
        self.progress.hit.store(true, Ordering::SeqCst);
        match fault {
            Fault::Instead(errno) => {
                // there is no such call, so none is made
                registers.orig_rax = u64::MAX;
                self.task(pid).result = Some(-i64::from(errno as i32));
            }
            Fault::After(errno) => self.task(pid).result = Some(-i64::from(errno as i32)),
            Fault::Never(_) => unreachable!("nobody plans that"),
        }
        Thread::new(pid).set_registers(&registers)
    }

    fn at_exit(&mut self, pid: Pid) -> Result<(), Errno> {
        let task = self.task(pid);
        if task.role == Role::Main {
            self.progress.sleeps_for.store(0, Ordering::SeqCst);
        }
        let Some(result) = self.task(pid).result.take() else { return Ok(()) };
        let mut registers = Thread::new(pid).registers()?;
        registers.rax = result as u64;
        Thread::new(pid).set_registers(&registers)
    }

    /// Whether the call is one of the subject's own: it is told something, answers, or ends.
    fn is_not_the_library(&self, entry: &Entry) -> bool {
        let descriptor = entry.arguments[0];
        match entry.number {
            libc::SYS_write if descriptor <= 2 => {
                if descriptor == 1 {
                    self.progress.answers.fetch_add(1, Ordering::SeqCst);
                }
                true
            }
            libc::SYS_read => descriptor == 0,
            // for the end of its child; other code that closes descriptors
            libc::SYS_wait4 | libc::SYS_close_range => true,
            libc::SYS_exit | libc::SYS_exit_group | libc::SYS_rt_sigreturn | libc::SYS_restart_syscall => {
                true
            }
            _ => false,
        }
    }

    fn show(&self, role: Role, sleeps_until: Option<i64>, polls_for: Option<i64>) {
        match (role, sleeps_until, polls_for) {
            (Role::Main, Some(until), _) => {
                let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock");
                let now = now.tv_sec() * 1000 + now.tv_nsec() / 1_000_000;
                self.progress.sleeps.fetch_add(1, Ordering::SeqCst);
                self.progress.sleeps_for.store(until - now, Ordering::SeqCst);
            }
            (Role::Thread, _, polls_for) => {
                let rests = polls_for.is_some_and(|milliseconds| milliseconds > 1000);
                self.progress.thread_is_busy.store(!rests, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}
