//! Processes that die or stop in the middle of an operation.

use super::super::algorithm::mapped_file::MappedFile;
use super::super::algorithm::operation::{Operation, WaitersFlag};
use super::super::failpoint::Failpoint;
use super::actor::Actor;
use super::{MANY, Meanwhile, TestSemaphore, operate, take_one};

#[test]
fn death_mid_operation_is_atomic() {
    // what is done before, the operation, and what is free after a death before and after the swap
    let cases: [(&[&str], &str, u32, u32); 6] = [
        (&[], "acquire\ts\t1", 10, 10),
        (&[], "acquire\ts\t3", 10, 10),
        (&["acquire\ts\t2"], "drop\ts", 10, 10),
        (&[], "release\ts\t5", 10, 15),
        (&["acquire\ts\t3", "hold\ts"], "release\ts\t5", 10, 12),
        (&["acquire\ts\t3", "forget\ts", "acquire\ts\t1"], "drop\ts", 7, 7),
    ];
    for (before, operation, undone, done) in cases {
        for (step, free) in [(Failpoint::BeforeSwap, undone), (Failpoint::AfterSwap, done)] {
            for meanwhile in Meanwhile::ALL {
                let test = TestSemaphore::new(10);
                let mut actor = Actor::with(&test);
                before.iter().for_each(|command| drop(actor.must(command)));
                actor.halt_in(operation, step);
                meanwhile.happen(&test);
                actor.kill();
                let context = format!("{before:?}, {operation:?}, killed {step:?}, meanwhile {meanwhile:?}");
                test.assert_permits(meanwhile.free(free), 0, context);
            }
        }
    }
}

#[test]
fn helped_process_completes_its_operation() {
    for step in [Failpoint::BeforeSwap, Failpoint::AfterSwap] {
        for meanwhile in Meanwhile::ALL {
            let test = TestSemaphore::new(10);
            let mut actor = Actor::with(&test);
            actor.halt_in("acquire\ts\t2", step);
            meanwhile.happen(&test);
            actor.must("go");
            let context = format!("{step:?}, meanwhile {meanwhile:?}");
            // an acquire that was applied before the reset is void
            let held = if meanwhile == Meanwhile::Reset && step == Failpoint::AfterSwap { 0 } else { 2 };
            let taken_after_reset = if meanwhile == Meanwhile::Reset { held } else { 0 };
            test.assert_permits(meanwhile.free(10 - held) - taken_after_reset, held, &context);
            actor.must("drop\ts");
            test.assert_permits(meanwhile.free(10), 0, &context);
        }
    }
}

#[test]
fn permits_of_holders_that_die_together_come_back() {
    for number_of_others in [0, MANY] {
        let test = TestSemaphore::new(3 + number_of_others as u32);
        let others: Vec<_> = (0..number_of_others).map(|_| test.open_mapped()).collect();
        others.iter().for_each(take_one);
        let mut holders: Vec<Actor> = (0..3).map(|_| Actor::with(&test)).collect();
        holders.iter_mut().for_each(|holder| drop(holder.must("acquire\ts\t1")));
        let mut waiter = Actor::with(&test);
        waiter.fall_asleep("acquire\ts\t3", &test);
        // so that it is told of all at once, and the same reports are one
        waiter.stop();
        holders.into_iter().for_each(Actor::kill);
        waiter.resume();
        assert_eq!(waiter.answer(), Ok(String::new()), "among {number_of_others} others");
        test.assert_permits(0, 3 + number_of_others as u32, "it has what they had");
        let epoch = others.first().map_or(0, MappedFile::resolve_epoch);
        let give_back = Operation::release(1, epoch, WaitersFlag::Keep);
        others.iter().for_each(|user| operate(user, &give_back));
        others.iter().for_each(|mapped| test.close(mapped));
        test.assert_permits(number_of_others as u32, 3, "the others have gone");
    }
}

#[test]
fn stopped_process_blocks_nobody() {
    let cases: [(&str, Failpoint); 6] = [
        ("acquire\ts\t1", Failpoint::BeforeSwap),
        ("acquire\ts\t1", Failpoint::AfterSwap),
        ("drop\ts", Failpoint::AfterSwap),
        ("release\ts\t1", Failpoint::AfterSwap),
        ("available\ts", Failpoint::RecoveryResolved),
        ("available\ts", Failpoint::AfterSwap),
    ];
    for (command, step) in cases {
        let test = TestSemaphore::new(5);
        let mut dead = Actor::with(&test);
        dead.must("acquire\ts\t1");
        let mut actor = Actor::with(&test);
        actor.must("acquire\ts\t1");
        if command == "available\ts" {
            dead.kill();
        }
        actor.halt_in(command, step);
        actor.stop();
        for _ in 0..100 {
            drop(test.semaphore.acquire_many(2).expect("there are enough"));
        }
        test.semaphore.add_permits(1).expect("there is room");
        let again = test.create(7);
        drop(again.acquire_many(7).expect("all are free"));
        actor.resume();
        actor.must("go");
        let context = format!("{command:?} {step:?}");
        if command == "acquire\ts\t1" && step == Failpoint::BeforeSwap {
            test.assert_permits(6, 1, context);
        } else if command == "release\ts\t1" {
            test.assert_permits(7, 0, context);
        } else {
            actor.kill();
            test.assert_permits(7, 0, context);
        }
    }
}
