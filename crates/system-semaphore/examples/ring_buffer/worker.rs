//! A producer or consumer: turns at the ring, and the repair of what a dead worker left.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use system_semaphore::{ErrorKind, Permit};

use crate::breakpoint::{self, Breakpoint, Step};
use crate::ring::{Job, Ring, Role};
use crate::semaphores::Semaphores;
use crate::{Outcome, RING_FILE, WRITTEN_FILE};

/// How long a repair waits for permits that others have in hand for a moment, or that the system is about to give
/// back for a dead process. Whatever is not there then is lost.
pub(crate) const REPAIR_PATIENCE: Duration = Duration::from_millis(500);
/// How long a worker waits for a permit that must be there. If it does not come, the protocol has a hole.
const PERMIT_PATIENCE: Duration = Duration::from_secs(10);

/// Works until nothing is left to do. `scratch` is the directory of the ring, `prefix` begins the names of the
/// semaphores.
pub(crate) fn run(role: Role, scratch: &Path, prefix: &str, input: &Path) -> Outcome<()> {
    leave_with_parent();
    let worker = Worker {
        role,
        ring: Ring::open(&scratch.join(RING_FILE))?,
        semaphores: Semaphores::open(prefix)?,
        input: File::open(input)?,
        written: OpenOptions::new().write(true).open(scratch.join(WRITTEN_FILE))?,
    };
    while worker.step()? == Progress::More {}
    Ok(())
}

/// Ends this process when the parent is gone. Standard input is a pipe from it, into which it writes nothing, so
/// a read returns when the pipe breaks.
fn leave_with_parent() {
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        process::exit(1);
    });
}

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    Finished,
}

struct Worker {
    role: Role,
    ring: Ring,
    semaphores: Semaphores,
    input: File,
    written: File,
}

impl Worker {
    /// Takes the mutex and does one item, or finds that there is none and waits for one.
    fn step(&self) -> Outcome<Progress> {
        let mutex = self.semaphores.mutex.acquire()?;
        if let Some(job) = self.ring.journal() {
            self.repair(job)?;
        }
        if self.ring.is_finished(self.role) {
            return Ok(Progress::Finished);
        }
        if let Some(job) = self.ring.next_job(self.role) {
            self.work(job, &mutex)?;
        } else {
            self.forget_surplus()?;
            drop(mutex);
            self.wait()?;
        }
        Ok(Progress::More)
    }

    /// One item, with the mutex. Until `forget` a death changes nothing: the system gives mutex and permit back.
    /// After it, what is missing is told by the journal and the indices.
    fn work(&self, job: Job, mutex: &Permit<'_>) -> Outcome<()> {
        let permit = self.permit_that_must_be_there(job)?;
        self.passing(Step::BeforeJournal, job);
        self.ring.open_journal(job);
        self.passing(Step::AfterJournal, job);
        permit.forget()?;
        self.passing(Step::AfterForget, job);
        match job.role {
            Role::Producer => self.produce(job, mutex)?,
            Role::Consumer => self.consume(job, mutex)?,
        }
        self.ring.commit(job);
        self.passing(Step::AfterCommit, job);
        self.semaphores.of(job.role.gives()).add_permits(1)?;
        self.passing(Step::AfterAdd, job);
        self.ring.close_journal();
        self.passing(Step::AfterClean, job);
        Ok(())
    }

    /// The indices say that there is one. If it is not there this moment, then somebody who waited has it in hand,
    /// or a process that is just dying; neither needs the mutex to give it back. So it is safe to wait here, with
    /// the mutex, and the wait is what makes sure that two who wait cannot hand the last permit to and fro for ever.
    fn permit_that_must_be_there(&self, job: Job) -> Outcome<Permit<'_>> {
        self.semaphores
            .of(job.role.takes())
            .acquire_timeout(PERMIT_PATIENCE)
            .map_err(|error| format!("a permit for {job} must be there, but: {error}").into())
    }

    /// Waits, without the mutex, until there may be something to do. The permit goes straight back: it is taken
    /// again with the mutex, so that at any time a permit is missing only for a moment, but for a death.
    fn wait(&self) -> Outcome<()> {
        drop(self.semaphores.of(self.role.takes()).acquire()?);
        Ok(())
    }

    /// The indices say that there is nothing to do, so a permit that says otherwise is one too many. That happens
    /// only after a repair that took a very slow process for a dead one.
    fn forget_surplus(&self) -> Outcome<()> {
        match self.semaphores.of(self.role.takes()).try_acquire() {
            Ok(surplus) => {
                surplus.forget()?;
                self.ring.count_surplus();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NoPermits => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts back the permit that is missing, if one is, after a worker died in the middle of this job. Who dies
    /// in here leaves the journal as it was, and the next one begins again.
    fn repair(&self, job: Job) -> Outcome<()> {
        let suspect = self.ring.suspect(job);
        let semaphore = self.semaphores.of(suspect);
        let due = u32::try_from(self.ring.permits_due(suspect))?;
        match semaphore.acquire_many_timeout(due, REPAIR_PATIENCE) {
            Ok(all) => drop(all),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                self.passing(Step::RepairBeforeAdd, job);
                semaphore.add_permits(1)?;
                self.ring.count_restored(suspect);
                self.passing(Step::RepairAfterAdd, job);
            }
            Err(error) => return Err(error.into()),
        }
        self.ring.close_journal();
        self.ring.count_repair();
        Ok(())
    }

    /// Copies an item from the file into its slot.
    fn produce(&self, job: Job, mutex: &Permit<'_>) -> Outcome<()> {
        let mut data = vec![0; self.ring.geometry.length(job.item)];
        let mut input = &self.input;
        input
            .seek(SeekFrom::Start(self.ring.geometry.offset(job.item)))
            .and_then(|_| input.read_exact(&mut data))
            .map_err(|error| format!("cannot read item {} of the file: {error}", job.item))?;
        self.ring.fill_slot(job.item, &data, mutex, || self.passing(Step::MiddleOfCopy, job));
        Ok(())
    }

    /// Writes an item from its slot to its place in the file. Doing it twice does no harm.
    fn consume(&self, job: Job, mutex: &Permit<'_>) -> Outcome<()> {
        let data = self.ring.read_slot(job.item, mutex);
        let (first, second) = data.split_at(data.len() / 2);
        let mut written = &self.written;
        written.seek(SeekFrom::Start(self.ring.geometry.offset(job.item)))?;
        written.write_all(first)?;
        self.passing(Step::MiddleOfCopy, job);
        written.write_all(second)?;
        Ok(())
    }

    fn passing(&self, step: Step, job: Job) {
        breakpoint::passing(&self.ring, Breakpoint { job, step });
    }
}
