//! Waiting for permits, and waking who waits.
//!
//! Who has to wait sets WAITERS in the state and sleeps on its lower half, a futex. A release that sees WAITERS clears it
//! in its own swap and wakes as many as it has released. A woken waiter takes its permit with WAITERS set again, since
//! others may sleep, and if permits are left, wakes one more: the *baton*. Who leaves without a permit after it was
//! woken passes the baton on, too. So while permits are free and somebody sleeps, somebody has the baton, and if that
//! one dies, its recoverer goes on with it ([`super::recovery`]). Nothing counts waiters: a dead one would stay counted.
//!
//! Waiters for several permits sleep on another bit, and every wake wakes all of those besides: a baton given to someone
//! who needs more than there is would be lost.
//!
//! No sleep is longer than a second, or in a crowd a few: that is what finds a permit when the one who should have woken us is
//! stopped. After the first few milliseconds a waiter has the deaths of others watched ([`DeathWatch`]).
//!
//! Running threads may overtake sleeping ones: strict turns would cost a context switch each. But a waiter that was
//! woken in vain for a while makes the rule *fair* until it is served, or for some milliseconds: who has not slept yet then queues,
//! too, if it may wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fairness::{self, FAIR_MS, FAIRNESS_DELAY, is_fair_now};
use super::layout::REMOVED;
use super::mapped_file::MappedFile;
use super::operation::{Operation, Outcome, WaitersFlag};
use super::participant::{Participant, held_overflow_error};
use super::recovery::{ScanScope, recover};
use super::state::State;
use super::wake::wake;
use crate::backend::api::{WaitLimit, WaitOptions};
use crate::backend::robust::error::EngineError;
use crate::backend::robust::failpoint::{self, Failpoint};
use crate::backend::robust::platform::clock::Instant;
use crate::backend::robust::platform::{Parking, Queue, Unparked};
use crate::error::{Cause, ErrorKind};
use crate::sys::atomic::fence;
use crate::types::Epoch;

/// No sleep is longer before deaths are watched.
const UNWATCHED_SLEEP: Duration = Duration::from_millis(2);

/// A watch for deaths, which wakes waiters when a holder dies. A waiter holds it until its wait ends.
///
/// The algorithm works without one: a waiter then checks for itself at the end of each sleep.
pub(crate) trait DeathWatch: Sized {
    /// Joins the watch that this process keeps already, if it keeps one. That watch has missed no
    /// death.
    fn join(mapped: &Arc<MappedFile>) -> Option<Self>;

    /// Starts a watch, or joins the one that this process keeps.
    ///
    /// The watch may have missed earlier deaths, so the caller must scan for dead users afterwards.
    /// Without the means for a watch, the waiter polls.
    fn start(mapped: &Arc<MappedFile>) -> Self;

    /// Tries to set up the watch if that failed before. Returns whether it has succeeded now. The
    /// caller must then scan for dead users, because the watch has missed earlier deaths.
    fn retry_setup(&self) -> bool;

    /// Returns how long the waiter may sleep before it must check for itself.
    fn longest_sleep(&self) -> Duration;

    /// Returns whether this process watches for all others. If its watch has just started, no
    /// process may have watched before.
    fn is_watcher(&self) -> bool;
}

/// One thread's wait.
struct Waiter<'a, W> {
    semaphore: &'a Participant,
    count: u32,
    begin: Instant,
    /// Whether somebody has woken it: it has the baton, and must pass it on.
    woken: bool,
    has_slept: bool,
    /// Whether it lets others go first where the rule is fair.
    may_queue: bool,
    /// Whether the last sleep ended without anybody's doing: it is time to look for the dead.
    timed_out: bool,
    /// Whether it has made the rule fair.
    requested_fairness: bool,
    /// Whether it may take time: a mere try waits for nothing, so nothing is to be learnt from it.
    may_block: bool,
    watch: Option<W>,
}

