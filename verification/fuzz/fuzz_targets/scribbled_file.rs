//! A semaphore on whose file somebody scribbles while it is used. Whatever that does to it, it does to nothing else, and
//! when nobody uses it any more, it can be made anew.
#![no_main]

use fuzz::choice;
use fuzz::scribble::{Count, Write, scribble};
use fuzz::session::{Errand, Mode, Running, Step, Visit, moment};
use fuzz::test_file::{Place, Spot};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use system_semaphore::{AccessMode, SystemSemaphore};
use test_support::robust_file::{FileSnapshot, assert_works_now};

#[derive(Arbitrary, Debug)]
struct Plan {
    place: Place,
    acts: Vec<Act>,
}

choice! {
    enum Act {
        Step(Step),
        Scribble(Vec<Write>),
        /// A second thread does something, to the next such act.
        Meanwhile(Meanwhile),
    }
}

choice! {
    enum Meanwhile {
        Nothing,
        Scribble(Vec<Write>),
        Acquire {
            count: Count,
            ms: u8,
        },
    }
}

const PERMITS: u32 = 3;
/// So many acts are enough: some wait for milliseconds.
const MANY: usize = 24;

fuzz_target!(|plan: Plan| {
    let spot = Spot::at(plan.place);
    let mut visit = Visit::new(spot);
    visit.open(Mode::CreateNew, PERMITS).expect("it is new");
    // another user that holds one, until it dies
    visit.take(&Step::Inheritable(Count::ONE));
    let mut second = None;
    for act in plan.acts.iter().take(MANY) {
        match act {
            Act::Step(step) => visit.take(step),
            Act::Scribble(writes) => {
                if let Some(file) = visit.file() {
                    scribble(file, writes);
                }
            }
            Act::Meanwhile(errand) => {
                drop(second.take());
                second = errand.of(&mut visit).map(Running::new);
            }
        }
    }
    drop(second);
    visit.end();
    can_be_made_anew(spot);
    spot.clear();
    Spot::quiet().serves();
});

impl Meanwhile {
    fn of(&self, visit: &mut Visit) -> Option<Errand> {
        match self {
            Self::Nothing => None,
            Self::Scribble(writes) => Some(Errand::Scribble(visit.file()?.try_clone().ok()?, writes.clone())),
            Self::Acquire { count, ms } => Some(Errand::Acquire(visit.handle()?, *count, moment(*ms))),
        }
    }
}

fn can_be_made_anew(spot: &Spot) {
    let create =
        || SystemSemaphore::builder(&spot.key).mode(AccessMode::Create).initial_value(2).max_permits(5);
    let refusal = spot.open().ok().and_then(|file| spot.refusal(&file));
    let Some(kind) = refusal else {
        return assert_works_now(&create().build().expect("it can be made anew"), 2);
    };
    let before = FileSnapshot::of(&spot.path);
    assert_eq!(create().build().err().map(|error| error.kind()), Some(kind));
    assert!(FileSnapshot::of(&spot.path) == before, "it is another file");
}
