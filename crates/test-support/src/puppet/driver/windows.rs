//! Windows does not tell who waits for a semaphore.

use std::time::Duration;

use super::Puppet;

/// How long is looked for an answer that must not come. (Nothing is waited for: who is slow is not noticed to be wrong.)
const WATCH: Duration = Duration::from_millis(50);

impl Puppet {
    pub(super) fn see_it_block(&self, command: &str) {
        let answer = self.answers.recv_timeout(WATCH);
        assert!(answer.is_err(), "{command:?} was to block, but it has answered {answer:?}");
    }
}
