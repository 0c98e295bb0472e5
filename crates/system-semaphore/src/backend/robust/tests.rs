//! Processes that are halted or killed between any two steps of the engine.
//!
//! The other processes are this test program again, started to [play a part](plays_a_part_when_told_to). An [`Actor`]
//! does as it is told line by line; told to `halt STEP`, it says so when it next comes to that step, and waits there.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Pid, Signal, kill_process};
use test_support::{PATIENCE, wait_for};

use super::algorithm::fairness::FAIR_MS;
use super::algorithm::layout::{FILE_SIZE, SLOTS};
use super::algorithm::operation::{self, Operation, Outcome, Waiters};
use super::clock;
use super::failpoint::Step;
use super::lifetime::path::Place;
use super::lifetime::{close, open, registry_lock};
use super::mapped_file::Core;
use crate::backend::api::Request;
use crate::sys::descriptor;
use crate::{AccessMode, ErrorKind, KeyType, NativeIpcKey, OwnedPermit, SystemSemaphore};

/// The variable that makes this program an actor.
const ROLE: &str = "SYSTEM_SEMAPHORE_UNIT_TEST_ACTOR";

/// An open file that has no name, and nothing in it.
pub(super) fn core_of_nobody() -> Core {
    let place = Arc::new(Place::of("of nobody").expect("a good name"));
    let open = || {
        let file = memfd_create("of nobody", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, FILE_SIZE).map(|()| file)
    };
    Core::open(&place, open).expect("there is memory").0
}

/// At which step this process is to halt next.
static HALT: Mutex<Option<String>> = Mutex::new(None);

pub(crate) fn pass(step: Step) {
    let mut halt = HALT.lock().expect("nobody panics with it");
    if halt.as_deref() == Some(&*format!("{step:?}")) {
        *halt = None;
        drop(halt);
        say(&format!("at\t{step:?}"));
        let mut line = next_line().expect("it is told to go on");
        if let Some(name) = line.strip_prefix("lose\t") {
            lose_descriptors_of(name);
            line = next_line().expect("it is told to go on");
        }
        if let Some(next) = line.strip_prefix("go\t") {
            *HALT.lock().expect("nobody panics with it") = Some(next.to_owned());
        }
    }
}

/// Whether nothing but a wake-up is to end the sleep of this process's waiters. (Else they look for themselves once a
/// second, and would find in the end what nobody told them.)
static SLEEPS_WELL: AtomicBool = AtomicBool::new(false);

pub(crate) fn longest_sleep(sleep: Duration) -> Duration {
    if SLEEPS_WELL.load(Ordering::Relaxed) { PATIENCE * 10 } else { sleep }
}

fn say(line: &str) {
    let mut out = io::stdout();
    // a parent that has gone does not listen any more
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// As other code of the process may do that closes what is not its own, and opens something.
fn lose_descriptors_of(name: &str) {
    let other = memfd_create("other", MemfdFlags::CLOEXEC).expect("it can be made");
    for entry in fs::read_dir("/proc/self/fd").expect("it is there").flatten() {
        if fs::read_link(entry.path()).is_ok_and(|path| path.ends_with(name)) {
            let number = entry.file_name().to_string_lossy().parse().expect("a number");
            descriptor::lose(number, other.as_fd()).expect("it is open");
        }
    }
}

/// The next line from the parent.
fn next_line() -> Option<String> {
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line).expect("lines are UTF-8");
    (read > 0).then(|| line.trim_end().to_owned())
}

/// The actor's side. In an ordinary run nobody has told this program to be one.
#[test]
fn plays_a_part_when_told_to() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let mut semaphores = HashMap::new();
    let mut permits = Vec::new();
    while let Some(line) = next_line() {
        let fields: Vec<&str> = line.split('\t').collect();
        match obey(&fields, &mut semaphores, &mut permits) {
            Ok(()) => say("ok"),
            Err(error) => say(&format!("error\t{error}")),
        }
    }
    std::process::exit(0);
}

fn obey(
    fields: &[&str],
    semaphores: &mut HashMap<String, SystemSemaphore>,
    permits: &mut Vec<OwnedPermit>,
) -> crate::Result<()> {
    let count = fields.get(1).and_then(|count| count.parse().ok()).unwrap_or(0);
    let semaphore = semaphores.get("s");
    let semaphore = || semaphore.expect("it is open");
    match *fields {
        ["halt", step] => *HALT.lock().expect("nobody panics with it") = Some(step.to_owned()),
        ["open", name, count, mode] => {
            let mode = match mode {
                "Create" => AccessMode::Create,
                "OpenExisting" => AccessMode::OpenExisting,
                _ => AccessMode::Open,
            };
            let opened = SystemSemaphore::new(key(name), count.parse().expect("a number"), mode)?;
            semaphores.insert("s".to_owned(), opened);
        }
        ["reset", name, max] => {
            let builder = SystemSemaphore::builder(key(name)).mode(AccessMode::Create).initial_value(3);
            drop(builder.max_permits(max.parse().expect("a number")).build()?);
        }
        ["sleep well"] => SLEEPS_WELL.store(true, Ordering::Relaxed),
        ["remove", name] => SystemSemaphore::remove(key(name))?,
        ["close"] => drop(semaphores.remove("s")),
        ["acquire", _, ms] => {
            let timeout = Duration::from_millis(ms.parse().expect("a number"));
            permits.push(semaphore().acquire_many_timeout(count, timeout)?.into_owned());
        }
        ["acquire", _] => permits.push(semaphore().acquire_many(count)?.into_owned()),
        ["try", _] => permits.push(semaphore().try_acquire_many(count)?.into_owned()),
        ["drop"] => permits.pop().expect("there is one").release()?,
        ["hold"] => permits.pop().expect("there is one").hold(),
        ["forget"] => permits.pop().expect("there is one").forget()?,
        ["release", _] => semaphore().release(count)?,
        ["look"] => drop(semaphore().available_permits()?),
        ["fork in a wait"] => fork_in_a_wait(semaphore()),
        _ => panic!("no command: {fields:?}"),
    }
    Ok(())
}

