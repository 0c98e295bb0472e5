//! What has to be true of the permits.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};

use crate::round::Round;
use crate::scene::{Scene, key};
use crate::watch::{Outcome, wrong};

/// Among many dead holders one looks once a millisecond; so long after that, one looks again.
const NEXT_LOOK: Duration = Duration::from_millis(2);
/// In so many queues of a run somebody may be late, besides one of twenty.
const ALWAYS_LATE: u64 = 3;

impl Round<'_> {
    /// Everybody is gone: all permits are free that there were, with those created and without those forgotten.
    pub(crate) fn check_permits(&mut self) -> Outcome {
        for semaphore in 0..self.semaphores {
            let handle = match self.handles.get(semaphore) {
                Some(handle) => handle.clone(),
                None => self.open(semaphore)?,
            };
            self.check_free(&handle, &self.possible(semaphore))
                .or_else(|what| wrong(format!("semaphore {semaphore}: {what}")))?;
        }
        Ok(())
    }

    /// Opens what no living process has open.
    fn open(&self, semaphore: usize) -> Outcome<SystemSemaphore> {
        let key = key(self.processes.shared_state, semaphore);
        let opened = match self.scene {
            // it begins again with the value of who opens it
            Scene::Visitors => SystemSemaphore::open(key, self.permits + 1),
            _ => SystemSemaphore::new(key, 0, AccessMode::OpenExisting),
        };
        opened.or_else(|error| wrong(format!("it cannot be opened: {error:?}")))
    }

    /// How many permits there can be: whoever was killed while it created or forgot some has done that or not.
    fn possible(&self, semaphore: usize) -> BTreeSet<i64> {
        let permits = i64::from(self.permits);
        match (self.scene, semaphore) {
            (Scene::Visitors, _) => return BTreeSet::from([permits + 1]),
            (Scene::Crowd, 0) => {}
            _ => return BTreeSet::from([permits]),
        }
        let mut possible = BTreeSet::from([permits + self.balance()]);
        for doubt in &self.processes.doubts {
            possible.extend(possible.clone().iter().map(|total| total + i64::from(*doubt)));
        }
        possible
    }

    /// What was created less what was forgotten.
    fn balance(&self) -> i64 {
        self.processes.shared_state.seats.iter().map(|seat| i64::from(seat.ledger.read().0)).sum()
    }

    fn check_free(&self, handle: &SystemSemaphore, possible: &BTreeSet<i64>) -> Result<(), String> {
        let text = |error: system_semaphore::Error| error.to_string();
        handle.available_permits().map_err(text)?;
        thread::sleep(NEXT_LOOK);
        let free = handle.available_permits().map_err(text)?;
        if !possible.contains(&free.into()) {
            return Err(format!("{free} are free, but it can be only {possible:?}"));
        }
        let (holders, waiting) = (handle.holders().map_err(text)?, handle.waiting().map_err(text)?);
        if !holders.is_empty() || waiting != 0 {
            return Err(format!("nobody is left, but {holders:?} hold some and {waiting} wait"));
        }
        let all = handle.try_acquire_many(free).map_err(text)?;
        match handle.try_acquire() {
            Err(error) if error.kind() == ErrorKind::NoPermits => {}
            outcome => return Err(format!("after all {free} were taken, one more attempt gave {outcome:?}")),
        }
        all.release().map_err(text)?;
        match handle.available_permits().map_err(text)? {
            again if again == free => Ok(()),
            again => Err(format!("{free} were taken and given back, and {again} are free")),
        }
    }

    /// All workers are stopped somewhere. What they hold for sure and what is free can be no more than there is, and nobody
    /// of them is in the way of who asks.
    pub(crate) fn check_frozen(&mut self) -> Outcome {
        if self.scene == Scene::Resets {
            return Ok(());
        }
        let stopped = self.processes.stopped();
        for semaphore in 0..self.semaphores {
            let free = match self.handles.get(semaphore) {
                Some(handle) => handle.available_permits().or_else(|error| wrong(error.to_string()))?,
                None => 0,
            };
            // after that: a timer may kill one that is stopped
            let stopped = stopped.iter().filter(|(pid, _)| test_support::process::is_stopped(*pid));
            let held: u32 = stopped.map(|(_, seat)| seat.holds_of(semaphore)).sum();
            let most = self.most(semaphore);
            if i64::from(free) + i64::from(held) > most {
                return wrong(format!(
                    "semaphore {semaphore}: with all stopped, {free} were free and {held} held, but there are at most \
                     {most}"
                ));
            }
        }
        self.processes.statistics.frozen += 1;
        Ok(())
    }

    fn most(&self, semaphore: usize) -> i64 {
        if semaphore > 0 || self.scene != Scene::Crowd {
            return self.permits.into();
        }
        let under_way = self.processes.shared_state.seats.iter().map(|seat| seat.ledger.read().1);
        let doubts = self.processes.doubts.iter().copied().chain(under_way);
        i64::from(self.permits) + self.balance() + doubts.map(|doubt| i64::from(doubt.max(0))).sum::<i64>()
    }

    /// Waiters look for themselves once a second, so a lost wake-up shows only by that: who needed it has slept for
    /// a whole second. On a busy machine that may happen now and then.
    pub(crate) fn check_punctuality(&mut self) -> Outcome {
        let shared_state = self.processes.shared_state;
        let statistics = &mut self.processes.statistics;
        statistics.through += shared_state.through.load(SeqCst);
        statistics.queues += 1;
        statistics.late_queues += u64::from(shared_state.late.load(SeqCst) > 0);
        let (late, queues) = (statistics.late_queues, statistics.queues);
        if late > ALWAYS_LATE + queues / 20 {
            return wrong(format!(
                "in {late} of {queues} queues waiters were not woken by the death or the release that gave them a permit, \
                 but slept for a second"
            ));
        }
        Ok(())
    }

    pub(crate) fn describe_permits(&self) -> String {
        let mut text = format!(
            "created - forgotten is {}, and perhaps {:?} besides\n",
            self.balance(),
            self.processes.doubts
        );
        for (number, inside) in self.processes.engine_views.iter().enumerate() {
            text += &format!("semaphore {number}: {} free\n", inside.free());
            for slot in inside.slots() {
                text += &format!("  {slot}\n");
            }
        }
        text + &self.processes.describe()
    }
}
