//! Streams a file from producers to consumers, which are processes, through a ring buffer in shared memory. One
//! is killed half way with SIGKILL, another takes its place, and the copy is the same as the file.
//!
//! ```text
//! cargo run --release --example ring_buffer -- FILE
//! ```
//!
//! # How it works
//!
//! Item `i` is the file's chunk `i`, and lives in slot `i % slots`. Three semaphores guard the ring: `free` and
//! `used` count slots, and `mutex` has one permit: whoever has it may touch the ring.
//!
//! **The indices are the truth.** `produced` and `consumed` in the shared memory, changed only with the mutex, tell
//! exactly which slots are used, and so how many permits `free` and `used` must have. These two only say when it is
//! worth looking.
//!
//! **A turn** takes the mutex and looks at the indices. If there is nothing to do, it lets the mutex go, waits for
//! a permit, gives it straight back and begins again. Else it takes the permit and *forgets* it, so that it does
//! not come back when the process ends; copies the item; counts it in the index; and adds a permit to the other
//! semaphore. A journal in the shared memory says meanwhile which item is being produced or consumed. So nobody
//! keeps a permit of `free` or `used` without the mutex, but those who wait, for a moment.
//!
//! **When a worker dies,** the system gives back the permits that it holds: the mutex, and the other one if it was
//! not yet forgotten. After that moment at most one permit is missing and never one too many, and the journal and
//! the indices tell of which semaphore: of the one it took from if the item is not counted yet, else of the one
//! it was to add to. The next who gets the mutex finds the journal open, sees whether that semaphore has what the
//! indices say, and adds the missing one ([`worker`]). The item is then done again, or is done already.
//!
//! Where the system does not give back what the dead held (Windows), nobody is killed: it could not be known for sure whether
//! the mutex is lost.
//!
//! The parent ([`supervisor`]) replaces who dies; so there is always somebody to repair. In the end it looks
//! whether all permits are exactly where they belong.

