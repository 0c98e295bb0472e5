//! What a stranger writes into the file of a semaphore: anything anywhere, but mostly where it matters.

use std::fs::File;
use std::os::unix::fs::FileExt;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use test_support::format::{NAME_AT, StateWord, header, slot, slot_at};

use crate::choice;

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
        Persistent = header::PERSISTENT as isize,
        Epoch = header::EPOCH as isize,
        HasMultiWaiters = header::HAS_MULTI_WAITERS as isize,
        RegistryOwnerPid = header::REGISTRY_OWNER_PID as isize,
        Recoveries = header::RECOVERIES as isize,
        LastFullScan = header::LAST_FULL_SCAN as isize,
        FairUntil = header::FAIR_UNTIL as isize,
        State = header::STATE as isize,
        MaxPermits = header::MAX_PERMITS as isize,
        MaxPermitsOfOddEpochs = header::MAX_PERMITS as isize + 4,
        Initial = header::INITIAL as isize,
        InitialOfOddEpochs = header::INITIAL as isize + 4,
    }
}

choice! {
    #[derive(Copy)]
    enum Part {
        Committed = slot::COMMITTED as isize,
        Pending = slot::PENDING as isize,
        Helped = slot::HELPED as isize,
        Epoch = slot::EPOCH as isize,
        Pid = slot::PID as isize,
        PidNamespace = slot::PID_NAMESPACE as isize,
        StartTime = slot::START_TIME as isize,
        WaitingThreads = slot::WAITING_THREADS as isize,
        Since = slot::SINCE as isize,
        Recoverer = slot::RECOVERER as isize,
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
            Self::Used(word) => header::USED + u64::from(word % 64) * 8,
            Self::Slot { slot, part } => slot_at(slot.number()) + part as u64,
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
                let (waiters, count) = (low >> 31 != 0, low & !(1 << 31));
                StateWord { slot, seq, waiters, count }.encode().to_ne_bytes().into()
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