/// Forks in the hook of a wait that has had deaths watched; fails unless the wait in the child is interrupted, and the thread
/// ends there that another wait of the child's own needs.
fn fork_in_a_wait(semaphore: &SystemSemaphore) {
    let (mut questions, mut is_child, mut child) = (0, false, 0);
    let mut hook = || {
        questions += 1;
        // the third sleep is one with a watch
        if questions < 4 || child != 0 {
            return child != 0;
        }
        #[allow(unsafe_code)]
        // SAFETY: the child does nothing that another thread could have kept it from
        let pid = unsafe { libc::fork() };
        is_child = pid == 0;
        child = pid;
        !is_child
    };
    let wait = || semaphore.acquire_interruptible(1, None, &mut hook).map(drop).map_err(|error| error.kind());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait));
    if is_child {
        let _ = semaphore.acquire_timeout(Duration::from_millis(200));
        let is_alone = || fs::read_dir("/proc/self/task").expect("it is there").count() == 1;
        let ends = std::panic::catch_unwind(|| wait_for("the watching thread ends", is_alone));
        let code = match outcome {
            Ok(Err(ErrorKind::Interrupted)) => i32::from(ends.is_err()),
            Ok(_) => 2,
            Err(_) => 3,
        };
        #[allow(unsafe_code)]
        // SAFETY: it ends the process
        unsafe {
            libc::_exit(code)
        };
    }
    let mut status = 0;
    #[allow(unsafe_code)]
    // SAFETY: the status is live
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!((waited, libc::WEXITSTATUS(status)), (child, 0), "1: a thread is left; 3: it has panicked");
}

fn key(name: &str) -> NativeIpcKey {
    NativeIpcKey::new(name, KeyType::Robust)
}

/// Another process.
struct Actor {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Actor {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().expect("the program knows itself"))
            .args(["--exact", "backend::robust::tests::plays_a_part_when_told_to", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            // the test harness has something to say, too
            let is_ours = |line: &String| ["ok", "error\t", "at\t"].iter().any(|word| line.starts_with(word));
            stdout.lines().map_while(Result::ok).filter(is_ours).try_for_each(|line| sender.send(line))
        });
        Self { child, stdin, lines }
    }

    /// One that has the semaphore open.
    fn with(stage: &Stage) -> Self {
        let mut actor = Self::start();
        actor.must(&format!("open\t{}\t0\tOpenExisting", stage.name));
        actor
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").expect("it listens");
    }

    #[track_caller]
    fn hear(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it answers")
    }

    #[track_caller]
    fn must(&mut self, command: &str) {
        self.tell(command);
        assert_eq!(self.hear(), "ok", "{command:?}");
    }

    /// Tells it to do something, in which it comes to a halt.
    #[track_caller]
    fn halt_in(&mut self, command: &str, step: Step) {
        self.must(&format!("halt\t{step:?}"));
        self.tell(command);
        assert_eq!(self.hear(), format!("at\t{step:?}"), "{command:?}");
    }

    /// Tells it to do something that it has to wait in.
    #[track_caller]
    fn block(&mut self, command: &str, stage: &Stage) {
        let before = stage.semaphore.waiting().expect("it is told");
        self.tell(command);
        wait_for("one more waits", || stage.semaphore.waiting().is_ok_and(|waiting| waiting == before + 1));
    }

    /// Tells it to do something that it has to wait in, and that nothing but a wake-up ends.
    #[track_caller]
    fn fall_asleep(&mut self, command: &str, stage: &Stage) {
        self.must("sleep well");
        let tasks = format!("/proc/{}/task", self.child.id());
        let threads = || fs::read_dir(&tasks).expect("it lives").count();
        // the test harness's two, and an emulator's; then one for the deaths of others
        let before = threads();
        self.block(command, stage);
        wait_for("it has deaths watched", || threads() == before + 1);
        self.wait_until_asleep();
    }

    /// Waits until all its threads sleep.
    #[track_caller]
    fn wait_until_asleep(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        wait_for("it sleeps", || {
            fs::read_dir(&tasks).expect("it lives").flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).expect("it lives");
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
            })
        });
    }

    fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it lives");
        wait_for("it has stopped", || super::process_id::is_stopped(self.child.id()));
    }

    fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).expect("it lives");
    }

    fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A semaphore of the test's own.
struct Stage {
    name: String,
    semaphore: SystemSemaphore,
}

