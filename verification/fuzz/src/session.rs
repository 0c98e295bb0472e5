//! The use of a semaphore whose file may contain anything: whatever is called may fail, but must return.

use std::fs::File;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use system_semaphore::{AccessMode, Error, InheritablePermit, OwnedPermit, SystemSemaphore};
use test_support::byte_lock;
use test_support::format::REGISTRY_BYTE;

use crate::choice;
use crate::scribble::{Count, Slot, Write, scribble};
use crate::test_file::{TestFile, clear_held};

choice! {
    /// How a semaphore is opened.
    #[derive(Copy)]
    pub enum Mode {
        /// [`AccessMode::Open`].
        Open,
        /// [`AccessMode::Create`].
        Create,
        /// [`AccessMode::CreateNew`].
        CreateNew,
        /// [`AccessMode::OpenExisting`].
        OpenExisting,
    }
}

impl From<Mode> for AccessMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Open => Self::Open,
            Mode::Create => Self::Create,
            Mode::CreateNew => Self::CreateNew,
            Mode::OpenExisting => Self::OpenExisting,
        }
    }
}

choice! {
    /// A call of the library, or what another user does.
    #[expect(missing_docs, reason = "each is the method of that name, on what is open or held")]
    pub enum Step {
        Open {
            mode: Mode,
            value: Count,
            max: Option<Count>,
            persistent: bool,
        },
        SetKey(Mode),
        Remove,
        Close,
        Available,
        Waiting,
        Holders,
        Recoveries,
        Capabilities,
        TryAcquire(Count),
        Acquire {
            count: Count,
            ms: u8,
        },
        Interruptible(Count),
        Inheritable(Count),
        /// Its holder is dead then.
        DropInheritable,
        Drop,
        Release,
        Forget,
        Hold,
        /// Takes one by `std::mem::forget`: the process holds it to its end.
        Leak,
        Split(Count),
        Merge,
        Give(Count),
        Add(Count),
        ForgetHeld(Count),
        /// Another user lives, and has this slot.
        Lock(Slot),
        /// It is dead.
        Unlock,
    }
}

/// A moment to wait. After two milliseconds deaths are watched.
pub fn moment(choice: u8) -> Duration {
    Duration::from_millis([0, 0, 1, 3][usize::from(choice % 4)])
}

/// A process's use of the semaphore of a test file.
pub struct Session {
    test_file: &'static TestFile,
    handles: Vec<SystemSemaphore>,
    permits: Vec<OwnedPermit>,
    inheritable: Vec<InheritablePermit>,
    /// The files that the test file had at any time.
    files: Vec<File>,
    others: Option<File>,
}

/// So many handles and permits are enough.
const MANY: usize = 4;

impl Session {
    /// Begins with nothing open.
    pub fn new(test_file: &'static TestFile) -> Self {
        Self {
            test_file,
            handles: Vec::new(),
            permits: Vec::new(),
            inheritable: Vec::new(),
            files: Vec::new(),
            others: None,
        }
    }

    /// Opens the semaphore with this many permits.
    pub fn open(&mut self, mode: Mode, permits: u32) -> Result<&SystemSemaphore, Error> {
        self.handles.push(SystemSemaphore::new(&self.test_file.key, permits, mode.into())?);
        Ok(&self.handles[self.handles.len() - 1])
    }

    /// A handle for another thread.
    pub fn handle(&self) -> Option<SystemSemaphore> {
        self.handles.last().cloned()
    }

    /// The file as it is now, or was last.
    pub fn file(&mut self) -> Option<&File> {
        if !self.files.last().is_some_and(|file| self.test_file.names(file)) {
            self.files.extend(self.test_file.open());
        }
        self.files.last()
    }

    /// Does a step, if there is something to do it with.
    pub fn take(&mut self, step: &Step) {
        // each file that the test file had is cleared later
        self.file();
        match *step {
            Step::Open { mode, value, max, persistent } if self.handles.len() < MANY => {
                let builder =
                    SystemSemaphore::builder(&self.test_file.key).mode(mode.into()).persistent(persistent);
                let builder = match max {
                    Some(max) => builder.max_permits(max.get()),
                    None => builder,
                };
                self.handles.extend(builder.initial_value(value.get()).build());
            }
            Step::Remove => drop(SystemSemaphore::remove(&self.test_file.key)),
            Step::Close => {
                if let Some(handle) = self.handles.pop() {
                    self.clear_held();
                    drop(handle);
                }
            }
            Step::DropInheritable => drop(self.inheritable.pop()),
            Step::Lock(slot) => self.lock(slot),
            Step::Unlock => self.others = None,
            Step::Drop => drop(self.permits.pop()),
            Step::Release => drop(self.permits.pop().map(OwnedPermit::release)),
            Step::Forget => drop(self.permits.pop().map(OwnedPermit::forget)),
            Step::Hold => drop(self.permits.pop().map(OwnedPermit::detach)),
            Step::Split(count) => {
                let part = self.permits.last_mut().and_then(|permit| permit.split(count.get()));
                self.permits.extend(part);
            }
            Step::Merge => {
                if let Some(other) = self.permits.pop()
                    && let Some(permit) = self.permits.last_mut()
                {
                    let _ = permit.merge(other);
                }
            }
            _ => self.use_handle(step),
        }
        let excess = self.permits.len().saturating_sub(MANY);
        self.permits.drain(..excess);
        self.inheritable.truncate(MANY);
    }

