//! Parking: a seat in a shared table for each parked thread, and a POSIX semaphore for each seat.
//!
//! One semaphore for a whole queue would lose wake-ups: a thread that was woken, found too few
//! permits and parks again could take the wake-up of a thread that needs fewer. So the seat says
//! whether its thread was woken, and the semaphore only ends the thread's sleep. A surplus post
//! makes the thread check its seat once more. Each unpark posts at most once for each parked
//! thread.
//!
//! A seat names the lock of its process. A seat whose process no longer has the lock is free, so a
//! dead thread takes no wake-up from a living one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode};
use rustix::io::{pread, retry_on_intr};
use rustix::time::Timespec;

use super::super::api::{ObjectId, Queue, Unparked};
use super::locks::{Locks, Owner, SideFiles};
use super::side_file::{NotCreated, SideFile};
use crate::backend::robust::error::EngineError;
use crate::sys::atomic::{AtomicU64, fence};
use crate::sys::clock::monotonic;
use crate::sys::posix;
use crate::sys::shared_memory::Mapping;

/// The number of threads that can be parked on one object. Further threads poll.
const SEATS: usize = 1024;
/// How long a thread sleeps until it checks its seat: 100 ms.
///
/// The check finds a wake-up whose sender died before it could post.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a thread sleeps until it checks its seat, if the sender may not be allowed to post: 10 ms.
///
/// The permissions of a semaphore depend on the umask, so a process of another user may not be able
/// to open it.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The number of attempts to open the table while other processes delete it.
const ATTEMPTS: u32 = 100;

/// The seats of parked threads.
struct Table {
    /// First the state of each seat; see [`Seat`]. Then when each seat was taken last, in
    /// nanoseconds, or 0 if no thread ever took it.
    memory: Mapping<[AtomicU64; SEATS], [AtomicU64; SEATS]>,
}

const SIZE: usize = 2 * SEATS * size_of::<AtomicU64>();

/// The state of a seat that a thread has taken: two bits for the queue, one bit that tells whether
/// the thread was woken, a number of 13 bits that tells later threads apart, the number and the
/// token of its process's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seat(u64);

const FREE: u64 = 0;
const WOKEN: u64 = 4;

impl Seat {
    fn new(queue: Queue, owner: Owner, time: u64) -> Self {
        let tag = (time >> 10) & 0x1fff;
        Self(queue_bits(queue) | tag << 3 | u64::from(owner.lock) << 16 | u64::from(owner.token) << 32)
    }

    fn is_parked_in(self, queue: Queue) -> bool {
        self.0 & 7 == queue_bits(queue)
    }

    fn owner(self) -> Owner {
        Owner { lock: (self.0 >> 16) as u16, token: (self.0 >> 32) as u32 }
    }

    fn woken(self) -> Self {
        Self(self.0 | WOKEN)
    }
}

fn queue_bits(queue: Queue) -> u64 {
    match queue {
        Queue::Single => 1,
        Queue::Multi => 2,
    }
}

impl Table {
    fn states(&self) -> &[AtomicU64; SEATS] {
        &self.memory
    }

    fn times(&self) -> &[AtomicU64; SEATS] {
        self.memory.rest()
    }

    /// Takes a free seat. Returns its index and its state.
    fn take_seat(&self, side_files: &SideFiles, queue: Queue, owner: Owner) -> Option<(usize, Seat)> {
        let time = nanoseconds();
        let seat = Seat::new(queue, owner, time);
        let take = |index: usize| {
            let state = &self.states()[index];
            let is_free = state.load(Ordering::Relaxed) == FREE;
            if is_free && state.compare_exchange(FREE, seat.0, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                self.times()[index].store(time, Ordering::Relaxed);
                return Some((index, seat));
            }
            None
        };
        (0..SEATS).find_map(take).or_else(|| {
            (0..SEATS).for_each(|index| self.free_if_dead(side_files, index));
            (0..SEATS).find_map(take)
        })
    }

    fn free_if_dead(&self, side_files: &SideFiles, index: usize) {
        let state = self.states()[index].load(Ordering::Relaxed);
        if state != FREE && !side_files.is_alive(Seat(state).owner()) {
            // If it fails, another thread has freed the seat.
            let _ = self.states()[index].compare_exchange(state, FREE, Ordering::SeqCst, Ordering::Relaxed);
        }
    }