impl Stage {
    fn new(count: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("system-semaphore-unit-{}-{number}", std::process::id());
        let semaphore = SystemSemaphore::new(key(&name), count, AccessMode::CreateNew).expect("it is new");
        Self { name, semaphore }
    }

    /// What the books say when the dead are buried: what is free, and what is held in the current epoch.
    fn books(&self) -> (u32, u32) {
        let free = self.semaphore.available_permits().expect("it is told");
        let core = self.core();
        let epoch = core.epoch();
        let slots = core.layout().used_slots();
        let held = slots.map(|slot| core.slot(slot).expect("it is there").held(epoch)).sum();
        close::close(&core);
        (free, held)
    }

    #[track_caller]
    fn assert_books(&self, free: u32, held: u32, context: impl Display) {
        assert_eq!(self.books(), (free, held), "free and held: {context}");
    }

    /// A look at the file, with a slot of its own.
    fn core(&self) -> Core {
        let place = super::Arc::new(Place::of(&self.name).expect("it is a good name"));
        let request = Request { mode: AccessMode::OpenExisting, ..Request::default() };
        let core = open::open(&place, &request).expect("it is there");
        super::Arc::into_inner(core).expect("nobody else has it")
    }

    fn create(&self, count: u32) -> SystemSemaphore {
        SystemSemaphore::new(key(&self.name), count, AccessMode::Create).expect("it can be reset")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // after a failure; else the last handle sees to it
        if thread::panicking() {
            let _ = SystemSemaphore::remove(key(&self.name));
        }
    }
}

/// What is done to who has come to a halt, before it is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meanwhile {
    Nothing,
    /// Somebody else has the next turn, and so has to help.
    AnotherOperation,
    /// Somebody else does so many that the tag's number comes round for it.
    ManyOperations,
    Reset,
}

impl Meanwhile {
    const ALL: [Self; 4] = [Self::Nothing, Self::AnotherOperation, Self::ManyOperations, Self::Reset];

    fn happen(self, stage: &Stage) {
        match self {
            Self::Nothing => {}
            Self::AnotherOperation => stage.semaphore.add_permits(1).expect("there is room"),
            Self::ManyOperations => (0..50).for_each(|_| {
                drop(stage.semaphore.try_acquire().expect("there are enough"));
            }),
            Self::Reset => drop(stage.create(100)),
        }
    }

    /// What is free afterwards, if so many would be otherwise.
    fn free(self, free: u32) -> u32 {
        match self {
            Self::Nothing | Self::ManyOperations => free,
            Self::AnotherOperation => free + 1,
            Self::Reset => 100,
        }
    }
}

#[test]
fn who_dies_in_the_middle_of_an_operation_has_done_it_or_not() {
    // what is done before, the operation, and what is free after a death before and after the swap
    let cases: [(&[&str], &str, u32, u32); 6] = [
        (&[], "acquire\t1", 10, 10),
        (&[], "acquire\t3", 10, 10),
        (&["acquire\t2"], "drop", 10, 10),
        (&[], "release\t5", 10, 15),
        (&["acquire\t3", "hold"], "release\t5", 10, 12),
        (&["acquire\t3", "forget", "acquire\t1"], "drop", 7, 7),
    ];
    for (before, operation, undone, done) in cases {
        for (step, free) in [(Step::BeforeSwap, undone), (Step::AfterSwap, done)] {
            for meanwhile in Meanwhile::ALL {
                let stage = Stage::new(10);
                let mut actor = Actor::with(&stage);
                before.iter().for_each(|command| actor.must(command));
                actor.halt_in(operation, step);
                meanwhile.happen(&stage);
                actor.kill();
                let context = format!("{before:?}, {operation:?}, killed {step:?}, meanwhile {meanwhile:?}");
                stage.assert_books(meanwhile.free(free), 0, context);
            }
        }
    }
}

#[test]
fn who_goes_on_after_others_have_helped_goes_on_rightly() {
    for step in [Step::BeforeSwap, Step::AfterSwap] {
        for meanwhile in Meanwhile::ALL {
            let stage = Stage::new(10);
            let mut actor = Actor::with(&stage);
            actor.halt_in("acquire\t2", step);
            meanwhile.happen(&stage);
            actor.must("go");
            let context = format!("{step:?}, meanwhile {meanwhile:?}");
            // an acquire that was applied before the reset is void
            let held = if meanwhile == Meanwhile::Reset && step == Step::AfterSwap { 0 } else { 2 };
            let taken_after_reset = if meanwhile == Meanwhile::Reset { held } else { 0 };
            stage.assert_books(meanwhile.free(10 - held) - taken_after_reset, held, &context);
            actor.must("drop");
            stage.assert_books(meanwhile.free(10), 0, &context);
        }
    }
}

#[test]
fn a_waiter_gets_what_a_releaser_did_not_live_to_announce() {
    for (initial, before, release) in [(1, "acquire\t1", "drop"), (0, "look", "release\t2")] {
        let stage = Stage::new(initial);
        let (mut releaser, mut waiter) = (Actor::with(&stage), Actor::with(&stage));
        releaser.must(before);
        waiter.fall_asleep("acquire\t1", &stage);
        releaser.halt_in(release, Step::BeforeWake);
        releaser.kill();
        assert_eq!(waiter.hear(), "ok", "{release:?}");
        stage.assert_books(1 - initial, 1, release);
    }
}

