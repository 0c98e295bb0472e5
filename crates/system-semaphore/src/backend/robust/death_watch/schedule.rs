//! When the dead users of one semaphore are searched for, and how thoroughly.
//!
//! This type reads no clock, takes no lock and calls no operating system. Its inputs are the times
//! of close events and the results of scans. Its outputs are the time of the next scan and its
//! scope.
//!
//! 1. A close event starts a series of scans: one at once, and one after each of the
//!    [`RESCAN_DELAYS`].
//! 2. With few users a scan covers all slots whose process appears dead.
//! 3. With many users a scan stops at the first dead holder, because the waiter that the recovery
//!    woke may need this CPU. Further *steps* follow at intervals of [`STEP_DELAY`]. At most every
//!    [`SUSPECT_SCAN_INTERVAL`] a step covers all slots whose process appears dead, including those
//!    that hold nothing but owe a wake-up.
//! 4. The scans 20 ms and 500 ms after the last event cover all slots. While events keep arriving,
//!    so does one every [`FULL_SCAN_INTERVAL`].

use std::time::{Duration, Instant};

use crate::backend::robust::algorithm::recovery::ScanScope;

/// Delays between the scans that follow a close event, in reverse order: the last element comes
/// first.
///
/// The kernel reports the close some time before it releases the dead process's locks, and may
/// deschedule the process in between, so one scan is not enough. A dead watcher's lock is released
/// some 10 ms after its standby signal, because the kernel closes the inotify instance between the
/// two. The scans are 0.05, 0.35, 2.35, 6.35, 20, 100 and 500 ms after the event. With longer
/// delays a waiter waits longer for the permits of a process that was descheduled while it died.
const RESCAN_DELAYS: [Duration; 7] = [
    Duration::from_millis(400),
    Duration::from_millis(80),
    Duration::from_millis(14),
    Duration::from_millis(4),
    Duration::from_millis(2),
    Duration::from_micros(300),
    STEP_DELAY,
];
/// The number of scans left when the scan 20 ms after the event begins, which covers all slots.
///
/// The hint whether a process is alive is wrong for some, such as a process that executes another
/// program.
const FULL_RESCAN: usize = 2;
/// The delay between two steps of a scan among many users: 50 us, in which a waiter that the first
/// step woke can run.
const STEP_DELAY: Duration = Duration::from_micros(50);
/// The minimum interval between scans of all apparently dead users, while events keep arriving and
/// there are many users: 20 ms.
///
/// A user that died holding nothing, but owing a wake-up, is found this late.
const SUSPECT_SCAN_INTERVAL: Duration = Duration::from_millis(20);
/// The minimum interval between scans of all users while events keep arriving: 100 ms.
const FULL_SCAN_INTERVAL: Duration = Duration::from_millis(100);

/// The scans of one semaphore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// The time of the next scan.
    next_scan_at: Option<Instant>,
    /// The number of scans left after the last event; one more than there are delays right after an
    /// event.
    rescans_left: usize,
    /// The scope of an extra scan, [`STEP_DELAY`] after the previous one.
    next_step: Option<ScanScope>,
    /// When all apparently dead users were last scanned.
    last_suspect_scan: Instant,
    /// When all users were last scanned.
    last_full_scan: Instant,
}

/// A scan that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// The slots to scan.
    pub(super) scope: ScanScope,
    started_at: Instant,
}

