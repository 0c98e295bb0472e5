//! Where the first pages of many mapped files lie.
//!
//! The first page of each file after the first [`SPLIT_THRESHOLD`] is mapped beside those of the
//! others, so that eight of them share one cache line of page-table entries.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fork::{self, PerProcess};

/// Number of files that are mapped in one part. Their page-table entries are few enough to stay in
/// the cache.
pub(super) const SPLIT_THRESHOLD: usize = 256;
/// Distance in bytes from the other mappings down to the first pages of split files. It grows if
/// the addresses there are taken.
const PLACEMENT_DISTANCE: u64 = 1 << 34;
/// Maximum number of times that the distance is doubled.
const MAX_DISTANCE_DOUBLINGS: u32 = 10;
/// Number of bytes that one page of the page table maps.
pub(super) const PAGE_TABLE_SPAN: usize = 1 << 21;

/// The addresses of the first pages of split files.
static PLACEMENTS: PerProcess<Mutex<Placements>> = PerProcess::new();

#[derive(Default)]
struct Placements {
    /// Number of mapped files.
    files: usize,
    /// Address of the next first page.
    next: Option<usize>,
    /// Number of times that all addresses from `next` on were taken.
    misses: u32,
    /// Addresses of first pages that were unmapped.
    free: Vec<usize>,
}

impl Placements {
    /// Returns an address beside those of other first pages, or far below `other` if there is none.
    fn choose_address(&mut self, other: usize) -> Option<usize> {
        self.free.pop().or_else(|| {
            let far =
                || (other as u64).checked_sub(PLACEMENT_DISTANCE << self.misses.min(MAX_DISTANCE_DOUBLINGS));
            let chosen = self.next.or_else(|| Some(far()? as usize & !(PAGE_TABLE_SPAN - 1)))?;
            self.next = Some(chosen + page_size());
            Some(chosen)
        })
    }

    /// Records that another mapping was at this address.
    fn record_miss(&mut self, address: usize) {
        if self.next == Some(address + page_size()) {
            self.next = None;
            self.misses += 1;
        }
    }
}

/// The share of one file in [`Placements`].
pub(super) struct Placement {
    generation: u32,
    address: Option<usize>,
}

impl Placement {
    /// Counts a file. Returns also whether the file must be split.
    pub(super) fn register() -> (Self, bool) {
        let generation = fork::generation();
        let mut placements = placements();
        placements.files += 1;
        // an address space of 32 bits has no room for split files
        let must_split = cfg!(target_pointer_width = "64") && placements.files > SPLIT_THRESHOLD;
        (Self { generation, address: None }, must_split)
    }

    /// Returns an address for the first page, or null if the kernel must choose it.
    pub(super) fn choose_address(&mut self, other: NonNull<c_void>) -> *mut c_void {
        self.address = placements().choose_address(other.addr().get());
        self.address.map_or(ptr::null_mut(), ptr::without_provenance_mut)
    }

    /// Records the address that the first page got.
    pub(super) fn record_address(&mut self, start: NonNull<c_void>) {
        if let Some(missed) = self.address.take_if(|address| *address != start.addr().get()) {
            placements().record_miss(missed);
        }
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            let mut placements = placements();
            placements.files = placements.files.saturating_sub(1);
            placements.free.extend(self.address);
        }
    }
}

fn placements() -> MutexGuard<'static, Placements> {
    PLACEMENTS.get().lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn page_size() -> usize {
    // SAFETY: it takes no pointers
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[cfg(target_pointer_width = "64")]
mod tests {
    use super::*;

    /// Another mapping at these addresses may be large, and at any distance.
    #[test]
    fn where_something_else_is_they_go_elsewhere() {
        let (top, apart, page) = (0x7fff_0000_0000, PLACEMENT_DISTANCE as usize, page_size());
        for taken in [top - 2 * apart..top, top - 100 * apart..top - apart + 10 * page] {
            let mut placements = Placements::default();
            let mut had = Vec::new();
            let mut misses = 0;
            for number in 0..5000 {
                let address = placements.choose_address(top - number * 65 * page).expect("there is room");
                if taken.contains(&address) {
                    misses += 1;
                    placements.record_miss(address);
                } else {
                    had.push(address);
                }
            }
            assert!(misses < 10, "{misses} misses");
            had.sort_unstable();
            assert!(had.is_sorted_by(|one, next| one < next), "no address twice");
            let neighbours = had.windows(2).filter(|pair| pair[1] - pair[0] == page).count();
            assert!(neighbours > had.len() - 5, "{neighbours} of {} are neighbours", had.len());
        }
    }

    #[test]
    fn where_there_is_no_room_the_system_chooses() {
        let mut placements = Placements::default();
        assert_eq!(placements.choose_address(PLACEMENT_DISTANCE as usize - 1), None);
        assert_eq!(placements.choose_address(PLACEMENT_DISTANCE as usize - 1), None);
        assert!(placements.choose_address(2 * PLACEMENT_DISTANCE as usize).is_some());
    }
}
