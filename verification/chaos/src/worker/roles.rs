//! What workers do in the scenes that are not about all one can do.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};
use system_semaphore::{AccessMode, ErrorKind, SystemSemaphore};

use super::{Actor, LONGEST_SLEEP, Step};
use crate::scene::{Scene, key};
use crate::shared_state::Stage;
use crate::unsafe_calls;

impl Actor {
    /// Opens, uses and closes, each time the first or the last or neither.
    pub(super) fn visit_again_and_again(&mut self) -> Step {
        let permits = self.me.shared_state.permits.load(SeqCst);
        while !self.is_over() {
            self.burn()?;
            self.hand.set_stage(Stage::Opening);
            let mode = if self.random.u8(..4) == 0 { AccessMode::OpenExisting } else { AccessMode::Open };
            match SystemSemaphore::new(key(self.me.shared_state, 0), permits, mode) {
                Ok(opened) => self.semaphores.push(opened),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(error),
            }
            for _ in 0..self.random.u32(..4) {
                if permits == 1 { self.enter()? } else { self.visit(0)? }
            }
            self.hand.set_stage(Stage::Closing);
            self.semaphores.clear();
            self.hand.set_stage(Stage::Idle);
            self.nap();
        }
        Ok(())
    }

    /// Where there is one permit, whoever has it is alone.
    pub(super) fn enter(&mut self) -> Step {
        let handle = self.handle(0);
        let Some(permit) = self.acquire(&handle, 0, 1)? else { return Ok(()) };
        // who was killed in there has left its mark
        let mark = self.random.u64(1..);
        self.me.shared_state.inside.store(mark, SeqCst);
        self.nap();
        let found = self.me.shared_state.inside.load(SeqCst);
        if found != mark {
            self.me.shared_state.complain(&format!("two were inside with one permit: {}", self.me.seat));
        }
        self.give_back(0, permit)
    }

    /// Takes permits and keeps them until it is killed.
    pub(super) fn take_and_keep(&mut self) -> Step {
        self.hand.set_stage(Stage::Opening);
        let handle = SystemSemaphore::new(key(self.me.shared_state, 0), 0, AccessMode::OpenExisting)?;
        let share = self.me.seat.amount.load(SeqCst);
        let slots = if Scene::of(self.me.shared_state) == Scene::Graves { share - 1 } else { 0 };
        let _permit = handle.acquire_many(share - slots)?;
        // each has a slot of its own
        let inheritable = (0..slots).map(|_| handle.acquire_inheritable(1, None));
        let _inheritable = inheritable.collect::<Result<Vec<_>, _>>()?;
        self.holds_more(0, share);
        self.hand.set_stage(Stage::Holding);
        loop {
            thread::park();
        }
    }

    /// Looks for the dead as soon as there are some, and is killed meanwhile.
    pub(super) fn inherit_and_die(&mut self, microseconds: u32) -> Step {
        self.hand.set_stage(Stage::Opening);
        let handle = SystemSemaphore::new(key(self.me.shared_state, 0), 0, AccessMode::OpenExisting)?;
        self.hand.set_stage(Stage::Idle);
        while self.me.shared_state.is_time.load(SeqCst) == 0 {
            thread::sleep(Duration::from_micros(50));
        }
        self.hand.set_stage(Stage::Asking);
        self.die_within(microseconds);
        loop {
            handle.available_permits()?;
        }
    }

    /// Waits for a turn.
    pub(super) fn queue(&mut self) -> Step {
        let permits = self.me.shared_state.permits.load(SeqCst);
        self.hand.set_stage(Stage::Opening);
        let handle = SystemSemaphore::new(key(self.me.shared_state, 0), 0, AccessMode::OpenExisting)?;
        let together = self.me.shared_state.together.load(SeqCst) > 0;
        let count = if !together && self.random.u8(..4) == 0 { 1 + self.random.u32(..permits) } else { 1 };
        let hand = self.hand;
        let mut last_nap = Instant::now();
        let mut naps = || {
            hand.set_stage(Stage::Asleep);
            hand.naps.fetch_add(1, SeqCst);
            last_nap = Instant::now();
            false
        };
        let permit = handle.acquire_interruptible(count, None, &mut naps)?;
        self.holds_more(0, count);
        self.hand.set_stage(Stage::Holding);
        self.me.shared_state.late.fetch_add((last_nap.elapsed() >= LONGEST_SLEEP).into(), SeqCst);
        self.me.shared_state.through.fetch_add(1, SeqCst);
        while self.me.shared_state.through.load(SeqCst) < self.me.shared_state.together.load(SeqCst) {
            thread::sleep(Duration::from_micros(50));
        }
        self.nap();
        match self.random.u8(..3) {
            0 if self.is_alone => die(),
            1 if self.is_alone => unsafe_calls::exit_at_once(0),
            _ => self.give_back(0, permit)?,
        }
        self.hand.set_stage(Stage::Closing);
        Ok(())
    }
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
    loop {
        thread::park();
    }
}