impl Schedule {
    /// Creates a schedule without scans. The intervals between full scans count from `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_scan_at: None,
            rescans_left: 0,
            next_step: None,
            last_suspect_scan: now,
            last_full_scan: now,
        }
    }

    /// Returns the time of the next scan, if there is to be one.
    pub(super) fn next_scan_at(&self) -> Option<Instant> {
        self.next_scan_at
    }

    /// Returns whether a scan must begin now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_scan_at.is_some_and(|next| next <= now)
    }

    /// Starts a new series of scans, because a close was reported at this time.
    pub(super) fn event_reported(&mut self, now: Instant) {
        self.rescans_left = RESCAN_DELAYS.len() + 1;
        self.next_scan_at = Some(now);
    }

    /// Begins the scan that is due, and returns its scope.
    ///
    /// If the process has just become the watcher, users may be dying whose close no process has
    /// heard. The series of scans therefore begins anew.
    pub(super) fn start_scan(&mut self, now: Instant, became_watcher: bool, has_many_users: bool) -> Scan {
        let step = self.take_step();
        if became_watcher {
            self.rescans_left = RESCAN_DELAYS.len();
        }
        let scans_all = self.rescans_left == FULL_RESCAN
            || self.rescans_left < RESCAN_DELAYS.len()
                && now.duration_since(self.last_full_scan) >= FULL_SCAN_INTERVAL;
        let scope = match step {
            Some(scope) => scope,
            None if scans_all => ScanScope::All,
            None if has_many_users => ScanScope::FirstDeadHolder,
            None => ScanScope::ApparentlyDead,
        };
        match scope {
            ScanScope::All => (self.last_full_scan, self.last_suspect_scan) = (now, now),
            ScanScope::ApparentlyDead => self.last_suspect_scan = now,
            _ => {}
        }
        Scan { scope, started_at: now }
    }

    /// Ends a scan that found this number of dead users, at this time, and schedules the next one.
    pub(super) fn scan_ended(&mut self, scan: Scan, now: Instant, found: usize) {
        if found > 0 {
            // other users may have died at the same time
            self.rescans_left = self.rescans_left.min(FULL_RESCAN + 1);
        }
        if scan.scope == ScanScope::FirstDeadHolder {
            let suspects_are_due =
                scan.started_at.duration_since(self.last_suspect_scan) >= SUSPECT_SCAN_INTERVAL;
            self.next_step = if suspects_are_due {
                Some(ScanScope::ApparentlyDead)
            } else {
                (found > 0).then_some(ScanScope::FirstDeadHolder)
            };
        }
        self.schedule_next(now);
    }

    /// Ends the scan that is due without a scan: a standby leaves it to the watcher.
    pub(super) fn skip_scan(&mut self, now: Instant) {
        self.take_step();
        self.schedule_next(now);
    }

    /// Cancels all scans.
    pub(super) fn cancel(&mut self) {
        (self.next_scan_at, self.rescans_left, self.next_step) = (None, 0, None);
    }

    /// Takes the extra step that is due, or counts a scan of the series.
    fn take_step(&mut self) -> Option<ScanScope> {
        let step = self.next_step.take();
        if step.is_none() {
            self.rescans_left -= 1;
        }
        step
    }

    fn schedule_next(&mut self, now: Instant) {
        let delay = match (self.next_step, self.rescans_left) {
            (Some(_), _) => Some(STEP_DELAY),
            (None, 0) => None,
            // an event was reported meanwhile
            (None, left) if left > RESCAN_DELAYS.len() => Some(Duration::ZERO),
            (None, left) => Some(RESCAN_DELAYS[left - 1]),
        };
        self.next_scan_at = delay.map(|delay| now + delay);
    }
}

#[cfg(test)]
mod tests {
    use ScanScope::{All, ApparentlyDead, FirstDeadHolder};

    use super::*;

    const FEW: bool = false;
    const MANY: bool = true;

    /// A schedule and a clock that moves only from scan to scan.
    struct Timeline {
        start: Instant,
        schedule: Schedule,
        has_many_users: bool,
    }

    impl Timeline {
        /// A schedule that was created at time 0, and has no scan yet.
        fn new(has_many_users: bool) -> Self {
            let start = Instant::now();
            Self { start, schedule: Schedule::new(start), has_many_users }
        }

        /// A schedule that was created at time 0, and got an event at this time.
        fn with_event_at(has_many_users: bool, micros: u64) -> Self {
            let mut timeline = Self::new(has_many_users);
            timeline.event_at(micros);
            timeline
        }

        fn at(&self, micros: u64) -> Instant {
            self.start + Duration::from_micros(micros)
        }

        fn event_at(&mut self, micros: u64) {
            self.schedule.event_reported(self.at(micros));
        }

        /// The time of the next scan.
        fn next(&self) -> Option<u64> {
            let next = self.schedule.next_scan_at()?.duration_since(self.start);
            Some(next.as_micros() as u64)
        }

