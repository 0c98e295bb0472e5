//! What is done with a semaphore, step by step, each told to the shared state.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use system_semaphore::{AccessMode, ErrorKind, Permit, SystemSemaphore};

use super::{Actor, BOUND, Step, is_none};
use crate::scene::key;
use crate::shared_state::Stage;

impl Actor {
    pub(super) fn count(&mut self) -> u32 {
        let most = self.me.shared_state.permits.load(SeqCst).min(3);
        if self.random.bool() { 1 } else { 1 + self.random.u32(..most) }
    }

    pub(super) fn holds_more(&self, semaphore: usize, count: u32) {
        self.hand.held[semaphore].fetch_add(count, SeqCst);
    }

    pub(super) fn holds_less(&self, semaphore: usize, count: u32) {
        self.hand.held[semaphore].fetch_sub(count, SeqCst);
    }

    /// A handle that does not borrow this.
    pub(super) fn handle(&self, semaphore: usize) -> SystemSemaphore {
        self.semaphores[semaphore].clone()
    }

    /// Acquires in one of the ways that there are; without a bound only if nothing is held.
    pub(super) fn acquire<'a>(
        &mut self,
        handle: &'a SystemSemaphore,
        semaphore: usize,
        count: u32,
    ) -> Step<Option<Permit<'a>>> {
        self.hand.set_stage(Stage::Acquiring);
        let may_wait_for_ever = self.guards.is_empty() && self.inherited.is_none() && !self.me.is_child;
        let bound = BOUND.mul_f32(self.random.f32());
        let gives_up = self.random.u8(..8) == 0;
        let hand = self.hand;
        let mut naps = 0;
        let mut asleep = || {
            hand.set_stage(Stage::Asleep);
            naps += 1;
            gives_up && naps > 1
        };
        let permit = match (self.random.u8(..3), may_wait_for_ever) {
            (0, true) if count == 1 => handle.acquire(),
            (0, true) => handle.acquire_many(count),
            (1, true) => handle.acquire_interruptible(count, None, &mut asleep),
            (2, _) => handle.acquire_interruptible(count, Some(Instant::now() + bound), &mut asleep),
            _ => handle.acquire_many_timeout(count, bound),
        };
        self.taken(semaphore, permit)
    }

    pub(super) fn try_acquire<'a>(
        &mut self,
        handle: &'a SystemSemaphore,
        semaphore: usize,
        count: u32,
    ) -> Step<Option<Permit<'a>>> {
        self.hand.set_stage(Stage::Acquiring);
        self.taken(semaphore, handle.try_acquire_many(count))
    }

    pub(super) fn taken<'a>(&self, semaphore: usize, outcome: Step<Permit<'a>>) -> Step<Option<Permit<'a>>> {
        match outcome {
            Ok(permit) => {
                self.holds_more(semaphore, permit.num_permits());
                self.hand.set_stage(Stage::Holding);
                Ok(Some(permit))
            }
            Err(error) if is_none(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn give_back(&mut self, semaphore: usize, permit: Permit<'_>) -> Step {
        self.hand.set_stage(Stage::GivingBack);
        self.holds_less(semaphore, permit.num_permits());
        if self.random.bool() {
            drop(permit);
            return Ok(());
        }
        permit.release()
    }

    pub(super) fn give_all_back(&mut self) {
        for (semaphore, permit) in std::mem::take(&mut self.guards) {
            self.hand.set_stage(Stage::GivingBack);
            self.holds_less(semaphore, permit.num_permits());
            drop(permit);
        }
    }

    pub(super) fn visit(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(permit) = self.acquire(&handle, semaphore, count)? {
            self.nap();
            self.give_back(semaphore, permit)?;
        }
        Ok(())
    }

    pub(super) fn try_it(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(permit) = self.try_acquire(&handle, semaphore, count)? {
            self.give_back(semaphore, permit)?;
        }
        Ok(())
    }

    pub(super) fn keep(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(permit) = self.acquire(&handle, semaphore, count)? {
            self.guards.push((semaphore, permit.into_owned()));
            self.nap();
        }
        Ok(())
    }

    pub(super) fn split_and_merge(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(mut permit) = self.acquire(&handle, semaphore, count)? {
            let one = permit.split(1).expect("there is at least one");
            if permit.num_permits() == 0 || self.random.bool() {
                permit.merge(one).expect("they are of one acquire");
            } else {
                self.give_back(semaphore, one)?;
            }
            self.give_back(semaphore, permit)?;
        }
        Ok(())
    }

    pub(super) fn hold_and_release(&mut self, semaphore: usize) -> Step {
        let (handle, count) = (self.handle(semaphore), self.count());
        if let Some(permit) = self.acquire(&handle, semaphore, count)? {
            permit.detach();
            self.nap();
            self.hand.set_stage(Stage::GivingBack);
            self.holds_less(semaphore, count);
            handle.release(count)?;
        }
        Ok(())
    }

    pub(super) fn open_another(&mut self, semaphore: usize) -> Step {
        self.hand.set_stage(Stage::Opening);
        let opened = SystemSemaphore::new(key(self.me.shared_state, semaphore), 0, AccessMode::OpenExisting);
        match opened {
            Ok(other) => {
                if let Some(permit) = self.try_acquire(&other, semaphore, 1)? {
                    self.give_back(semaphore, permit)?;
                }
                self.hand.set_stage(Stage::Closing);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn ask(&mut self, semaphore: usize) -> Step {
        self.hand.set_stage(Stage::Asking);
        let handle = &self.semaphores[semaphore];
        handle.available_permits()?;
        handle.holders()?;
        handle.waiting()?;
        handle.recoveries()?;
        Ok(())
    }

    pub(super) fn reset(&mut self, semaphore: usize) -> Step {
        self.hand.set_stage(Stage::Resetting);
        let permits = self.me.shared_state.permits.load(SeqCst);
        let builder = SystemSemaphore::builder(key(self.me.shared_state, semaphore)).initial_value(permits);
        let opened = builder.mode(AccessMode::Create).max_permits(permits + self.random.u32(..4)).build();
        match opened {
            Err(error) if error.kind() != ErrorKind::TimedOut => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates permits of the first semaphore, or forgets as many as it has created, in one of the ways that there are.
    pub(super) fn mint(&mut self) -> Step {
        let ledger = &self.me.seat.ledger;
        let (balance, _) = ledger.read();
        let amount = self.me.seat.amount.load(SeqCst);
        let handle = self.handle(0);
        if balance == 0 || balance < 4 * amount as i32 && self.random.bool() {
            let held = match self.random.bool() {
                true => self.try_acquire(&handle, 0, 1)?,
                false => None,
            };
            let count = held.map_or(0, |permit| {
                permit.detach();
                self.holds_less(0, 1);
                1
            });
            self.hand.set_stage(Stage::Minting);
            ledger.write(balance, amount as i32);
            if count > 0 {
                handle.release(count + amount)?;
            } else {
                handle.add_permits(amount)?;
            }
            ledger.write(balance + amount as i32, 0);
            return Ok(());
        }
        let permit = match self.is_hasty {
            true => self.try_acquire(&handle, 0, amount)?,
            false => self.acquire(&handle, 0, amount)?,
        };
        let Some(permit) = permit else { return Ok(()) };
        self.holds_less(0, amount);
        self.hand.set_stage(Stage::Minting);
        if self.random.bool() {
            ledger.write(balance, -(amount as i32));
            permit.forget()?;
        } else {
            permit.detach();
            ledger.write(balance, -(amount as i32));
            let forgotten = handle.forget_detached(amount)?;
            assert_eq!(forgotten, amount, "what is held can be forgotten");
        }
        ledger.write(balance - amount as i32, 0);
        Ok(())
    }
}
