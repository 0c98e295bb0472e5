//! Tells what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use super::{Job, Outcome};

pub(super) struct Report {
    pub(super) done: Vec<(Job, Outcome)>,
    /// Calls that are not made to fail, and why.
    pub(super) never: BTreeSet<(&'static str, &'static str)>,
    /// What went wrong besides.
    pub(super) failures: Vec<String>,
}

impl Report {
    /// Prints all of it.
    pub(super) fn print(mut self) -> ExitCode {
        self.print_table("scene", |job| job.scene.name);
        self.print_table("system call", |job| job.plan.call.name);
        for (name, reason) in &self.never {
            println!("{name} is not made to fail: {reason}");
        }
        println!();
        let mut passed = 0;
        for (job, outcome) in &self.done {
            match outcome {
                Outcome::Error | Outcome::Fallback => passed += 1,
                Outcome::Failed(reason) => self.failures.push(format!("{job}: {reason}")),
                // a thread goes round as often as time lets it; the same call of another round has failed
                Outcome::Missed if self.has_one_like_it_failed(job) => println!("not met again: {job}"),
                Outcome::Missed => {
                    self.failures.push(format!("{job}: the call was seen, and never made to fail"));
                }
            }
        }
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        println!("{passed} passed, {} failed", self.failures.len());
        if self.failures.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Whether a call of the same kind has been made to fail so, by whichever thread: it is chance which of them comes first.
    fn has_one_like_it_failed(&self, job: &Job) -> bool {
        self.done.iter().any(|(other, outcome)| {
            other.plan.call.text == job.plan.call.text
                && other.plan.fault == job.plan.fault
                && !matches!(outcome, Outcome::Missed)
        })
    }

    fn print_table(&self, title: &str, group: impl Fn(&Job) -> &'static str) {
        let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
        for (job, outcome) in &self.done {
            lines.entry(group(job)).or_default().add(job, outcome);
            lines.entry("together").or_default().add(job, outcome);
        }
        println!("\n{title:<20}  calls  made to fail   runs  errors  went on  missed  failed");
        for (name, Line { seen, made_to_fail, runs, errors, fallbacks, missed, failures }) in &lines {
            println!(
                "{name:<20} {:>6} {:>13} {runs:>6} {errors:>7} {fallbacks:>8} {missed:>7} {failures:>7}",
                seen.len(),
                made_to_fail.len(),
            );
        }
    }
}

#[derive(Default)]
struct Line {
    seen: BTreeSet<String>,
    made_to_fail: BTreeSet<String>,
    runs: usize,
    errors: usize,
    fallbacks: usize,
    missed: usize,
    failures: usize,
}

impl Line {
    fn add(&mut self, job: &Job, outcome: &Outcome) {
        let call = format!("{}: {}", job.scene.name, job.plan.call);
        self.runs += 1;
        match outcome {
            Outcome::Error => self.errors += 1,
            Outcome::Fallback => self.fallbacks += 1,
            Outcome::Missed => self.missed += 1,
            Outcome::Failed(_) => self.failures += 1,
        }
        if !matches!(outcome, Outcome::Missed) {
            self.made_to_fail.insert(call.clone());
        }
        self.seen.insert(call);
    }
}