        /// Makes the next scan, which finds this number of dead users. Returns its time and scope.
        #[track_caller]
        fn scan(&mut self, found: usize) -> (u64, ScanScope) {
            let time = self.next().expect("a scan is scheduled");
            let now = self.at(time);
            let scan = self.schedule.start_scan(now, false, self.has_many_users);
            self.schedule.scan_ended(scan, now, found);
            (time, scan.scope)
        }

        /// Makes this number of scans, which find nothing.
        fn scans(&mut self, count: usize) {
            (0..count).for_each(|_| {
                self.scan(0);
            });
        }

        /// Makes all scans that are left, which find nothing.
        fn rest(&mut self) -> Vec<(u64, ScanScope)> {
            let mut scans = Vec::new();
            while self.next().is_some() {
                scans.push(self.scan(0));
                assert!(scans.len() < 1000, "they never end: {scans:?}");
            }
            scans
        }

        /// Makes all scans for a second in which an event is reported every millisecond. They find
        /// nothing.
        fn second_of_events(&mut self) -> Vec<(u64, ScanScope)> {
            let mut scans = Vec::new();
            for event in (0..1_000_000).step_by(1000) {
                self.event_at(event);
                while self.next().is_some_and(|next| next < event + 1000) {
                    scans.push(self.scan(0));
                }
            }
            scans
        }
    }

    /// The times of the scans with this scope.
    fn times(scans: &[(u64, ScanScope)], scope: ScanScope) -> Vec<u64> {
        scans.iter().filter(|scan| scan.1 == scope).map(|scan| scan.0).collect()
    }

    /// The shortest and the longest interval.
    fn intervals(times: &[u64]) -> (u64, u64) {
        let intervals = || times.windows(2).map(|pair| pair[1] - pair[0]);
        (intervals().min().expect("two scans"), intervals().max().expect("two scans"))
    }

    #[test]
    fn new_schedule_has_no_scan() {
        let timeline = Timeline::new(FEW);
        assert_eq!(timeline.next(), None);
        assert!(!timeline.schedule.is_due(timeline.at(1_000_000_000)));
    }

    #[test]
    fn scan_is_due_from_its_time_on() {
        let timeline = Timeline::with_event_at(FEW, 1000);
        let is_due = |time| timeline.schedule.is_due(timeline.at(time));
        assert_eq!((is_due(999), is_due(1000), is_due(1001)), (false, true, true));
    }

    /// The kernel reports a close before it releases the locks: much earlier on a busy machine.
    #[test]
    fn event_is_followed_by_scans_at_once_and_for_half_a_second() {
        let expected = [
            (0, ApparentlyDead),
            (50, ApparentlyDead),
            (350, ApparentlyDead),
            (2350, ApparentlyDead),
            (6350, ApparentlyDead),
            (20_350, All),
            (100_350, ApparentlyDead),
            (500_350, All),
        ];
        assert_eq!(Timeline::with_event_at(FEW, 0).rest(), expected);
    }

    #[test]
    fn first_rescan_is_full_if_the_last_full_scan_was_long_ago() {
        let full = |event| times(&Timeline::with_event_at(FEW, event).rest(), All);
        assert_eq!(full(1_000_000), [1_000_050, 1_020_350, 1_500_350]);
        // 50 us and 350 us after the event, it was less than 100 ms ago, and then it was not
        assert_eq!(full(99_949), [99_949 + 350, 99_949 + 20_350, 99_949 + 500_350]);
        assert_eq!(full(99_950), [100_000, 99_950 + 20_350, 99_950 + 500_350]);
    }

    #[test]
    fn many_users_are_scanned_for_one_dead_holder_at_a_time() {
        let expected = [
            (0, FirstDeadHolder),
            (50, FirstDeadHolder),
            (350, FirstDeadHolder),
            (2350, FirstDeadHolder),
            (6350, FirstDeadHolder),
            (20_350, All),
            (100_350, FirstDeadHolder),
            // the last scan of all suspects was 80 ms ago
            (100_400, ApparentlyDead),
            (500_400, All),
        ];
        assert_eq!(Timeline::with_event_at(MANY, 0).rest(), expected);
    }

    #[test]
    fn suspects_are_scanned_one_step_after_the_first_holder() {
        for (event, second) in [(19_999, FirstDeadHolder), (20_000, ApparentlyDead)] {
            let mut timeline = Timeline::with_event_at(MANY, event);
            assert_eq!(timeline.scan(0), (event, FirstDeadHolder));
            assert_eq!(timeline.scan(0), (event + 50, second));
        }
    }

