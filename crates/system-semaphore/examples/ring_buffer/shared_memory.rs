//! A file mapped into the memory of several processes. The only `unsafe` code of this example is here.

#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::ptr;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use system_semaphore::Permit;

/// How many words stand at the beginning, before the plain bytes.
pub(crate) const WORDS: usize = 64;
const BYTES_BEGIN: usize = WORDS * size_of::<AtomicU64>();

pub(crate) struct SharedMemory {
    map: MmapRaw,
}

impl SharedMemory {
    /// New memory, all zero, with room for this many plain bytes; an error if that is more than can be mapped.
    pub(crate) fn create(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(BYTES_BEGIN as u64 + bytes)?;
        Ok(Self { map: MmapOptions::new().map_raw(&file)? })
    }

    /// The memory that another process created.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let map = MmapOptions::new().map_raw(&file)?;
        assert!(map.len() >= BYTES_BEGIN, "{} is not what `create` made", path.display());
        Ok(Self { map })
    }

    /// One of the words. They are atomic, so every process may use them at any time.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS);
        let word = self.map.as_mut_ptr().cast::<u64>().wrapping_add(index);
        // SAFETY: inside the mapping, which is page aligned and lives as long as `self`, and no process uses this
        // part of it but through this method
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Copies plain bytes in. `_mutex` shows that the caller has the mutex: nobody else is at the bytes.
    pub(crate) fn copy_in(&self, offset: usize, source: &[u8], _mutex: &Permit<'_>) {
        let target = self.bytes(offset, source.len());
        // SAFETY: `bytes` checked the range; the caller has the mutex, so no process reads or writes it now
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), target, source.len()) }
    }

    /// Copies plain bytes out. `_mutex` shows that the caller has the mutex: nobody else is at the bytes.
    pub(crate) fn copy_out(&self, offset: usize, target: &mut [u8], _mutex: &Permit<'_>) {
        let source = self.bytes(offset, target.len());
        // SAFETY: `bytes` checked the range; the caller has the mutex, so no process writes it now
        unsafe { ptr::copy_nonoverlapping(source, target.as_mut_ptr(), target.len()) }
    }

    /// Where `count` plain bytes from `offset` on are.
    fn bytes(&self, offset: usize, count: usize) -> *mut u8 {
        let room = self.map.len() - BYTES_BEGIN;
        assert!(offset <= room && count <= room - offset, "outside the shared memory");
        self.map.as_mut_ptr().wrapping_add(BYTES_BEGIN + offset)
    }
}