impl Participant {
    /// Takes permits that are not to be had at once.
    #[cold]
    pub(crate) fn wait<W: DeathWatch>(
        &self,
        count: u32,
        mut state: State,
        wait: &mut WaitOptions<'_>,
    ) -> Result<Epoch, Cause> {
        let mut waiter = Waiter::<W> {
            semaphore: self,
            count,
            begin: Instant::now(),
            woken: false,
            has_slept: false,
            may_queue: wait.limit != WaitLimit::None,
            timed_out: false,
            requested_fairness: false,
            may_block: wait.limit != WaitLimit::None,
            watch: None,
        };
        loop {
            waiter.pause(state, wait)?;
            // others may sleep; who is stopped instead of waking them may have taken the mark off
            let waiters = if waiter.woken || waiter.timed_out { WaitersFlag::Set } else { WaitersFlag::Keep };
            match self.operate(&Operation::acquire(count, waiter.may_queue, waiters))? {
                Outcome::Done { after, epoch, .. } => {
                    // the baton goes on, or there is none to pass on
                    waiter.woken = (waiter.woken || waiter.timed_out) && after.count() > 0;
                    if waiter.has_slept {
                        self.record_hold_start();
                    }
                    return Ok(epoch);
                }
                Outcome::Insufficient(now) => state = now,
                Outcome::Overflow => return Err(held_overflow_error()),
                Outcome::Stale => return Err(EngineError::Corrupt.into()),
            }
        }
    }

    /// What to report when a wait is at its end, or none was allowed.
    fn timeout_error(&self, limit: WaitLimit) -> Cause {
        match self.mapped.stopped_recoverer() {
            Some((recoverer, dead)) if limit != WaitLimit::None => Cause::new(
                ErrorKind::TimedOut,
                format!(
                    "not enough permits became free in time; process {recoverer} was stopped while it gave back \
                     those of process {dead}, which is dead: let it go on, or end it"
                ),
            ),
            _ => limit.timeout_error(),
        }
    }
}