    #[test]
    fn step_stays_a_step_when_a_full_scan_becomes_due() {
        let mut timeline = Timeline::with_event_at(MANY, 85_000);
        assert_eq!(
            [timeline.scan(0), timeline.scan(0)],
            [(85_000, FirstDeadHolder), (85_050, ApparentlyDead)]
        );
        timeline.event_at(99_960);
        assert_eq!(timeline.scan(1), (99_960, FirstDeadHolder));
        // the last full scan was 100 ms ago
        assert_eq!(timeline.scan(0), (100_010, FirstDeadHolder));
    }

    #[test]
    fn time_that_a_scan_takes_makes_no_suspects_due() {
        let mut timeline = Timeline::with_event_at(MANY, 19_990);
        let scan = timeline.schedule.start_scan(timeline.at(19_990), false, MANY);
        timeline.schedule.scan_ended(scan, timeline.at(20_500), 0);
        assert_eq!(timeline.scan(0), (20_550, FirstDeadHolder));
        assert_eq!(timeline.scan(0), (20_600, ApparentlyDead));
    }

    #[test]
    fn each_death_among_many_is_followed_by_another_step() {
        let mut timeline = Timeline::with_event_at(MANY, 0);
        assert_eq!(timeline.scan(1), (0, FirstDeadHolder));
        assert_eq!(timeline.scan(1), (50, FirstDeadHolder));
        assert_eq!(timeline.scan(1), (100, FirstDeadHolder));
        assert_eq!(timeline.scan(0), (150, FirstDeadHolder));
        // the series goes on where the first death put it
        assert_eq!(timeline.scan(0), (14_150, All));
        assert_eq!(timeline.rest(), [(94_150, FirstDeadHolder), (94_200, ApparentlyDead), (494_200, All)]);
    }

    #[test]
    fn series_of_deaths_among_many_does_not_delay_the_suspects() {
        let mut timeline = Timeline::with_event_at(MANY, 0);
        let steps: Vec<_> = (0..401).map(|_| timeline.scan(1)).collect();
        assert!(steps.iter().all(|step| step.1 == FirstDeadHolder), "{steps:?}");
        // the last of these steps, 20 ms after the first, found all suspects due
        assert_eq!(timeline.scan(1), (20_050, ApparentlyDead));
        // the steps end, and the series goes on
        assert_eq!(timeline.scan(0), (34_050, All));
    }

    #[test]
    fn steps_do_not_count_as_scans_of_the_series() {
        let mut timeline = Timeline::with_event_at(MANY, 1_000_000);
        timeline.scan(0);
        let left = timeline.schedule.rescans_left;
        assert_eq!(timeline.scan(0), (1_000_050, ApparentlyDead));
        assert_eq!(timeline.schedule.rescans_left, left);
    }

    /// Later scans are for users that died at the same time.
    #[test]
    fn after_a_found_death_the_next_scan_is_the_one_before_the_full_scan() {
        let mut timeline = Timeline::with_event_at(FEW, 0);
        assert_eq!(timeline.scan(1), (0, ApparentlyDead));
        assert_eq!(timeline.rest(), [(14_000, All), (94_000, ApparentlyDead), (494_000, All)]);
    }

    #[test]
    fn found_death_prolongs_no_series() {
        for before in 0..7 {
            let mut timeline = Timeline::with_event_at(FEW, 0);
            timeline.scans(before);
            let left = timeline.schedule.rescans_left;
            timeline.scan(1);
            assert_eq!(timeline.schedule.rescans_left, (left - 1).min(3), "after {before} scans");
        }
    }

    #[test]
    fn many_dead_in_one_scan_count_as_one() {
        let after = |found| {
            let mut timeline = Timeline::with_event_at(FEW, 0);
            timeline.scan(found);
            timeline.rest()
        };
        assert_eq!(after(1), after(16));
    }

    #[test]
    fn events_before_the_scan_are_one_scan() {
        let mut timeline = Timeline::with_event_at(FEW, 0);
        (1..5).for_each(|time| timeline.event_at(time));
        assert_eq!(timeline.scan(0), (4, ApparentlyDead));
        assert_eq!(timeline.scan(0), (54, ApparentlyDead));
    }