#[test]
fn a_waiter_gets_what_the_one_who_was_woken_did_not_live_to_take() {
    for (need, others) in [(1, 0), (3, 0), (1, MANY), (3, MANY)] {
        let stage = Stage::new(0);
        let others: Vec<_> = (0..others).map(|_| stage.core()).collect();
        let (mut first, mut second) = (Actor::with(&stage), Actor::with(&stage));
        first.must("halt\tWoken");
        first.fall_asleep("acquire\t1", &stage);
        second.fall_asleep(&format!("acquire\t{need}"), &stage);
        if need == 1 {
            stage.semaphore.add_permits(1).expect("there is room");
            assert_eq!(first.hear(), "at\tWoken");
        } else {
            // who needs several is woken by each, and sleeps on
            stage.semaphore.add_permits(2).expect("there is room");
            assert_eq!(first.hear(), "at\tWoken");
            stage.semaphore.add_permits(1).expect("there is room");
        }
        first.kill();
        assert_eq!(second.hear(), "ok", "{need}, and {} others", others.len());
        stage.assert_books(0, need, need);
        others.iter().for_each(close::close);
    }
}

#[test]
fn what_several_held_who_die_together_comes_back() {
    for number_of_others in [0, MANY] {
        let stage = Stage::new(3 + number_of_others as u32);
        let others: Vec<_> = (0..number_of_others).map(|_| stage.core()).collect();
        others.iter().for_each(take_one);
        let mut holders: Vec<Actor> = (0..3).map(|_| Actor::with(&stage)).collect();
        holders.iter_mut().for_each(|holder| holder.must("acquire\t1"));
        let mut waiter = Actor::with(&stage);
        waiter.fall_asleep("acquire\t3", &stage);
        // so that it is told of all at once, and the same reports are one
        waiter.stop();
        holders.into_iter().for_each(Actor::kill);
        waiter.go_on();
        assert_eq!(waiter.hear(), "ok", "among {number_of_others} others");
        stage.assert_books(0, 3 + number_of_others as u32, "it has what they had");
        let epoch = others.first().map_or(0, Core::epoch);
        let give_back = Operation::give_back(1, epoch, Waiters::Keep);
        others.iter().for_each(|user| operate(user, &give_back));
        others.iter().for_each(close::close);
        stage.assert_books(number_of_others as u32, 3, "the others have gone");
    }
}

#[test]
fn who_was_woken_and_leaves_without_a_permit_passes_it_on() {
    const TIME: Duration = Duration::from_secs(2);
    let stage = Stage::new(0);
    let (mut first, mut second) = (Actor::with(&stage), Actor::with(&stage));
    first.must("halt\tWoken");
    first.fall_asleep(&format!("acquire\t1\t{}", TIME.as_millis()), &stage);
    // it sleeps, so its time has begun
    let begin = Instant::now();
    second.fall_asleep("acquire\t1", &stage);
    // if the first one's time is up before it is woken, it has no duty, and this says nothing
    stage.semaphore.add_permits(1).expect("there is room");
    if first.hear() == "at\tWoken" {
        let overtaker = stage.semaphore.try_acquire().expect("it is free");
        wait_for("the first one's time is up", || begin.elapsed() > TIME);
        first.tell("go");
        assert!(first.hear().contains("in time"));
        // nothing but the first one's word has the second announce itself again
        drop(overtaker);
    }
    assert_eq!(second.hear(), "ok");
    stage.assert_books(0, 1, "the second has it");
}

#[test]
fn one_permit_goes_through_all_who_wait() {
    let stage = Stage::new(0);
    let mut waiters: Vec<Actor> = (0..3).map(|_| Actor::with(&stage)).collect();
    for waiter in &mut waiters {
        waiter.fall_asleep("acquire\t1", &stage);
    }
    stage.semaphore.add_permits(1).expect("there is room");
    // who had it stays: its end would wake somebody, too
    let mut served = Vec::new();
    while !waiters.is_empty() {
        let mut next = None;
        wait_for("one of them is served", || {
            next = waiters.iter().position(|waiter| waiter.lines.try_recv().is_ok());
            next.is_some()
        });
        served.push(waiters.swap_remove(next.expect("one is")));
        served.last_mut().expect("there is one").must("drop");
    }
    stage.assert_books(1, 0, "all had it");
}

#[test]
fn who_needs_much_does_not_keep_the_wake_up_of_who_needs_little() {
    let stage = Stage::new(0);
    let (mut much, mut little) = (Actor::with(&stage), Actor::with(&stage));
    much.fall_asleep("acquire\t3", &stage);
    little.fall_asleep("acquire\t1", &stage);
    stage.semaphore.add_permits(1).expect("there is room");
    assert_eq!(little.hear(), "ok");
    stage.semaphore.add_permits(3).expect("there is room");
    assert_eq!(much.hear(), "ok");
    stage.assert_books(0, 4, "each has what it needs");
}

