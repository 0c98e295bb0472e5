//! Waiting for permits.
//!
//! A waiter sets WAITERS in the state and sleeps on the lower half of the state, a futex. A releaser
//! that sees WAITERS clears it in its own swap, and wakes as many waiters as it has released permits.
//! A woken waiter has the *baton*: it acquires with WAITERS set again, because other waiters may
//! sleep, and if permits are left it wakes one more. A woken waiter that leaves without a permit
//! passes the baton on as well. Therefore, while permits are free and a waiter sleeps, some process
//! has the baton. If that process dies, its recoverer passes the baton on ([`super::recovery`]). No
//! field counts the waiters, because a dead one would stay counted.
//!
//! Waiters for several permits sleep in a queue of their own, and every wake-up wakes all of them in
//! addition: a baton that only reached a waiter that needs more permits than are free would be lost.
//!
//! Every sleep is bounded, by one second as a rule and by eight if many processes wait. The bound is
//! what finds a permit if the process that should have woken the waiter is stopped. After the first
//! few milliseconds a waiter has the deaths of others watched ([`DeathWatch`]).
//!
//! A running thread may overtake sleeping ones, because a strict order would cost a context switch
//! for each permit. A waiter that was woken in vain for a while makes the rule *fair*, until it has
//! its permits or for some milliseconds. While the rule is fair, a thread that has not slept yet
//! queues as well, if it may wait.

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

/// Bound of the sleeps before the waiter has deaths watched.
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

/// The wait of one thread.
struct Waiter<'a, W> {
    semaphore: &'a Participant,
    count: u32,
    begin: Instant,
    /// Whether a releaser has woken this waiter: it has the baton, and must pass it on.
    woken: bool,
    has_slept: bool,
    /// Whether this waiter yields to others while the rule is fair.
    may_queue: bool,
    /// Whether the last sleep ended at its bound or by a signal. The waiter must then scan for dead
    /// holders.
    timed_out: bool,
    /// Whether this waiter has made the rule fair.
    requested_fairness: bool,
    /// Whether this waiter may sleep. The duration of a try teaches nothing.
    may_block: bool,
    watch: Option<W>,
}

impl Participant {
    /// Acquires permits that were not free at the first attempt.
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
            // Other waiters may sleep. A releaser that was stopped before it woke them has cleared
            // the bit.
            let waiters = if waiter.woken || waiter.timed_out { WaitersFlag::Set } else { WaitersFlag::Keep };
            match self.operate(&Operation::acquire(count, waiter.may_queue, waiters))? {
                Outcome::Done { after, epoch, .. } => {
                    // the waiter passes the baton on only if permits are left
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

    /// Returns the error of a wait that has reached its limit, or that was not allowed.
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
    /// Blocks until another attempt makes sense, or returns the error that ends the wait.
    fn pause(&mut self, state: State, wait: &mut WaitOptions<'_>) -> Result<(), Cause> {
        let must_queue = self.must_queue(state);
        if !must_queue && self.spin(state, wait.limit) {
            return Ok(());
        }
        let is_expired = wait.limit.is_expired() || failpoint::is_expired();
        if is_expired && must_queue {
            // the limit passed before this waiter could queue, so it may acquire what is free now
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

    /// Returns whether waiters go before this one, even if permits are free.
    fn must_queue(&self, state: State) -> bool {
        self.may_queue && state.waiters() && is_fair_now(self.semaphore.mapped.layout())
    }

    /// Spins until enough permits are free, and returns whether they are. Earlier waits determine
    /// how long it spins.
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

    /// Sleeps until a wake-up, unless the state has changed. The caller loads the new state.
    fn sleep(&mut self, mut state: State, limit: WaitLimit) -> Result<(), EngineError> {
        let mapped = &self.semaphore.mapped;
        let layout = mapped.layout();
        self.timed_out = false;
        let Some(max_duration) = self.prepare_sleep(state) else { return Ok(()) };
        if self.count > 1 {
            layout.has_multi_waiters.store(1, Ordering::Relaxed);
        }
        // Pairs with the fence in `wake`. It comes before the kernel's comparison of the state.
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

    /// Registers the waiter, and has deaths watched if it has waited for long. Returns the bound of
    /// the next sleep, or `None` if a recovery has released permits.
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
        // an earlier wait of this process may have deaths watched already
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

/// Recovers users that died before the watch began. Returns whether there were any.
fn recover_missed_deaths(watch: &impl DeathWatch, mapped: &MappedFile) -> bool {
    let scope = if watch.is_watcher() { ScanScope::All } else { ScanScope::AllRateLimited };
    recover(mapped, scope).is_ok_and(|found| found > 0)
}

/// Every wait ends here: with permits, without them, or by a panic of the caller's hook.
impl<W> Drop for Waiter<'_, W> {
    fn drop(&mut self) {
        if !self.semaphore.is_own() {
            return;
        }
        if self.requested_fairness {
            // other waiters need no strict order
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