    #[test]
    fn event_restarts_the_series_that_is_under_way() {
        for before in 1..=8 {
            let mut timeline = Timeline::with_event_at(FEW, 0);
            timeline.scans(before);
            timeline.event_at(600_000);
            let restarted: Vec<u64> = timeline.rest().into_iter().map(|scan| scan.0 - 600_000).collect();
            assert_eq!(restarted, [0, 50, 350, 2350, 6350, 20_350, 100_350, 500_350], "after {before} scans");
        }
    }

    /// The step comes at once, and the first scan of the new series after it without a delay.
    #[test]
    fn event_before_a_step_loses_neither() {
        let mut timeline = Timeline::with_event_at(MANY, 0);
        assert_eq!(timeline.scan(1), (0, FirstDeadHolder));
        timeline.event_at(10);
        assert_eq!(timeline.scan(0), (10, FirstDeadHolder));
        assert_eq!(timeline.schedule.rescans_left, RESCAN_DELAYS.len() + 1);
        assert_eq!((timeline.next(), timeline.scan(0)), (Some(10), (10, FirstDeadHolder)));
        assert_eq!(timeline.next(), Some(60));
    }

    #[test]
    fn full_scans_are_rate_limited_while_events_keep_arriving() {
        for users in [FEW, MANY] {
            let full = times(&Timeline::new(users).second_of_events(), All);
            let (shortest, longest) = intervals(&full);
            assert!(shortest >= 100_000 && longest < 102_000, "{users}: {full:?}");
        }
    }

    #[test]
    fn scans_of_all_suspects_among_many_are_rate_limited() {
        let scans = Timeline::new(MANY).second_of_events();
        let covering: Vec<_> = scans.into_iter().filter(|scan| scan.1 != FirstDeadHolder).collect();
        // a full scan puts the next one off, too
        for pair in covering.windows(2).filter(|pair| pair[1].1 == ApparentlyDead) {
            let interval = pair[1].0 - pair[0].0;
            assert!((20_000..22_000).contains(&interval), "{covering:?}");
        }
        assert!(times(&covering, ApparentlyDead).len() > 30, "{covering:?}");
    }

    #[test]
    fn new_watcher_scans_a_whole_series() {
        for before in 0..8 {
            let mut timeline = Timeline::with_event_at(FEW, 0);
            timeline.scans(before);
            let time = timeline.next().expect("a scan is scheduled");
            let now = timeline.at(time);
            let scan = timeline.schedule.start_scan(now, true, FEW);
            // the first scan is never full
            assert_eq!(scan.scope, ApparentlyDead);
            timeline.schedule.scan_ended(scan, now, 0);
            let rest: Vec<u64> = timeline.rest().into_iter().map(|scan| scan.0 - time).collect();
            assert_eq!(rest, [50, 350, 2350, 6350, 20_350, 100_350, 500_350], "after {before} scans");
        }
    }

    #[test]
    fn standby_skips_all_scans_at_the_same_times() {
        let mut timeline = Timeline::with_event_at(FEW, 0);
        let mut times = Vec::new();
        while let Some(time) = timeline.next() {
            times.push(time);
            let now = timeline.at(time);
            timeline.schedule.skip_scan(now);
        }
        assert_eq!(times, [0, 50, 350, 2350, 6350, 20_350, 100_350, 500_350]);
        // no slot was scanned
        let unused = Schedule::new(timeline.start);
        assert_eq!(timeline.schedule, unused);
    }

    #[test]
    fn delay_begins_when_the_scan_ends() {
        let mut timeline = Timeline::with_event_at(FEW, 0);
        let scan = timeline.schedule.start_scan(timeline.at(0), false, FEW);
        timeline.schedule.scan_ended(scan, timeline.at(3000), 0);
        assert_eq!(timeline.next(), Some(3050));
    }

    #[test]
    fn cancelled_schedule_is_as_new() {
        let mut timeline = Timeline::with_event_at(MANY, 0);
        timeline.scan(1);
        timeline.schedule.cancel();
        assert_eq!(timeline.schedule, Schedule::new(timeline.start));
        timeline.event_at(0);
        assert_eq!(timeline.rest(), Timeline::with_event_at(MANY, 0).rest());
    }
}
