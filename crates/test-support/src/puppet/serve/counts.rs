//! Questions.

use std::sync::Arc;

use super::{Answer, Puppet, count, say_error, text};
use crate::free;

impl Puppet {
    pub(super) fn obey_counts(self: &Arc<Self>, fields: &[&str]) -> Option<Answer> {
        let [question, handle] = *fields else { return None };
        let semaphore = match question {
            "available" | "holders" | "recoveries" | "waiting" | "held" => self.semaphore(handle),
            _ => return None,
        };
        Some(match question {
            "available" => count(free(&semaphore)),
            "holders" => {
                count(semaphore.holders().map(|holders| holders.iter().map(|holder| holder.permits).sum()))
            }
            "recoveries" => semaphore.recoveries().map(|count| count.to_string()).map_err(say_error),
            "waiting" => count(semaphore.waiting()),
            _ => Ok(text(semaphore.detached_permits())),
        })
    }
}
