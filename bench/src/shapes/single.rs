//! One process that nobody disturbs.

use super::{Series, Shape, Subject, Value, once, those};
use crate::Result;

pub(crate) const PAIR: Shape = Shape {
    name: "pair",
    about: "Acquire and release of one permit that nobody else wants. CPU time.",
    series: &[Series::new("pair", "Uncontended acquire and release", "ns")],
    two_cores: false,
    contestants: || those(|_| true),
    points: once,
    sample: pair,
};

pub(crate) const OPEN_CLOSE: Shape = Shape {
    name: "open-close",
    about: "Opening and closing a semaphore that another process has open. CPU time. A System V set is not closed at all.",
    series: &[Series::new("open-close", "Open and close", "us")],
    two_cores: false,
    contestants: || those(|contestant| contestant.is_object() && !contestant.has_threads()),
    points: once,
    sample: open_close,
};

pub(crate) const CREATE_REMOVE: Shape = Shape {
    name: "create-remove",
    about: "Making a semaphore that was not there, closing it, and taking it out of the system. CPU time.",
    series: &[Series::new("create-remove", "Create and remove", "us")],
    two_cores: false,
    contestants: || those(|contestant| contestant.is_object() && !contestant.has_threads()),
    points: once,
    sample: create_remove,
};

fn pair(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let mut worker = subject.worker(1)?;
    worker.ask(&format!("make {} 1 1", subject.key))?;
    let value = worker.ask_number(&format!("pairs {}", subject.milliseconds()))?;
    Ok(vec![("pair", value)])
}

fn open_close(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let mut maker = subject.worker(0)?;
    maker.ask(&format!("make {} 1 1", subject.key))?;
    let mut worker = subject.worker(1)?;
    let value = worker.ask_number(&format!("open-close {} {}", subject.key, subject.milliseconds()))?;
    Ok(vec![("open-close", value / 1e3)])
}

fn create_remove(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let mut worker = subject.worker(1)?;
    let value = worker.ask_number(&format!("create-remove {} {}", subject.key, subject.milliseconds()))?;
    Ok(vec![("create-remove", value / 1e3)])
}
