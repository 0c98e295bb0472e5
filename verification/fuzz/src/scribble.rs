//! What a stranger writes into the file of a semaphore: anything anywhere, but mostly where it matters.

use std::fs::File;
use std::os::unix::fs::FileExt;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use crate::choice;

/// What a stranger knows of the file; compare `algorithm/layout.rs`.
pub const MAGIC: &[u8] = b"SYSSEMA4";
/// The version of the layout.
pub const VERSION: u8 = 2;
/// How many slots there are.
pub const SLOTS: u16 = 4093;
/// The byte that is locked by who opens or closes.
pub const REGISTRY_BYTE: u16 = SLOTS;
/// Where it stands whether it is persistent.
pub const PERSISTENT_AT: u64 = 12;
/// Where the epoch is.
pub const EPOCH_AT: u64 = 16;
/// Where the state is.
pub const STATE_AT: u64 = 64;
/// Where the largest count is, in even epochs, and after it in odd ones.
pub const MAX_PERMITS_AT: u64 = STATE_AT + 8;
/// Where the bits of used slots are.
pub const USED_AT: u64 = 128;
/// Where the slots are.
pub const SLOTS_AT: u64 = USED_AT + 512;
/// How long a slot is.
pub const SLOT_SIZE: u64 = 64;
/// Where a long name is.
pub const NAME_AT: u64 = SLOTS_AT + SLOT_SIZE * SLOTS as u64;
/// What lies in memory or not as a whole.
pub const PAGE: u64 = 4096;

/// One write.
#[derive(Arbitrary, Clone, Debug)]
pub struct Write {
    at: At,
    value: Value,
}

choice! {
    enum At {
        /// What says which file it is.
        Magic(u8),
        Field(Field),
        Used(u8),
        Slot {
            slot: Slot,
            part: Part,
        },
        /// The name, where it is in the file.
        Name(u8),
        Anywhere(u32),
    }
}

choice! {
    #[derive(Copy)]
    enum Field {
        Persistent = PERSISTENT_AT as isize,
        Epoch = EPOCH_AT as isize,
        Several = 20,
        Registrar = 24,
        Recoveries = 32,
        LastPass = 40,
        FairUntil = 48,
        State = STATE_AT as isize,
        MaxPermits = MAX_PERMITS_AT as isize,
        MaxPermitsOfOddEpochs = MAX_PERMITS_AT as isize + 4,
        Initial = MAX_PERMITS_AT as isize + 8,
        InitialOfOddEpochs = MAX_PERMITS_AT as isize + 12,
    }
}

choice! {
    #[derive(Copy)]
    enum Part {
        Committed = 0,
        Pending = 8,
        Helped = 16,
        Epoch = 20,
        Pid = 24,
        PidNamespace = 28,
        StartTime = 32,
        WaitingThreads = 40,
        Since = 48,
        Recoverer = 56,
    }
}

choice! {
    enum Value {
        Byte(u8),
        Few(Count),
        Word(u32),
        Long(u64),
        Record {
            seq: Count,
            amount: Count,
        },
        State {
            slot: Slot,
            seq: Count,
            low: Count,
        },
        /// So many milliseconds from now, on the clock that the file knows.
        Soon(u8),
        /// What stands at another place.
        Copy(At),
        /// The same byte over and over.
        Fill {
            byte: u8,
            length: u16,
        },
    }
}

choice! {
    /// The number of a slot, or what may stand in its place.
    #[derive(Copy)]
    pub enum Slot {
        /// One of those that come first.
        Low(u8),
        /// Up to the largest that 12 bits can say.
        Any(u16),
    }
}

impl Slot {
    /// The number.
    pub fn number(self) -> u16 {
        match self {
            Self::Low(number) => u16::from(number % 4),
            Self::Any(number) => number & 0xFFF,
        }
    }
}

/// A number of permits or of an operation: mostly a small one.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Count(u8);

impl Count {
    /// 1.
    pub const ONE: Self = Self(1);

    /// The number.
    pub fn get(self) -> u32 {
        const MAX: u32 = i32::MAX as u32;
        match self.0 % 12 {
            11 => u32::MAX,
            10 => MAX + 1,
            9 => MAX,
            8 => MAX - 1,
            few => few.into(),
        }
    }
}

impl At {
    fn offset(&self) -> u64 {
        match *self {
            Self::Magic(byte) => u64::from(byte % 12),
            Self::Field(field) => field as u64,
            Self::Used(word) => USED_AT + u64::from(word % 64) * 8,
            Self::Slot { slot, part } => SLOTS_AT + u64::from(slot.number()) * SLOT_SIZE + part as u64,
            Self::Name(byte) => NAME_AT + u64::from(byte),
            Self::Anywhere(at) => at.into(),
        }
    }
}

impl Value {
    fn bytes(&self, file: &File) -> Vec<u8> {
        match self {
            Self::Byte(byte) => vec![*byte],
            Self::Few(number) => number.get().to_ne_bytes().into(),
            Self::Word(word) => word.to_ne_bytes().into(),
            Self::Long(long) => long.to_ne_bytes().into(),
            Self::Record { seq, amount } => {
                let record = u64::from(seq.get()) << 32 | u64::from(amount.get());
                record.to_ne_bytes().into()
            }
            Self::State { slot, seq, low } => {
                let (seq, slot, low) = (seq.get(), slot.number(), low.get());
                let state = u64::from(seq) << 44 | u64::from(slot) << 32 | u64::from(low);
                state.to_ne_bytes().into()
            }
            Self::Soon(later) => {
                let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock");
                let milliseconds = now.num_milliseconds() as u64 + u64::from(*later % 8);
                milliseconds.to_ne_bytes().into()
            }
            Self::Copy(from) => {
                let mut bytes = vec![0; 8];
                let read = file.read_at(&mut bytes, from.offset()).unwrap_or(0);
                bytes.truncate(read);
                bytes
            }
            Self::Fill { byte, length } => vec![*byte; usize::from(*length)],
        }
    }
}

/// Writes all that. The file keeps its length.
pub fn scribble(file: &File, writes: &[Write]) {
    let length = file.metadata().expect("it is open").len();
    for Write { at, value } in writes {
        let at = at.offset() % length.max(1);
        let mut bytes = value.bytes(file);
        bytes.truncate((length - at.min(length)) as usize);
        file.write_all_at(&bytes, at).expect("there is room");
    }
}
