//! A semaphore on whose file somebody scribbles while it is used. Whatever that does to it, it does to nothing else, and
//! when nobody uses it any more, it can be made anew.
#![no_main]

use fuzz::choice;
use fuzz::scribble::{Count, Write, scribble};
use fuzz::session::{Errand, Mode, Running, Session, Step, moment};
use fuzz::test_file::{Location, TestFile};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use system_semaphore::{AccessMode, SystemSemaphore};
use test_support::robust_file::{FileSnapshot, assert_works_now};

#[derive(Arbitrary, Debug)]
struct Plan {
    location: Location,
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
    let test_file = TestFile::at(plan.location);
    let mut session = Session::new(test_file);
    session.open(Mode::CreateNew, PERMITS).expect("it is new");
    // another user that holds one, until it dies
    session.take(&Step::Inheritable(Count::ONE));
    let mut second = None;
    for act in plan.acts.iter().take(MANY) {
        match act {
            Act::Step(step) => session.take(step),
            Act::Scribble(writes) => {
                if let Some(file) = session.file() {
                    scribble(file, writes);
                }
            }
            Act::Meanwhile(errand) => {
                drop(second.take());
                second = errand.of(&mut session).map(Running::new);
            }
        }
    }
    drop(second);
    session.end();
    can_be_made_anew(test_file);
    test_file.clear();
    TestFile::quiet().serves();
});

impl Meanwhile {
    fn of(&self, session: &mut Session) -> Option<Errand> {
        match self {
            Self::Nothing => None,
            Self::Scribble(writes) => {
                Some(Errand::Scribble(session.file()?.try_clone().ok()?, writes.clone()))
            }
            Self::Acquire { count, ms } => Some(Errand::Acquire(session.handle()?, *count, moment(*ms))),
        }
    }
}

fn can_be_made_anew(test_file: &TestFile) {
    let create =
        || SystemSemaphore::builder(&test_file.key).mode(AccessMode::Create).initial_value(2).max_permits(5);
    let refusal = test_file.open().ok().and_then(|file| test_file.refusal(&file));
    let Some(kind) = refusal else {
        return assert_works_now(&create().build().expect("it can be made anew"), 2);
    };
    let before = FileSnapshot::of(&test_file.path);
    assert_eq!(create().build().err().map(|error| error.kind()), Some(kind));
    assert!(FileSnapshot::of(&test_file.path) == before, "it is another file");
}