    /// Gives a seat up. Returns whether its thread was woken, or whether that cannot be told,
    /// because another process has freed the seat.
    fn leave_seat(&self, index: usize, seat: Seat) -> bool {
        let state = &self.states()[index];
        if state.compare_exchange(seat.0, FREE, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            return false;
        }
        let _ = state.compare_exchange(seat.woken().0, FREE, Ordering::SeqCst, Ordering::Relaxed);
        true
    }
}

/// The table of an object that this process has open, once a thread has needed it.
#[derive(Default)]
pub(super) struct Attachment(Mutex<Option<Arc<Table>>>);

impl Attachment {
    /// Ends the use of the table. No thread of this process is parked on the object.
    pub(super) fn detach(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Opens the table of an object, or creates it with these permissions. Returns `None` if it does
    /// not exist and is not to be created, or if the object's directory is gone.
    fn attach(
        &self,
        side_files: &SideFiles,
        create: Option<Mode>,
    ) -> Result<Option<Arc<Table>>, EngineError> {
        let mut attached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = &*attached {
            return Ok(Some(Arc::clone(table)));
        }
        let path = side_files.names.parking(side_files.id());
        for _ in 0..ATTEMPTS {
            let memory = match (SideFile::open_mapped(&path)?, create) {
                (Some((file, memory)), _) => (file.try_lock_shared()? && file.has_name()).then_some(memory),
                (None, None) => return Ok(None),
                (None, Some(mode)) => {
                    let lock = FlockOperation::NonBlockingLockShared;
                    match SideFile::create(&side_files.names, side_files.id(), &path, mode, SIZE, lock) {
                        Ok((_, memory)) => Some(memory),
                        Err(NotCreated::Again) => None,
                        Err(NotCreated::NoDirectory) => return Ok(None),
                        Err(NotCreated::Failed(errno)) => return Err(errno.into()),
                    }
                }
            };
            // The mapping keeps the shared lock.
            if let Some(memory) = memory {
                return Ok(Some(Arc::clone(attached.insert(Arc::new(Table { memory })))));
            }
            thread::yield_now();
        }
        Ok(None)
    }

    /// See [`Parking::park`](super::super::api::Parking::park).
    pub(super) fn park(
        &self,
        side_files: &SideFiles,
        locks: &Locks,
        word: &AtomicU64,
        expected: u32,
        queue: Queue,
        limit: Duration,
    ) -> Result<Unparked, EngineError> {
        let until = Instant::now() + limit;
        let mode = locks.mode()?;
        let is_changed = || word.load(Ordering::SeqCst) as u32 != expected;
        let table = self.attach(side_files, Some(mode))?;
        let seat = table.as_ref().zip(side_files.first_owner()).and_then(|(table, owner)| {
            let (index, seat) = table.take_seat(side_files, queue, owner)?;
            Some((table, index, seat))
        });
        let Some((table, index, seat)) = seat else {
            thread::sleep(limit.min(POLL_INTERVAL));
            return Ok(if is_changed() { Unparked::Changed } else { Unparked::Ended });
        };
        let wait = || {
            let semaphore = match open_semaphore(side_files.id(), index, mode) {
                Ok(semaphore) => Some(semaphore),
                // Another user has created it with a narrow umask.
                Err(error) if error.raw_os_error() == Some(libc::EACCES) => None,
                Err(error) => return Err(error.into()),
            };
            let interval = if semaphore.is_none() || locks.is_for_other_users()? {
                POLL_INTERVAL
            } else {
                CHECK_INTERVAL
            };
            // An unpark changes the seat after the word has changed. Here the word is loaded after the
            // seat was taken.
            fence(Ordering::SeqCst);
            if is_changed() {
                return Ok(Unparked::Changed);
            }
            while table.states()[index].load(Ordering::SeqCst) == seat.0 {
                let now = Instant::now();
                if now >= until {
                    return Ok(Unparked::Ended);
                }
                let check_at = until.min(now + interval);
                let Some(semaphore) = &semaphore else {
                    thread::sleep(check_at - now);
                    continue;
                };
                match semaphore.wait(Some(check_at)) {
                    Ok(()) => {}
                    Err(error) if error.raw_os_error() == Some(libc::ETIMEDOUT) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Unparked::Ended),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(Unparked::Woken)
        };
        let outcome = wait();
        if table.leave_seat(index, seat) { Ok(Unparked::Woken) } else { outcome }
    }

    /// See [`Parking::unpark`](super::super::api::Parking::unpark).
    pub(super) fn unpark(&self, side_files: &SideFiles, queue: Queue, count: u32) {
        fence(Ordering::SeqCst);
        // A thread that is about to create the table checks the word after that.
        let Ok(Some(table)) = self.attach(side_files, None) else { return };
        // The thread that has been parked for longest comes first.
        let mut parked = BinaryHeap::new();
        for (index, state) in table.states().iter().enumerate() {
            let seat = Seat(state.load(Ordering::SeqCst));
            if seat.is_parked_in(queue) {
                parked.push(Reverse((table.times()[index].load(Ordering::Relaxed), index, seat.0)));
            }
        }
        let mut left = count;
        while left > 0
            && let Some(Reverse((_, index, state))) = parked.pop()
        {
            let (seat, state_now) = (Seat(state), &table.states()[index]);
            if !side_files.is_alive(seat.owner()) {
                table.free_if_dead(side_files, index);
                continue;
            }
            if state_now.compare_exchange(seat.0, seat.woken().0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
            {
                left -= 1;
                // The thread checks its seat after it has opened the semaphore, and then at intervals.
                if let Ok(semaphore) = posix::open_existing(&semaphore_name(side_files.id(), index)) {
                    let _ = semaphore.post();
                }
            }
        }
    }
}

/// Opens the semaphore of a seat, and creates it if need be. Only the seat's thread does that.
fn open_semaphore(object: ObjectId, index: usize, mode: Mode) -> io::Result<posix::Handle> {
    let name = semaphore_name(object, index);
    loop {
        match posix::open_existing(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
        match posix::create_new(&name, mode.as_raw_mode(), 0) {
            // The thread that had the seat before was late.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => return outcome,
        }
    }
}

/// Returns the name of a seat's semaphore. macOS allows 30 characters.
fn semaphore_name(ObjectId(object): ObjectId, index: usize) -> CString {
    let object = object as u64 ^ ((object >> 64) as u64).rotate_left(40);
    CString::new(format!("/sysem-{object:x}-{index}")).expect("it has no NUL")
}

/// Removes the semaphores of a table that is about to be deleted.
pub(super) fn remove_semaphores(table: BorrowedFd<'_>, object: ObjectId) {
    let mut times = [0; SIZE / 2];
    let read = retry_on_intr(|| pread(table, &mut times, SIZE as u64 / 2)).unwrap_or(0);
    for (index, time) in times[..read].chunks_exact(size_of::<u64>()).enumerate() {
        if time != [0; size_of::<u64>()] {
            let _ = posix::unlink(&semaphore_name(object, index));
        }
    }
}

fn nanoseconds() -> u64 {
    let Timespec { tv_sec, tv_nsec } = monotonic();
    tv_sec as u64 * 1_000_000_000 + tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    use rustix::fs::fstat;

    use super::super::super::api::{LivenessLocks, Location, Object};
    use super::super::side_file::{file_id, remove_unlocked};
    use super::*;
    use crate::sys::private_fd::{PrivateFd, retry_if_forked};

    /// A file in a directory of its own.
    #[derive(Clone, Debug)]
    struct TestLocation(PathBuf);

    impl Location for TestLocation {
        fn open(&self) -> io::Result<Object> {
            Ok(OwnedFd::from(File::options().read(true).write(true).open(&self.0)?))
        }

        fn full_path(&self) -> PathBuf {
            self.0.clone()
        }

        fn remove_directory_if_empty(&self) {}
    }

    struct TestObject {
        parking: Attachment,
        side_files: Arc<SideFiles>,
        locks: Locks,
        location: TestLocation,
        directory: tempfile::TempDir,
    }

    impl TestObject {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let location = TestLocation(directory.path().join("object"));
            File::create_new(&location.0).expect("it can be made");
            let file = retry_if_forked(|| PrivateFd::new(location.open()?)).expect("it is there");
            let data = fstat(&file).expect("it is open");
            let side_files =
                Arc::new(SideFiles::new(Arc::new(location.clone()), file_id(data.st_dev, data.st_ino)));
            let locks = Locks::new(file, Arc::clone(&side_files));
            assert!(locks.try_lock(7).expect("there is room"));
            Self { parking: Attachment::default(), side_files, locks, location, directory }
        }

        fn table(&self) -> Arc<Table> {
            let table = self.parking.attach(&self.side_files, Some(Mode::RUSR | Mode::WUSR));
            table.expect("there is room").expect("its directory is there")
        }

        fn take_seat(&self, queue: Queue, owner: Owner) -> usize {
            self.table().take_seat(&self.side_files, queue, owner).expect("one is free").0
        }

        fn owner(&self) -> Owner {
            self.side_files.first_owner().expect("it has a lock")
        }

        fn is_woken(&self, index: usize) -> bool {
            self.table().states()[index].load(Ordering::SeqCst) & WOKEN != 0
        }

        /// Deletes the side files.
        fn end(self) {
            self.locks.unlock(7).expect("that cannot fail");
            self.parking.detach();
            remove_unlocked(&self.location, remove_semaphores);
            let left = fs::read_dir(self.directory.path()).expect("it is there").flatten();
            assert_eq!(left.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["object"]);
        }
    }

    #[test]
    fn unpark_wakes_those_that_parked_first() {
        let object = TestObject::new();
        let [first, other, second, third] = [Queue::Single, Queue::Multi, Queue::Single, Queue::Single]
            .map(|queue| object.take_seat(queue, object.owner()));
        object.parking.unpark(&object.side_files, Queue::Single, 2);
        assert_eq!(
            [first, second, third, other].map(|seat| object.is_woken(seat)),
            [true, true, false, false]
        );
        object.parking.unpark(&object.side_files, Queue::Single, 1);
        assert!(object.is_woken(third) && !object.is_woken(other));
        object.parking.unpark(&object.side_files, Queue::Multi, u32::MAX);
        assert!(object.is_woken(other));
        object.end();
    }

    #[test]
    fn unpark_posts_once_for_each_parked_thread() {
        let object = TestObject::new();
        let seat = object.take_seat(Queue::Multi, object.owner());
        let mode = object.locks.mode().expect("it is open");
        let semaphore = open_semaphore(object.side_files.id(), seat, mode).expect("there is room");
        for _ in 0..3 {
            object.parking.unpark(&object.side_files, Queue::Multi, u32::MAX);
        }
        assert_eq!(semaphore.value().expect("it has one"), 1);
        let name = semaphore_name(object.side_files.id(), seat);
        object.end();
        let error = posix::open_existing(&name).expect_err("it went with the table");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn dead_thread_takes_no_wake_up() {
        let object = TestObject::new();
        let owner = object.owner();
        // A predecessor with the same lock, and a process whose lock is free.
        let dead = [Owner { token: !owner.token, ..owner }, Owner { lock: 8, ..owner }]
            .map(|owner| object.take_seat(Queue::Single, owner));
        let living = object.take_seat(Queue::Single, owner);
        object.parking.unpark(&object.side_files, Queue::Single, 1);
        assert!(object.is_woken(living));
        let states = dead.map(|seat| object.table().states()[seat].load(Ordering::SeqCst));
        assert_eq!(states, [FREE, FREE]);
        object.end();
    }

    #[test]
    fn seats_of_dead_threads_are_used_again() {
        let object = TestObject::new();
        let dead = Owner { lock: 8, token: 0 };
        for seat in 0..SEATS {
            assert_eq!(object.take_seat(Queue::Single, dead), seat);
        }
        object.take_seat(Queue::Single, object.owner());
        object.end();
    }

    #[test]
    fn unpark_ends_the_sleep() {
        // A busy machine may be slow, but not each time.
        let is_prompt = |_| {
            let (object, word) = (TestObject::new(), AtomicU64::new(1));
            let long = Duration::from_secs(60);
            let time = thread::scope(|scope| {
                let parked = scope.spawn(|| {
                    let outcome =
                        object.parking.park(&object.side_files, &object.locks, &word, 1, Queue::Single, long);
                    (outcome, Instant::now())
                });
                // It has slept for long enough to sleep again when its check interval begins.
                thread::sleep(CHECK_INTERVAL + CHECK_INTERVAL / 10);
                word.store(2, Ordering::SeqCst);
                let begin = Instant::now();
                object.parking.unpark(&object.side_files, Queue::Single, 1);
                let (outcome, end) = parked.join().expect("it does not panic");
                assert_eq!(outcome.expect("there is room"), Unparked::Woken);
                end - begin
            });
            object.end();
            time < CHECK_INTERVAL / 3
        };
        assert!((0..20).any(is_prompt));
    }

    #[test]
    fn thread_does_not_park_on_another_value() {
        let (object, word) = (TestObject::new(), AtomicU64::new(2));
        let outcome = object.parking.park(
            &object.side_files,
            &object.locks,
            &word,
            1,
            Queue::Single,
            Duration::from_secs(60),
        );
        assert_eq!(outcome.expect("there is room"), Unparked::Changed);
        assert_eq!(object.table().states()[0].load(Ordering::SeqCst), FREE);
        object.end();
    }
}
