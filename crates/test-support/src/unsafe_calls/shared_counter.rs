//! A counter in a file that several processes have mapped.

use std::fs::OpenOptions;
use std::sync::atomic::AtomicU32;

use memmap2::MmapRaw;

/// The counter at the front of this file, which must be at least four bytes long.
pub(crate) fn counter(path: &str) -> &'static AtomicU32 {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the file can be opened");
    let map = Box::leak(Box::new(MmapRaw::map_raw(&file).expect("the file can be mapped")));
    assert!(map.len() >= size_of::<AtomicU32>(), "the file is too short");
    // SAFETY: mapped for ever, page-aligned, long enough, and only ever used as this atomic
    unsafe { AtomicU32::from_ptr(map.as_mut_ptr().cast()) }
}