impl<W: DeathWatch> Waiter<'_, W> {
    /// Lets time pass until another attempt makes sense, or tells why there is to be none.
    fn pause(&mut self, state: State, wait: &mut WaitOptions<'_>) -> Result<(), Cause> {
        let must_queue = self.must_queue(state);
        if !must_queue && self.spin(state, wait.limit) {
            return Ok(());
        }
        let is_expired = wait.limit.is_expired();
        if is_expired && must_queue {
            // its time is over before it could lie down: what is free now, it may have
            self.may_queue = false;
            return Ok(());
        }
        let must_recover = self.timed_out || is_expired;
        if must_recover && recover(&self.semaphore.mapped, ScanScope::HoldersRateLimited)? > 0 {
            return Ok(());
        }
        if is_expired {
            return Err(self.semaphore.timeout_error(wait.limit));
        }
        wait.check_interrupt()?;
        if !self.semaphore.is_own() {
            let reason = "this is a forked child; it cannot go on with its parent's wait";
            return Err(Cause::new(ErrorKind::Interrupted, reason));
        }
        Ok(self.sleep(state, wait.limit)?)
    }

    /// Whether others are to go first, though there may be something free.
    fn must_queue(&self, state: State) -> bool {
        self.may_queue && state.waiters() && is_fair_now(self.semaphore.mapped.layout())
    }

    /// Looks for a moment whether something becomes free; how long, depends on how that went before.
    fn spin(&self, state: State, limit: WaitLimit) -> bool {
        let mapped = &self.semaphore.mapped;
        let is_sufficient = |state: State| state.count() >= self.count || state.slot() == REMOVED;
        if is_sufficient(state) {
            return true;
        }
        if limit == WaitLimit::None || self.timed_out {
            return false;
        }
        let max_duration = match limit {
            WaitLimit::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
            _ => Duration::MAX,
        };
        let begin = if self.has_slept { Instant::now() } else { self.begin };
        mapped.spin.spin_until(mapped.layout(), begin, max_duration, is_sufficient)
    }

    /// Sleeps until woken, unless the state has changed. (What it is then, is for the caller to see.)
    fn sleep(&mut self, mut state: State, limit: WaitLimit) -> Result<(), EngineError> {
        let mapped = &self.semaphore.mapped;
        let layout = mapped.layout();
        self.timed_out = false;
        let Some(max_duration) = self.prepare_sleep(state) else { return Ok(()) };
        if self.count > 1 {
            layout.has_multi_waiters.store(1, Ordering::Relaxed);
        }
        // before the look at the state that the kernel takes; see `wake`
        fence(Ordering::SeqCst);
        if !state.waiters() {
            if !layout.exchange(state, state.with_waiters()) {
                return Ok(());
            }
            state = state.with_waiters();
        }
        let duration = match limit {
            WaitLimit::Until(deadline) => {
                max_duration.min(deadline.saturating_duration_since(Instant::now()))
            }
            _ => max_duration,
        };
        let queue = if self.count == 1 { Queue::Single } else { Queue::Multi };
        match mapped.file.park(&layout.state.word, state.futex_value(), queue, duration, None)? {
            Unparked::Woken => {
                self.woken = true;
                failpoint::hit(Failpoint::Woken);
            }
            Unparked::Ended => self.timed_out = true,
            Unparked::Changed => {}
        }
        Ok(())
    }

    /// How long to sleep at most, after what has to be done before; `None`: not at all, since something came back.
    fn prepare_sleep(&mut self, state: State) -> Option<Duration> {
        let mapped = &self.semaphore.mapped;
        if self.must_queue(state) {
            self.mark_sleeping();
            return Some(Duration::from_millis(FAIR_MS));
        }
        let is_first = !self.has_slept;
        self.mark_sleeping();
        let waited = self.begin.elapsed();
        if self.woken && waited >= FAIRNESS_DELAY {
            self.requested_fairness = true;
            fairness::begin(mapped.layout());
        }
        if let Some(watch) = &self.watch {
            let has_recovered = watch.retry_setup() && recover_missed_deaths(watch, mapped);
            return (!has_recovered).then(|| failpoint::longest_sleep(watch.longest_sleep()));
        }
        // where an earlier wait has had deaths watched, this one need only join
        self.watch = W::join(mapped);
        if let Some(watch) = &self.watch {
            return Some(failpoint::longest_sleep(watch.longest_sleep()));
        }
        if is_first || waited < UNWATCHED_SLEEP {
            return Some(UNWATCHED_SLEEP);
        }
        let watch = self.watch.insert(W::start(mapped));
        let max_duration = failpoint::longest_sleep(watch.longest_sleep());
        (!recover_missed_deaths(watch, mapped)).then_some(max_duration)
    }

    fn mark_sleeping(&mut self) {
        if !self.has_slept {
            self.semaphore.slot().waiting_threads.fetch_add(1, Ordering::Relaxed);
            self.has_slept = true;
            self.may_queue = false;
        }
    }
}

/// Whether something comes back from somebody who has died before the watch was on.
fn recover_missed_deaths(watch: &impl DeathWatch, mapped: &MappedFile) -> bool {
    let scope = if watch.is_watcher() { ScanScope::All } else { ScanScope::AllRateLimited };
    recover(mapped, scope).is_ok_and(|found| found > 0)
}

/// However the wait ends: with a permit, without, or by a panic of the caller's hook.
impl<W> Drop for Waiter<'_, W> {
    fn drop(&mut self) {
        if !self.semaphore.is_own() {
            return;
        }
        if self.requested_fairness {
            // the others need not go on in strict turns
            fairness::end(self.semaphore.mapped.layout());
        }
        if self.may_block {
            self.semaphore.mapped.spin.record_wait(self.begin.elapsed(), self.has_slept);
        }
        if self.has_slept {
            self.semaphore.slot().waiting_threads.fetch_sub(1, Ordering::Relaxed);
        }
        if self.woken {
            wake(&self.semaphore.mapped, 1);
        }
    }
}
