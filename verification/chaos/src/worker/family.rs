//! Forking, and becoming another program.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use system_semaphore::InheritablePermit;

use super::{Actor, BOUND, LIFE, Myself, Step, is_none};
use crate::shared_state::{Seat, Stage, WORKERS};
use crate::unsafe_calls;

impl Actor {
    /// Forks, or becomes another program, with or without permits that follow.
    pub(super) fn found_family(&mut self) -> Step {
        match self.random.u8(..16) {
            0..=3 => self.fork(None),
            4 => {
                let permit = self.inheritable()?;
                self.fork(permit)
            }
            5 if self.inherited.is_none() => {
                let permit = self.inheritable()?;
                self.become_another(permit)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn inheritable(&mut self) -> Step<Option<InheritablePermit>> {
        self.hand.set_stage(Stage::Acquiring);
        match self.semaphores[0].acquire_inheritable(1, Some(Instant::now() + BOUND)) {
            Ok(permit) => Ok(Some(permit)),
            Err(error) if is_none(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn fork(&mut self, permit: Option<InheritablePermit>) -> Step {
        if self.me.shared_state.children().iter().all(|seat| seat.pid.load(SeqCst) != 0) {
            return Ok(());
        }
        self.hand.set_stage(Stage::Forking);
        // if the system has no room there is no child
        if unsafe_calls::fork().unwrap_or(false) {
            self.live_as_child(permit);
        }
        drop(permit);
        Ok(())
    }

    pub(super) fn become_another(&mut self, permit: Option<InheritablePermit>) -> Step {
        self.hand.set_stage(Stage::Becoming);
        self.me.seat.is_leaving.store(1, SeqCst);
        self.me.seat.seed.store(self.random.u64(..), SeqCst);
        let mut command = self.program();
        if let Some(permit) = &permit {
            command.args([permit.as_fd().as_raw_fd().to_string(), permit.num_permits().to_string()]);
        }
        panic!("cannot become this program again: {}", command.exec());
    }

    pub(super) fn program(&self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(["play", &self.me.file.to_string(), &self.me.number.to_string()]);
        command
    }

    /// What a forked child does with what it has inherited.
    pub(super) fn live_as_child(&mut self, permit: Option<InheritablePermit>) -> ! {
        let pid = process::id();
        let is_free = |seat: &&Seat| seat.pid.compare_exchange(0, pid, SeqCst, SeqCst).is_ok();
        let children = self.me.shared_state.children();
        let Some(number) = (0..children.len()).find(|number| is_free(&&children[*number])) else {
            unsafe_calls::exit_at_once(0)
        };
        let seat = &self.me.shared_state.seats[WORKERS + number];
        seat.seed.store(self.random.u64(..), SeqCst);
        self.me = Myself { number: WORKERS + number, seat, is_child: true, ..self.me };
        self.hand = &seat.hands[0];
        self.me.begin(None);
        let outcome = self.live(permit);
        if let Err(error) = outcome {
            self.me.shared_state.complain(&format!("{error:?} in the child {seat}"));
            unsafe_calls::exit_at_once(1);
        }
        unsafe_calls::exit_at_once(0)
    }

    pub(super) fn live(&mut self, permit: Option<InheritablePermit>) -> Step {
        self.hand.set_stage(Stage::Idle);
        for (_, inherited) in std::mem::take(&mut self.guards) {
            if inherited.num_permits() != 0 {
                self.me.shared_state.complain("a child has inherited permits");
            }
            if self.random.bool() {
                drop(inherited);
            } else {
                inherited.forget()?;
            }
        }
        // of its parent, which has it as well
        drop(self.inherited.take());
        if let Some(permit) = &permit {
            self.holds_more(0, permit.num_permits());
        }
        let steps = self.random.u32(..LIFE);
        self.steps(steps)?;
        if let Some(permit) = permit {
            self.holds_less(0, permit.num_permits());
            if self.random.bool() {
                drop(permit);
            } else {
                std::mem::forget(permit);
            }
        }
        self.me.seat.is_leaving.store(1, SeqCst);
        if self.random.u8(..3) == 0 && !self.is_over() {
            self.hand.set_stage(Stage::Becoming);
            panic!("cannot become this program again: {}", self.program().exec());
        }
        if self.random.bool() {
            self.guards.clear();
            self.semaphores.clear();
        }
        Ok(())
    }
}
