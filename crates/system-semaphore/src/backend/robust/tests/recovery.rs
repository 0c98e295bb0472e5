//! The recovery of what dead processes held.

use std::time::Duration;

use test_support::wait_until;

use super::super::failpoint::Failpoint;
use super::actor::Actor;
use super::{MANY, Meanwhile, TestSemaphore, take_one};
use crate::ErrorKind;

const RECOVERY: [Failpoint; 7] = [
    Failpoint::RecoveryBegins,
    Failpoint::RecoveryResolved,
    Failpoint::BeforeSwap,
    Failpoint::AfterSwap,
    Failpoint::RecoveryReleased,
    Failpoint::BeforeWake,
    Failpoint::RecoveryWoke,
];

#[test]
fn recoverers_killed_one_after_another_lose_nothing() {
    for step in RECOVERY {
        for second in RECOVERY {
            for meanwhile in [Meanwhile::Nothing, Meanwhile::AnotherOperation, Meanwhile::Reset] {
                let test = TestSemaphore::new(5);
                let mut holder = Actor::with(&test);
                holder.must("acquire\ts\t2");
                holder.must("acquire\ts\t1");
                let mut recoverers = [Actor::with(&test), Actor::with(&test)];
                holder.kill();
                let mut context = format!("meanwhile {meanwhile:?}, killed");
                for (recoverer, step) in recoverers.iter_mut().zip([step, second]) {
                    recoverer.must(&format!("halt\t{step:?}"));
                    recoverer.send("available\ts");
                    // what the first had done already, the second does not come to
                    let halted = recoverer.answer().expect("it looks, or halts");
                    context += &format!(" {halted}");
                    if !halted.is_empty() {
                        meanwhile.happen(&test);
                    }
                }
                recoverers.into_iter().for_each(Actor::kill);
                let free = match meanwhile {
                    Meanwhile::AnotherOperation => 5 + context.matches("halted at").count() as u32,
                    _ => meanwhile.free(5),
                };
                test.assert_permits(free, 0, &context);
                let recoveries = test.semaphore.recoveries().expect("it is told");
                assert!(recoveries >= 1 || meanwhile == Meanwhile::Reset, "{context}");
            }
        }
    }
}

/// The recoverer is somebody who uses the semaphore, or somebody who opens it and has no slot yet.
#[test]
fn waiter_gets_permit_of_recoverer_killed_at_any_step() {
    for step in RECOVERY {
        for is_user in [true, false] {
            let test = TestSemaphore::new(1);
            let mut holder = Actor::with(&test);
            holder.must("acquire\ts\t1");
            let mut waiter = Actor::with(&test);
            let mut recoverer = if is_user { Actor::with(&test) } else { Actor::start() };
            let open = test.opening(0, "Open");
            holder.kill();
            // before the waiter's process can be first
            recoverer.halt_in(if is_user { "available\ts" } else { &open }, Failpoint::RecoveryBegins);
            waiter.fall_asleep("acquire\ts\t1", &test);
            if step != Failpoint::RecoveryBegins {
                recoverer.send(&format!("go\t{step:?}"));
                recoverer.assert_halts(step);
            }
            recoverer.kill();
            assert_eq!(waiter.answer(), Ok(String::new()), "{step:?}, user {is_user}");
            test.assert_permits(0, 1, format!("{step:?}, user {is_user}"));
        }
    }
}

#[test]
fn timeout_error_names_stopped_recoverer() {
    let test = TestSemaphore::new(1);
    let mut dead = Actor::with(&test);
    dead.must("acquire\ts\t1");
    let dead_pid = dead.pid();
    let mut recoverer = Actor::with(&test);
    dead.kill();
    recoverer.halt_in("available\ts", Failpoint::RecoveryResolved);
    recoverer.stop();
    let timeout = Duration::from_millis(20);
    let error = test.semaphore.acquire_timeout(timeout).expect_err("it is not yet given back");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    for pid in [dead_pid, recoverer.pid()] {
        assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    }
    recoverer.resume();
    recoverer.must("go");
    drop(test.semaphore.acquire().expect("it is given back"));
    test.assert_permits(1, 0, "all is back");
}

#[test]
fn dead_users_are_found_among_many() {
    let test = TestSemaphore::new(3);
    let mut users: Vec<_> = (0..MANY).map(|_| test.open_mapped()).collect();
    [7, MANY - 2, MANY - 1].iter().for_each(|index| take_one(&users[*index]));
    // Nothing of it is written down: as if it had been killed. (A process that another test is just starting has a copy of
    // its descriptor until it executes its program.)
    drop(users.pop());
    drop(users.remove(7));
    wait_until("two of three have died", || test.permits() == (2, 1));
    let mapped = test.open_mapped();
    // the test's, and the one that looks
    assert_eq!(mapped.living_slots().expect("it can be looked at").len(), users.len() + 2);
    assert_eq!(mapped.layout().used_slots().count(), users.len() + 2);
    // a dead one that nobody has recovered yet is none of the living
    drop(users.pop());
    let living = || mapped.living_slots().expect("it can be looked at").len();
    wait_until("it is none of the living", || living() == users.len() + 2);
    users.iter().for_each(|mapped| test.close(mapped));
    test.close(&mapped);
}
