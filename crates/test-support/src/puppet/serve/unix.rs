//! What only Unix has: forks, other programs in one's own process, signals, descriptors, users.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use system_semaphore::SystemSemaphore;

use super::{Answer, Handle, Puppet, ROLE, exit, lock, number, say_began, say_error, text};
use crate::process;
use crate::puppet::{child_check, wait_until};
use crate::unsafe_calls::signal;

impl Puppet {
    /// Does one command, if it is one of these.
    pub(super) fn obey_unix(self: &Arc<Self>, fields: &[&str]) -> Option<Answer> {
        Some(match *fields {
            ["forked", name] => self.check_child(name),
            ["fork", handle, permits] => self.fork(handle, number(permits)),
            ["child"] => self.serve_by_child(),
            ["child-exit"] => signal::exit_at_once(0),
            ["hand-over", how] => Ok(text(self.hand_over(how))),
            ["spawn"] => {
                let mut command = crate::Puppet::this_program();
                let child = command.env(ROLE, "bystander").spawn();
                Ok(text(child.expect("this program can be started").id()))
            }
            ["exec", program] => panic!("cannot become {program}: {}", Command::new(program).exec()),
            ["close-descriptors"] => after(signal::close_all_but_the_standard_descriptors),
            ["become", user] => after(|| signal::become_user(number(user))),
            ["pairs", handle, times] => after(|| pairs(&self.semaphore(handle), number(times))),
            ["interruptible", handle, permits, ref timeout @ ..] => {
                self.acquire_interruptible(handle, number(permits), timeout.first().map(|ms| number(ms)))
            }
            ["inheritable", handle, permits] => self.acquire_inheritable(handle, number(permits)),
            ["drop-inheritable", handle] => {
                let mut handles = lock(&self.handles);
                let permit = handles.get_mut(handle).and_then(|handle| handle.inheritable.pop());
                after(|| drop(permit.expect("the handle has one")))
            }
            _ => return None,
        })
    }

    fn check_child(&self, name: &str) -> Answer {
        let Handle { semaphore, mut guards, .. } = self.take(name);
        let mut semaphore = Some(semaphore);
        let outcome = child_check::check(&mut semaphore, &mut guards);
        let semaphore = semaphore.expect("a child takes nothing from its parent");
        lock(&self.handles).insert(name.to_owned(), Handle::new(semaphore, guards));
        outcome.map(|()| String::new()).map_err(|message| format!("error\tForked\t{message}"))
    }

    fn fork(&self, handle: &str, permits: u32) -> Answer {
        let semaphore = self.semaphore(handle);
        let taken = signal::fork_bystander(|| permits == 0 || take_for_ever(&semaphore, permits));
        taken.map(text).ok_or_else(|| "error\tForked\tthe child got no permit".to_owned())
    }

    fn acquire_interruptible(&self, handle: &str, permits: u32, timeout: Option<u32>) -> Answer {
        let semaphore = self.semaphore(handle);
        signal::count_user_signals();
        say_began();
        let deadline = timeout.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
        let mut ends = || signal::user_signals() >= 2;
        let permit = semaphore.acquire_interruptible(permits, deadline, &mut ends);
        self.keep(handle, permit.map_err(say_error)?.into_owned());
        Ok(signal::user_signals().to_string())
    }

    fn acquire_inheritable(&self, handle: &str, permits: u32) -> Answer {
        let semaphore = self.semaphore(handle);
        say_began();
        let permit = semaphore.acquire_inheritable(permits, None).map_err(say_error)?;
        lock(&self.handles).get_mut(handle).expect("the handle is open").inheritable.push(permit);
        Ok(String::new())
    }

    /// Lets a forked child do what is told until `child-exit`. Returns in both.
    fn serve_by_child(&self) -> Answer {
        match signal::fork_and_wait() {
            Ok(None) => {
                self.forget_threads();
                Ok(String::new())
            }
            Ok(Some(0)) => Ok("the child is gone".to_owned()),
            Ok(Some(status)) => Err(format!("error\tForked\tthe child ended with status {status}")),
            Err(error) => Err(format!("error\tForked\tcannot fork: {error}")),
        }
    }

    /// Lets a forked child take this process's place, which then leaves. Returns in the child.
    fn hand_over(&self, how: &str) -> u32 {
        let parent = std::process::id();
        if signal::fork_successor() {
            self.forget_threads();
            wait_until("the parent is gone", || process::is_gone(parent));
            return std::process::id();
        }
        match how {
            "close" => {
                let handles = std::mem::take(&mut *lock(&self.handles));
                drop(handles);
                exit()
            }
            "die" => signal::die(),
            other => panic!("no way to leave: {other:?}"),
        }
    }

    /// In a forked child: these threads are not here, and others may get their numbers.
    fn forget_threads(&self) {
        std::mem::forget(std::mem::take(&mut *lock(&self.threads)));
    }
}

fn after(what: impl FnOnce()) -> Answer {
    what();
    Ok(String::new())
}

/// Takes permits that stay until the process ends.
fn take_for_ever(semaphore: &SystemSemaphore, permits: u32) -> bool {
    semaphore.try_acquire_many(permits).map(std::mem::forget).is_ok()
}

/// Acquires and gives back, and may do nothing else. Ends the process.
fn pairs(semaphore: &SystemSemaphore, times: u32) {
    signal::allow_nothing_but_to_exit();
    for _ in 0..times {
        if semaphore.acquire().is_err() {
            signal::exit_at_once(1);
        }
    }
    signal::exit_at_once(42);
}