    fn use_handle(&mut self, step: &Step) {
        let Some(semaphore) = self.handles.last_mut() else { return };
        let soon = Instant::now() + Duration::from_millis(1);
        let permit = match *step {
            Step::SetKey(mode) => {
                let _ = semaphore.set_key(&self.test_file.key, 3, mode.into());
                return;
            }
            Step::Available => return drop(semaphore.available_permits()),
            Step::Waiting => return drop(semaphore.waiting()),
            Step::Holders => return drop(semaphore.holders()),
            Step::Recoveries => return drop(semaphore.recoveries()),
            Step::Leak => return drop(semaphore.try_acquire().map(std::mem::forget)),
            Step::Capabilities => return assert!(semaphore.capabilities().max_permits <= i32::MAX as u32),
            Step::Give(count) => return drop(semaphore.release(count.get())),
            Step::Add(count) => return drop(semaphore.add_permits(count.get())),
            Step::ForgetHeld(count) => {
                let held = semaphore.detached_permits();
                let forgotten = semaphore.forget_detached(count.get()).unwrap_or(0);
                assert!(forgotten <= held.min(count.get()));
                return;
            }
            Step::Inheritable(count) => {
                self.inheritable.extend(semaphore.acquire_inheritable(count.get(), Some(soon)));
                return;
            }
            Step::TryAcquire(count) => semaphore.try_acquire_many(count.get()),
            Step::Acquire { count, ms } => semaphore.acquire_many_timeout(count.get(), moment(ms)),
            Step::Interruptible(count) => {
                let mut questions = 0;
                semaphore.acquire_interruptible(count.get(), Some(soon), &mut || {
                    questions += 1;
                    questions > 2
                })
            }
            _ => return,
        };
        self.permits.extend(permit.map(|permit| permit.into_owned()));
    }

    fn lock(&mut self, slot: Slot) {
        // who has the registry lock is waited for, for seconds
        if slot.number() == REGISTRY_BYTE {
            return;
        }
        if self.others.is_none() {
            self.others = self.test_file.open().ok();
        }
        if let Some(others) = &self.others {
            // another one may have it already
            let _ = byte_lock::try_lock(others, slot.number()..slot.number() + 1);
        }
    }

    /// Ends the use. Other users are dead, and the file may be left.
    pub fn end(mut self) {
        self.take(&Step::Capabilities);
        self.others = None;
        // what is held without a guard keeps it open
        self.handles.extend(SystemSemaphore::new(&self.test_file.key, 0, AccessMode::OpenExisting));
        self.inheritable.clear();
        self.permits.clear();
        for semaphore in &self.handles {
            let _ = semaphore.forget_detached(u32::MAX);
        }
        self.clear_held();
    }

    /// Lets nobody hold anything. A handle that goes while its process holds permits leaves its slot to the process's end.
    /// That a few do is well, but so many descriptors as there are visits no process has.
    fn clear_held(&self) {
        static UNCLEARED: AtomicU32 = AtomicU32::new(0);
        if UNCLEARED.fetch_add(1, Ordering::Relaxed) >= 50 {
            self.files.iter().for_each(clear_held);
        }
    }
}

/// What a second thread does meanwhile.
pub enum Errand {
    /// Writes all that over and over, as long as it is let, but not for ever.
    Scribble(File, Vec<Write>),
    /// Takes so many permits, and gives them back.
    Acquire(SystemSemaphore, Count, Duration),
}

/// An errand of the second thread, which is over when this is dropped.
pub struct Running {
    stop: Arc<AtomicBool>,
    done: Receiver<()>,
}

/// How often the second thread scribbles: nobody can come to an end while somebody scribbles for ever.
const ROUNDS: u32 = 2000;

impl Running {
    /// Sends the second thread.
    pub fn new(errand: Errand) -> Self {
        type Job = (Errand, Arc<AtomicBool>, Sender<()>);
        static SECOND: LazyLock<Mutex<Sender<Job>>> = LazyLock::new(|| {
            let (jobs, queue) = channel::<Job>();
            thread::spawn(move || {
                for (errand, stop, done) in queue {
                    errand.run(&stop);
                    done.send(()).expect("somebody waits for it");
                }
            });
            Mutex::new(jobs)
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, done) = channel();
        let job = (errand, Arc::clone(&stop), sender);
        SECOND.lock().expect("no panic is survived").send(job).expect("the thread is there");
        Self { stop, done }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.done.recv().expect("the thread comes to its end");
    }
}

impl Errand {
    fn run(self, stop: &AtomicBool) {
        match self {
            Self::Scribble(file, writes) => {
                for _ in 0..ROUNDS {
                    scribble(&file, &writes);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
            Self::Acquire(semaphore, count, patience) => {
                drop(semaphore.acquire_many_timeout(count.get(), patience));
            }
        }
    }
}