/// In these tests fairness lasts longer, so that it can be seen.
#[test]
fn who_was_woken_in_vain_is_not_overtaken_again() {
    let stage = Stage::new(0);
    let (mut waiter, mut overtaker) = (Actor::with(&stage), Actor::with(&stage));
    waiter.must("halt\tWoken");
    waiter.fall_asleep("acquire\t1", &stage);
    let begin = Instant::now();
    wait_for("it has waited for long", || begin.elapsed() > super::algorithm::fairness::UNFAIR);
    stage.semaphore.add_permits(1).expect("there is room");
    assert_eq!(waiter.hear(), "at\tWoken");
    overtaker.must("acquire\t1");
    waiter.tell("go\tWoken");
    let core = stage.core();
    wait_for("the waiter asks for fairness", || core.is_fair_now());
    waiter.wait_until_asleep();
    overtaker.must("drop");
    assert_eq!(waiter.hear(), "at\tWoken");
    assert_eq!(core.layout().state().count(), 1);
    overtaker.block("acquire\t1", &stage);
    close::close(&core);
    waiter.must("go");
    let core = stage.core();
    assert!(!core.is_fair_now(), "it has what it asked for");
    close::close(&core);
    waiter.must("drop");
    assert_eq!(overtaker.hear(), "ok");
    stage.assert_books(0, 1, "each had its turn");
}

/// Though some who died waiting were woken in vain for long.
#[test]
fn who_may_not_wait_gets_what_is_free() {
    let stage = Stage::new(3);
    let core = stage.core();
    core.layout().fair_until.store(clock::milliseconds() + FAIR_MS, Ordering::Relaxed);
    super::algorithm::wake::announce_and_wake(&core);
    assert!(core.is_fair_now() && core.layout().state().waiters());
    drop(stage.semaphore.acquire_many_timeout(3, Duration::ZERO).expect("they are free"));
    assert!(core.is_fair_now() && core.layout().state().waiters());
    let error = stage.semaphore.acquire_many_timeout(4, Duration::ZERO).expect_err("there are three");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    close::close(&core);
    stage.assert_books(3, 0, "all is given back");
}

#[test]
fn each_of_many_waiters_gets_what_it_needs() {
    for needs in [[1, 1, 1], [1, 2, 1], [3, 2, 2], [1, 3, 5]] {
        let stage = Stage::new(0);
        let mut waiters: Vec<Actor> = needs.iter().map(|_| Actor::with(&stage)).collect();
        for (waiter, need) in waiters.iter_mut().zip(needs) {
            waiter.fall_asleep(&format!("acquire\t{need}"), &stage);
        }
        // one by one, so that what there is may be too little for who is woken
        for _ in 0..needs.iter().sum() {
            stage.semaphore.add_permits(1).expect("there is room");
        }
        // who takes little may take it from under who needs much, but all of it is enough for all
        for waiter in &waiters {
            assert_eq!(waiter.hear(), "ok", "{needs:?}");
        }
        stage.assert_books(0, needs.iter().sum(), format!("{needs:?}"));
    }
}

#[test]
fn a_waiter_is_served_though_the_one_who_was_woken_is_stopped() {
    let stage = Stage::new(0);
    let (mut first, mut second) = (Actor::with(&stage), Actor::with(&stage));
    first.must("halt\tWoken");
    // for good: one that got up for a moment would lie down behind the other, who would be woken instead
    first.fall_asleep("acquire\t1", &stage);
    second.block("acquire\t1", &stage);
    stage.semaphore.add_permits(1).expect("there is room");
    assert_eq!(first.hear(), "at\tWoken");
    first.stop();
    assert_eq!(second.hear(), "ok");
    second.must("drop");
    first.go_on();
    first.must("go");
    stage.assert_books(0, 1, "the first has it");
}

const RECOVERY: [Step; 7] = [
    Step::RecoveryBegins,
    Step::RecoverySettled,
    Step::BeforeSwap,
    Step::AfterSwap,
    Step::RecoveryGaveBack,
    Step::BeforeWake,
    Step::RecoveryWoke,
];

#[test]
fn recoverers_may_die_one_after_the_other() {
    for step in RECOVERY {
        for second in RECOVERY {
            for meanwhile in [Meanwhile::Nothing, Meanwhile::AnotherOperation, Meanwhile::Reset] {
                let stage = Stage::new(5);
                let mut holder = Actor::with(&stage);
                holder.must("acquire\t2");
                holder.must("acquire\t1");
                let mut recoverers = [Actor::with(&stage), Actor::with(&stage)];
                holder.kill();
                let mut context = format!("meanwhile {meanwhile:?}, killed");
                for (recoverer, step) in recoverers.iter_mut().zip([step, second]) {
                    recoverer.must(&format!("halt\t{step:?}"));
                    recoverer.tell("look");
                    // what the first had done already, the second does not come to
                    let halted = recoverer.hear();
                    context += &format!(" at {halted}");
                    if halted != "ok" {
                        meanwhile.happen(&stage);
                    }
                }
                recoverers.into_iter().for_each(Actor::kill);
                let free = match meanwhile {
                    Meanwhile::AnotherOperation => 5 + context.matches("at at\t").count() as u32,
                    _ => meanwhile.free(5),
                };
                stage.assert_books(free, 0, &context);
                let recoveries = stage.semaphore.recoveries().expect("it is told");
                assert!(recoveries >= 1 || meanwhile == Meanwhile::Reset, "{context}");
            }
        }
    }
}

