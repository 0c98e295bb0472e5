//! What is aimed at, and whether it was reached.

use crate::contestant::{
    self, Language, PYTHON, PYTHON_MULTIPROCESSING, QT, ROBUST, ROBUST_THREADS, SEM_T, SEM_T_THREADS,
    SEMOP_UNDO,
};
use crate::machine::Distance;
use crate::report::number;
use crate::samples::{Run, Statistics};
use crate::shapes::RUN;

/// A bound on something measured.
struct Target {
    what: &'static str,
    bound: Bound,
    unit: &'static str,
    measured: fn(&Run, Distance) -> Option<f64>,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

const fn target(
    what: &'static str,
    bound: Bound,
    unit: &'static str,
    measured: fn(&Run, Distance) -> Option<f64>,
) -> Target {
    Target { what, bound, unit, measured }
}

/// How much more still counts as the same: what is left is noise.
const SAME: f64 = 1.1;

const ALL: [Target; 28] = [
    target("pair, beside `sem_t`", AtMost(1.15), "x", |run, at| median(run, "pair", 0, at, [ROBUST, SEM_T])),
    target("pair with other threads, beside `sem_t`", AtMost(1.3), "x", |run, at| {
        median(run, "pair", 0, at, [ROBUST_THREADS, SEM_T_THREADS])
    }),
    target("pair, faster than `semop` with SEM_UNDO", AtLeast(12.0), "x", |run, at| {
        median(run, "pair", 0, at, [SEMOP_UNDO, ROBUST])
    }),
    target("pair, faster than Qt's class in C++", AtLeast(12.0), "x", |run, at| {
        median(run, "pair", 0, at, [QT, ROBUST])
    }),
    target("pair in Python, beside `multiprocessing`", AtMost(1.3), "x", |run, at| {
        median(run, "pair", 0, at, [PYTHON, PYTHON_MULTIPROCESSING])
    }),
    target("pair in Python, beside the fastest of the others there", AtMost(1.0), "x", python_beside_others),
    target("ping-pong on two processors, faster than `sem_t`", AtLeast(20.0), "x", |run, at| {
        median(run, "ping-pong", 0, at, [SEM_T, ROBUST])
    }),
    target("ping-pong on one processor, beside `sem_t`", AtMost(1.05), "x", |run, at| {
        median(run, "ping-pong-on-one", 0, at, [ROBUST, SEM_T])
    }),
    target("CPU time of a process's first long wait", AtMost(20.0), " us", |run, at| {
        one(run, "long-wait", 0, at, ROBUST, |of| of.median)
    }),
    target("CPU time of another long wait", AtMost(20.0), " us", |run, at| {
        one(run, "long-wait-again", 0, at, ROBUST, |of| of.median)
    }),
    target("4 processes, 1 permit: pairs a second, beside `sem_t`", AtLeast(1.2), "x", |run, at| {
        median(run, "contended", 1, at, [ROBUST, SEM_T])
    }),
    target("4 processes, 2 permits: pairs a second, beside `sem_t`", AtLeast(1.2), "x", |run, at| {
        median(run, "contended", 2, at, [ROBUST, SEM_T])
    }),
    target("4 processes, 1 permit: pairs a second, beside System V", AtLeast(10.0), "x", |run, at| {
        median(run, "contended", 1, at, [ROBUST, SEMOP_UNDO])
    }),
    target("4 processes, 1 permit: share of the slowest in a second", AtLeast(0.8), "", |run, at| {
        one(run, "fairness", 1, at, ROBUST, |of| of.median)
    }),
    target("the longest wait", AtMost(100.0), " ms", |run, at| {
        one(run, "longest-wait", 0, at, ROBUST, |of| of.largest)
    }),
    target("ring of 1024, beside `sem_t`", AtLeast(1.2), "x", |run, at| {
        median(run, "ring", 0, at, [ROBUST, SEM_T])
    }),
    target("SIGKILL to the waiter, median, beside System V", AtMost(1.0), "x", |run, at| {
        median(run, "death", 0, at, [ROBUST, SEMOP_UNDO])
    }),
    target("SIGKILL to the waiter, worst", AtMost(5000.0), " us", |run, at| {
        one(run, "death", 0, at, ROBUST, |of| of.largest)
    }),
    target("open and close, beside `sem_open`", AtMost(3.0), "x", |run, at| {
        median(run, "open-close", 0, at, [ROBUST, SEM_T])
    }),
    target("open and close with 10,000 open, beside `sem_open`", AtMost(1.0), "x", |run, at| {
        median(run, "many-open-close", 10_000, at, [ROBUST, SEM_T])
    }),
    target("create and remove, beside `sem_open`", AtMost(3.0), "x", |run, at| {
        median(run, "create-remove", 0, at, [ROBUST, SEM_T])
    }),
    target("memory a semaphore", AtMost(12_288.0), " bytes", |run, at| {
        one(run, "bytes", 10_000, at, ROBUST, |of| of.median)
    }),
    target("pair with 10,000 open, beside `sem_t` with as many", AtMost(SAME), "x", |run, at| {
        median(run, "many-pair", 10_000, at, [ROBUST, SEM_T])
    }),
    target("pair with 1,000 processes attached, beside one", AtMost(SAME), "x", |run, at| {
        let many = one(run, "attached-pair", 1000, at, ROBUST, |of| of.median)?;
        Some(many / one(run, "attached-pair", 1, at, ROBUST, |of| of.median)?)
    }),
    target("death of one of 1,000 holders to the waiter", AtMost(1000.0), " us", |run, at| {
        one(run, "attached-death", 1000, at, ROBUST, |of| of.median)
    }),
    target("death of the holder to one of 1,000 waiters", AtMost(1000.0), " us", |run, at| {
        one(run, "waiting-death", 1000, at, ROBUST, |of| of.median)
    }),
    target("CPU time a job, 1,000 waiting beside 10", AtMost(1.5), "x", |run, at| {
        let many = one(run, "herd", 1000, at, RUN, |of| of.median)?;
        Some(many / one(run, "herd", 10, at, RUN, |of| of.median)?)
    }),
    target("CPU time of 100 idle waiters", AtMost(0.1), " %", |run, at| {
        one(run, "idle", 0, at, ROBUST, |of| of.median)
    }),
];

/// A figure of one contestant.
fn one(
    run: &Run,
    series: &str,
    x: u64,
    distance: Distance,
    contestant: &str,
    figure: fn(Statistics) -> f64,
) -> Option<f64> {
    run.get(series, x, contestant, distance).map(figure)
}

/// The median of the first beside that of the second.
fn median(run: &Run, series: &str, x: u64, distance: Distance, [first, second]: [&str; 2]) -> Option<f64> {
    let of = |contestant| one(run, series, x, distance, contestant, |of| of.median);
    Some(of(first)? / of(second)?)
}

fn python_beside_others(run: &Run, distance: Distance) -> Option<f64> {
    let others = contestant::ALL.iter().filter(|contestant| {
        contestant.language == Language::Python
            && ![PYTHON, PYTHON_MULTIPROCESSING].contains(&contestant.name)
    });
    others.filter_map(|other| median(run, "pair", 0, distance, [PYTHON, other.name])).reduce(f64::max)
}

/// The target, what was measured, whether it was met.
pub(crate) fn table(run: &Run) -> String {
    let mut text = String::from("| | target | measured | |\n|---|---|---|---|\n");
    for target in &ALL {
        let at = |distance| Some((distance, (target.measured)(run, distance)?));
        let measured: Vec<_> =
            [Distance::None, Distance::Near, Distance::Far].into_iter().filter_map(at).collect();
        for (distance, measured) in &measured {
            text += &target.row(*measured, *distance);
        }
        if measured.is_empty() {
            text += &target.row_without();
        }
    }
    text
}

impl Target {
    fn row(&self, measured: f64, distance: Distance) -> String {
        let is_met = match self.bound {
            AtMost(limit) => measured <= limit,
            AtLeast(limit) => measured >= limit,
        };
        let place =
            if distance == Distance::None { String::new() } else { format!(" ({})", distance.name()) };
        let met = if is_met { "met" } else { "**not met**" };
        let Self { what, unit, .. } = self;
        format!("| {what}{place} | {} | {}{unit} | {met} |\n", self.limit(), number(measured))
    }

    fn row_without(&self) -> String {
        format!("| {} | {} | | not measured |\n", self.what, self.limit())
    }

    fn limit(&self) -> String {
        match self.bound {
            AtMost(limit) => format!("at most {}{}", number(limit), self.unit),
            AtLeast(limit) => format!("at least {}{}", number(limit), self.unit),
        }
    }
}