mod arguments;
mod breakpoint;
mod ring;
mod semaphores;
mod shared_memory;
mod supervisor;
mod worker;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use arguments::Arguments;
use ring::{Counter, Geometry, Ring};
use semaphores::Semaphores;
use sha1::{Digest, Sha1};
use supervisor::Supervisor;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The files in the scratch directory: the shared memory, and what the consumers write.
const RING_FILE: &str = "ring";
const WRITTEN_FILE: &str = "written";
/// What every type of semaphore can count.
const MAX_SLOTS: u32 = 32_767;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let (who, outcome) = match &arguments[..] {
        [first, role, rest @ ..] if first == "worker" && !rest.is_empty() => {
            (format!("{} (process {})", role.display(), process::id()), run_worker(role, rest))
        }
        _ => ("ring_buffer".to_owned(), run_parent(arguments)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{who}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// This program was started by itself, as a worker.
fn run_worker(role: &OsString, rest: &[OsString]) -> Outcome<()> {
    let (Some(role), [scratch, prefix, input]) = (role.to_str(), rest) else {
        return Err("a worker is started by the program itself".into());
    };
    let prefix = prefix.to_str().ok_or("the prefix is not text")?;
    worker::run(role.parse()?, Path::new(scratch), prefix, Path::new(input))
}

fn run_parent(arguments: Vec<OsString>) -> Outcome<()> {
    let arguments = Arguments::parse(arguments)?;
    let file = &arguments.file;
    let size = size_of_file(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let geometry = Geometry { slots: arguments.slots.into(), chunk: arguments.chunk(size), size };
    // What is made here goes away in the opposite order, also after an error: workers, semaphores, files.
    let scratch = tempfile::tempdir()?;
    File::create_new(scratch.path().join(WRITTEN_FILE))?;
    let ring = Ring::create(&scratch.path().join(RING_FILE), geometry)?;
    let prefix = format!("ring-buffer-{}", process::id());
    let semaphores = Semaphores::create(&prefix, arguments.slots)?;
    let returns_on_death = semaphores.mutex.capabilities().returns_on_death;
    let plan = arguments.plan(geometry.items(), returns_on_death)?;
    introduce(file, geometry, returns_on_death, plan.is_empty());
    let mut supervisor = Supervisor::new(&ring, &semaphores, &plan, |role| {
        supervisor::start_worker(role, scratch.path(), &prefix, file)
    });

    let begin = Instant::now();
    supervisor.run(arguments.producers, arguments.consumers)?;
    let duration = begin.elapsed();

    report_repairs(&ring, supervisor.deaths);
    check_books(&ring, &semaphores)?;
    drop(supervisor);
    drop(semaphores);
    check_removed(&prefix)?;
    check_copy(file, &scratch.path().join(WRITTEN_FILE))?;
    report_rate(geometry, duration, ring.repairs().jobs);
    // Windows removes no file that is mapped
    drop(ring);
    scratch.close()?;
    Ok(())
}

fn size_of_file(path: &Path) -> Outcome<u64> {
    let data = File::open(path)?.metadata()?;
    if !data.is_file() {
        return Err("it is not a regular file".into());
    }
    Ok(data.len())
}

fn introduce(file: &Path, geometry: Geometry, returns_on_death: bool, nobody_dies: bool) {
    let Geometry { slots, chunk, size } = geometry;
    println!(
        "{} has {size} bytes ({:.1} MiB): {} items of up to {chunk} bytes, to go through {slots} slots.",
        file.display(),
        mebibytes(size),
        geometry.items(),
    );
    if !returns_on_death {
        println!(
            "Nobody is to be killed: what the dead held would stay lost with this platform's semaphores."
        );
    } else if size == 0 {
        println!("There is no item at which to kill a worker.");
    } else if nobody_dies {
        println!("Nobody is to be killed.");
    }
}

fn report_repairs(ring: &Ring, deaths: u32) {
    let repairs = ring.repairs();
    println!(
        "Workers killed: {deaths}. Turns they left unfinished, which others repaired: {}.\n\
         Permits missing and put back: {} of free, {} of used. Permits too many and taken out: {}.",
        repairs.jobs, repairs.restored_free, repairs.restored_used, repairs.surplus,
    );
}

/// Nobody works any more, so all permits must be where they belong, to the last one.
fn check_books(ring: &Ring, semaphores: &Semaphores) -> Outcome<()> {
    if let Some(job) = ring.journal() {
        return Err(format!("all workers are gone, but the journal says: {job}").into());
    }
    let free = semaphores::count(semaphores.of(Counter::Free))?;
    let used = semaphores::count(semaphores.of(Counter::Used))?;
    let mutex = semaphores::count(&semaphores.mutex)?;
    let (free_due, used_due) = (ring.permits_due(Counter::Free), ring.permits_due(Counter::Used));
    if (u64::from(free), u64::from(used), mutex) != (free_due, used_due, 1) {
        return Err(format!(
            "the permits do not add up: free has {free} of {free_due}, used has {used} of {used_due}, mutex has \
             {mutex} of 1"
        )
        .into());
    }
    println!("All permits are where they belong: free has {free}, used has {used}, mutex has {mutex}.");
    Ok(())
}

/// The semaphores went with their last handle.
fn check_removed(prefix: &str) -> Outcome<()> {
    let left = semaphores::left_in_system(prefix);
    if left.is_empty() {
        println!("The semaphores are removed from the system.");
        Ok(())
    } else {
        Err(format!("semaphores are left in the system: {}", left.join(", ")).into())
    }
}

fn check_copy(file: &Path, copy: &Path) -> Outcome<()> {
    let (expected, actual) = (checksum(file)?, checksum(copy)?);
    println!("SHA-1 of the file: {expected}\nSHA-1 of the copy: {actual}");
    if expected == actual {
        return Ok(());
    }
    let size = fs::metadata(copy)?.len();
    Err(format!("the copy, {size} bytes, is not the same as the file (if nobody changed that meanwhile)")
        .into())
}

fn checksum(path: &Path) -> Outcome<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    let mut hash = Sha1::new();
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn report_rate(geometry: Geometry, duration: Duration, repairs: u64) {
    let (items, seconds) = (geometry.items(), duration.as_secs_f64());
    println!(
        "The copy is the same as the file. {items} items in {seconds:.2} s: {:.1} MiB/s, {:.0} items/s.",
        mebibytes(geometry.size) / seconds,
        items as f64 / seconds,
    );
    if repairs > 0 {
        let patience = worker::REPAIR_PATIENCE.as_secs_f64();
        println!(
            "(In that time is the wait of each repair, {patience} s at most, until a permit must be lost.)"
        );
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