/// The recoverer is somebody who uses the semaphore, or somebody who opens it and has no slot yet.
#[test]
fn a_waiter_gets_what_a_recoverer_did_not_live_to_announce() {
    for step in RECOVERY {
        for is_user in [true, false] {
            let stage = Stage::new(1);
            let mut holder = Actor::with(&stage);
            holder.must("acquire\t1");
            let mut waiter = Actor::with(&stage);
            let mut recoverer = if is_user { Actor::with(&stage) } else { Actor::start() };
            let open = format!("open\t{}\t0\tOpen", stage.name);
            holder.kill();
            // before the waiter's process can be first
            recoverer.halt_in(if is_user { "look" } else { &open }, Step::RecoveryBegins);
            waiter.fall_asleep("acquire\t1", &stage);
            if step != Step::RecoveryBegins {
                recoverer.tell(&format!("go\t{step:?}"));
                assert_eq!(recoverer.hear(), format!("at\t{step:?}"));
            }
            recoverer.kill();
            assert_eq!(waiter.hear(), "ok", "{step:?}, user {is_user}");
            stage.assert_books(0, 1, format!("{step:?}, user {is_user}"));
        }
    }
}

#[test]
fn who_is_stopped_at_any_step_is_in_nobodys_way() {
    let cases: [(&str, Step); 6] = [
        ("acquire\t1", Step::BeforeSwap),
        ("acquire\t1", Step::AfterSwap),
        ("drop", Step::AfterSwap),
        ("release\t1", Step::AfterSwap),
        ("look", Step::RecoverySettled),
        ("look", Step::AfterSwap),
    ];
    for (command, step) in cases {
        let stage = Stage::new(5);
        let mut dead = Actor::with(&stage);
        dead.must("acquire\t1");
        let mut actor = Actor::with(&stage);
        actor.must("acquire\t1");
        if command == "look" {
            dead.kill();
        }
        actor.halt_in(command, step);
        actor.stop();
        for _ in 0..100 {
            drop(stage.semaphore.acquire_many(2).expect("there are enough"));
        }
        stage.semaphore.add_permits(1).expect("there is room");
        let again = stage.create(7);
        drop(again.acquire_many(7).expect("all are free"));
        actor.go_on();
        actor.must("go");
        let context = format!("{command:?} {step:?}");
        if command == "acquire\t1" && step == Step::BeforeSwap {
            stage.assert_books(6, 1, context);
        } else if command == "release\t1" {
            stage.assert_books(7, 0, context);
        } else {
            actor.kill();
            stage.assert_books(7, 0, context);
        }
    }
}

#[test]
fn who_waits_for_a_stopped_recoverer_is_told() {
    let stage = Stage::new(1);
    let mut dead = Actor::with(&stage);
    dead.must("acquire\t1");
    let dead_pid = dead.child.id();
    let mut recoverer = Actor::with(&stage);
    dead.kill();
    recoverer.halt_in("look", Step::RecoverySettled);
    recoverer.stop();
    let timeout = Duration::from_millis(20);
    let error = stage.semaphore.acquire_timeout(timeout).expect_err("it is not yet given back");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    for pid in [dead_pid, recoverer.child.id()] {
        assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    }
    recoverer.go_on();
    recoverer.must("go");
    drop(stage.semaphore.acquire().expect("it is given back"));
    stage.assert_books(1, 0, "all is back");
}

#[test]
fn a_reset_that_was_not_finished_is_finished_by_others() {
    for meanwhile in Meanwhile::ALL {
        let stage = Stage::new(10);
        let mut holder = Actor::with(&stage);
        holder.must("acquire\t4");
        let old = stage.semaphore.acquire_many(3).expect("there are enough");
        let mut resetter = Actor::start();
        resetter.halt_in(&format!("open\t{}\t20\tCreate", stage.name), Step::ResetSwapped);
        if meanwhile == Meanwhile::Reset {
            // another one has to wait for the lock until the first is dead
            resetter.kill();
            meanwhile.happen(&stage);
        } else {
            meanwhile.happen(&stage);
            resetter.kill();
        }
        let context = format!("meanwhile {meanwhile:?}");
        stage.assert_books(meanwhile.free(20), 0, &context);
        drop(stage.semaphore.acquire().expect("there are enough"));
        drop(old);
        holder.must("acquire\t1");
        holder.must("drop");
        holder.must("drop");
        stage.assert_books(meanwhile.free(20), 0, format!("{context}, old permits dropped"));
    }
}

#[test]
fn a_reset_that_was_not_begun_changes_nothing() {
    let stage = Stage::new(10);
    let mut holder = Actor::with(&stage);
    holder.must("acquire\t4");
    let mut resetter = Actor::start();
    resetter.halt_in(&format!("open\t{}\t20\tCreate", stage.name), Step::ResetBegins);
    resetter.kill();
    stage.assert_books(6, 4, "as before");
    holder.must("drop");
    stage.assert_books(10, 0, "the permits were good");
}

#[test]
fn a_removal_that_was_not_finished_is_finished_by_who_opens() {
    let stage = Stage::new(3);
    let (mut waiter, mut remover) = (Actor::with(&stage), Actor::start());
    waiter.fall_asleep("acquire\t4", &stage);
    remover.halt_in(&format!("remove\t{}", stage.name), Step::MarkedRemoved);
    assert!(waiter.hear().contains("removed"));
    remover.kill();
    let new = SystemSemaphore::new(key(&stage.name), 7, AccessMode::CreateNew).expect("the name is free");
    assert_eq!(new.available_permits().expect("it is told"), 7);
    let error = stage.semaphore.acquire().expect_err("this one is removed");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(new.available_permits().expect("it is told"), 7);
}

#[test]
fn permits_of_what_was_removed_keep_nothing_open() {
    let stage = Stage::new(3);
    let mut user = Actor::start();
    let descriptors = |user: &Actor| {
        let listing = fs::read_dir(format!("/proc/{}/fd", user.child.id())).expect("it lives");
        listing.count()
    };
    // it is up
    user.must("sleep well");
    let before = descriptors(&user);
    user.must(&format!("open\t{}\t0\tOpenExisting", stage.name));
    user.must("acquire\t1");
    user.must("acquire\t1");
    user.must("hold");
    assert!(descriptors(&user) > before);
    SystemSemaphore::remove(key(&stage.name)).expect("it is there");
    user.tell("drop");
    assert!(user.hear().contains("removed"));
    user.must("close");
    assert_eq!(descriptors(&user), before);
}

#[test]
fn who_dies_opening_or_closing_is_in_nobodys_way() {
    let stage = Stage::new(3);
    let mut opener = Actor::start();
    opener.halt_in(&format!("open\t{}\t0\tOpen", stage.name), Step::Registered);
    let mut closer = Actor::with_patience(&stage, opener);
    stage.assert_books(3, 0, "who was opening has gone");
    let name = stage.name.clone();
    // who is not the last one closes without the lock
    drop(stage);
    closer.halt_in("close", Step::Registered);
    closer.kill();
    let error = SystemSemaphore::new(key(&name), 0, AccessMode::OpenExisting).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn an_open_whose_descriptor_is_lost_starts_over() {
    // what is there, and the file that the number is of by then, look alike: nobody has a lock there
    for persistent in [false, true] {
        let stage = Stage::new(3);
        let core = stage.core();
        core.layout().persistent.store(persistent.into(), Ordering::Relaxed);
        let held = stage.semaphore.acquire().expect("one is free");
        let mut opener = Actor::start();
        opener.halt_in(&format!("open\t{}\t9\tOpen", stage.name), Step::Registered);
        opener.tell(&format!("lose\t{}", stage.name));
        opener.tell("go");
        assert_eq!(opener.hear(), "ok", "persistent: {persistent}");
        stage.assert_books(2, 1, format_args!("nobody has died (persistent: {persistent})"));
        opener.must("acquire\t1");
        opener.kill();
        stage.assert_books(2, 1, format_args!("it had a slot and a lock (persistent: {persistent})"));
        core.layout().persistent.store(0, Ordering::Relaxed);
        drop(held);
        close::close(&core);
    }
}

/// Takes a permit for a user that has no semaphore around it.
fn take_one(user: &Core) {
    operate(user, &Operation::acquire(1, false, Waiters::Keep));
}

#[track_caller]
fn operate(user: &Core, operation: &Operation) {
    let actor = operation::Actor::new(user, user.own_slot().expect("it has one")).expect("it is there");
    assert!(matches!(actor.operate(operation), Ok(Outcome::Done { .. })));
}

/// More users than are all looked at without much thought, and more than one page has slots for.
const MANY: usize = 110;

#[test]
fn the_dead_are_found_among_many() {
    let stage = Stage::new(3);
    let mut users: Vec<_> = (0..MANY).map(|_| stage.core()).collect();
    [7, MANY - 2, MANY - 1].iter().for_each(|index| take_one(&users[*index]));
    // Nothing of it is written down: as if it had been killed. (A process that another test is just starting has a copy of
    // its descriptor until it executes its program.)
    drop(users.pop());
    drop(users.remove(7));
    wait_for("two of three have died", || stage.books() == (2, 1));
    let core = stage.core();
    // the stage's, and the one that looks
    assert_eq!(core.living_slots().expect("it can be looked at").len(), users.len() + 2);
    assert_eq!(core.layout().used_slots().count(), users.len() + 2);
    // a dead one that nobody has recovered yet is none of the living
    drop(users.pop());
    let living = || core.living_slots().expect("it can be looked at").len();
    wait_for("it is none of the living", || living() == users.len() + 2);
    users.iter().for_each(close::close);
    close::close(&core);
}

impl Actor {
    /// One that opens the semaphore while another one, halted in the middle of its open, is killed.
    fn with_patience(stage: &Stage, halted: Self) -> Self {
        let mut actor = Self::start();
        actor.tell(&format!("open\t{}\t0\tOpenExisting", stage.name));
        halted.kill();
        assert_eq!(actor.hear(), "ok");
        actor
    }
}

#[test]
fn an_open_waits_for_any_number_whose_turn_is_before_its_own() {
    let stage = Stage::new(3);
    let core = stage.core();
    let registered = registry_lock::Registered::for_open(&core).expect("nobody has it");
    let name = stage.name.clone();
    let opener =
        thread::spawn(move || SystemSemaphore::new(key(&name), 0, AccessMode::OpenExisting).map(drop));
    // as if one after the other had it, together for longer than one alone may
    let end = Instant::now() + registry_lock::OPEN_PATIENCE * 3 / 2;
    for owner in 1.. {
        core.layout().registrar.store(owner, Ordering::Relaxed);
        assert!(!opener.is_finished(), "it has given up while others had their turns");
        if Instant::now() >= end {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    drop(registered);
    opener.join().expect("it does not panic").expect("its turn came");
    close::close(&core);
}

#[test]
fn the_last_one_may_die_while_it_closes() {
    let stage = Stage::new(3);
    let name = stage.name.clone();
    let mut closer = Actor::with(&stage);
    closer.must("acquire\t1");
    closer.must("forget");
    drop(stage);
    closer.halt_in("close", Step::Registered);
    closer.kill();
    // what it left is a leftover
    let again = SystemSemaphore::new(key(&name), 7, AccessMode::Open).expect("it can be made");
    assert_eq!(again.available_permits().expect("it is told"), 7);
}

/// A single release can be of more than any count.
#[test]
fn who_holds_more_than_can_be_free_cannot_give_it_back_at_once() {
    let max = super::algorithm::layout::MAX_PERMITS;
    let stage = Stage::new(max);
    let semaphore = &stage.semaphore;
    semaphore.acquire_many(max).expect("there are enough").hold();
    semaphore.add_permits(max).expect("there is room");
    semaphore.acquire_many(max).expect("there are enough").hold();
    semaphore.add_permits(2).expect("there is room");
    assert_eq!((stage.books(), semaphore.held_permits()), ((2, 2 * max), 2 * max));
    // the tag is to be this process's, or it goes the long way
    semaphore.acquire().expect("there are two").forget().expect("it is there");
    semaphore.add_permits(1).expect("there is room");
    let outcome = semaphore.release(2 * max).map_err(|error| error.kind());
    let after = (stage.books(), semaphore.held_permits());
    SystemSemaphore::remove(key(&stage.name)).expect("it is there");
    assert_eq!((outcome, after), (Err(ErrorKind::OutOfResources), ((2, 2 * max), 2 * max)));
}

#[test]
fn a_wait_that_is_watched_ends_in_a_forked_child_and_leaves_nothing() {
    let stage = Stage::new(0);
    let mut actor = Actor::with(&stage);
    actor.must("fork in a wait");
}

/// A semaphore of at most so many permits, of which three are free.
fn with_maximum(max: &str) -> Stage {
    let stage = Stage::new(3);
    Actor::start().must(&format!("reset\t{}\t{max}", stage.name));
    stage
}

#[test]
fn a_reset_that_was_not_begun_leaves_the_maximum() {
    let stage = with_maximum("3");
    let mut resetter = Actor::start();
    resetter.halt_in(&format!("reset\t{}\t20", stage.name), Step::ResetBegins);
    resetter.kill();
    stage.assert_books(3, 0, "as before");
    assert_eq!(stage.semaphore.capabilities().max_permits, 3);
}

#[test]
fn a_reset_that_was_not_finished_has_set_the_maximum() {
    let stage = with_maximum("20");
    let mut resetter = Actor::start();
    resetter.halt_in(&format!("reset\t{}\t3", stage.name), Step::ResetSwapped);
    resetter.kill();
    drop(stage.semaphore.acquire().expect("there are enough"));
    assert_eq!(stage.semaphore.capabilities().max_permits, 3);
}

#[test]
fn nobody_creates_too_many_during_a_reset() {
    let stage = with_maximum("20");
    let mut resetter = Actor::start();
    resetter.halt_in(&format!("reset\t{}\t3", stage.name), Step::ResetSwapped);
    // the reset has happened: it would be void otherwise
    let added = stage.semaphore.add_permits(1).is_ok();
    resetter.tell("go on");
    assert_eq!(resetter.hear(), "ok");
    let free = stage.semaphore.available_permits().expect("it is told");
    assert_eq!((added, free, stage.semaphore.capabilities().max_permits), (false, 3, 3));
}

/// A close does not wait long for who is opening. That one is the next, to whom it leaves the file.
#[test]
fn an_open_that_fails_takes_along_what_was_left_to_it() {
    let stage = Stage::new(1);
    let path = Place::of(&stage.name).expect("it is a good name").path();
    let mut opener = Actor::start();
    opener.halt_in(&format!("open\t{}\t{}\tOpen", stage.name, u32::MAX), Step::Registered);
    drop(stage);
    opener.tell("go on");
    let answer = opener.hear();
    let is_left = path.exists();
    let _ = fs::remove_file(path);
    assert!(answer.starts_with("error") && !is_left, "{answer}");
}

/// Who looks for the dead begins about the last one, and misses none.
#[test]
fn the_slots_in_use_are_found_from_everywhere() {
    let core = core_of_nobody();
    let (layout, used) = (core.layout(), [0, 3, 63, 64, 70, 200, SLOTS - 1]);
    used.iter().for_each(|number| layout.set_used(*number, true));
    // of no slots: the bits behind the last one
    layout.used[usize::from(SLOTS / 64)].fetch_or(!0 << (SLOTS % 64), Ordering::Relaxed);
    for (from, first) in [(0, 0), (63, 0), (64, 64), (70, 64), (130, 200), (201, 200), (SLOTS - 1, SLOTS - 1)]
    {
        let mut found = layout.used_slots_from(from);
        let mut slots: Vec<u16> = found.by_ref().collect();
        assert_eq!((slots[0], found.next()), (first, None), "from {from}");
        slots.sort_unstable();
        assert_eq!(slots, used, "from {from}");
    }
}
