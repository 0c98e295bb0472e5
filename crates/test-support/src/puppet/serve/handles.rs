//! Opening and closing semaphores.

use std::sync::Arc;

use system_semaphore::{Error, SystemSemaphore};

use super::{Answer, Puppet, done, number, parse_key, parse_mode};

impl Puppet {
    pub(super) fn obey_handles(self: &Arc<Self>, fields: &[&str]) -> Option<Answer> {
        Some(done(match *fields {
            ["open", handle, key, initial, mode] => {
                let semaphore = SystemSemaphore::new(parse_key(key), number(initial), parse_mode(mode));
                semaphore.map(|semaphore| self.add(handle, semaphore))
            }
            ["build", handle, key, ref options @ ..] => {
                build(key, options).map(|semaphore| self.add(handle, semaphore))
            }
            ["clone", handle, new] => {
                self.add(new, self.semaphore(handle));
                Ok(())
            }
            ["close", handle] => {
                drop(self.take(handle));
                Ok(())
            }
            ["remove", key] => SystemSemaphore::remove(parse_key(key)),
            ["open-many", key, count] => open_many(key, number(count)),
            _ => return None,
        }))
    }
}

fn build(key: &str, options: &[&str]) -> Result<SystemSemaphore, Error> {
    let mut builder = SystemSemaphore::builder(parse_key(key));
    for option in options {
        builder = match option.split_once('=').unwrap_or((option, "")) {
            ("initial", value) => builder.initial_value(number(value)),
            ("mode", value) => builder.mode(parse_mode(value)),
            ("max", value) => builder.max_permits(number(value)),
            ("permissions", value) => builder.permissions(u32::from_str_radix(value, 8).expect("octal")),
            ("persistent", "") => builder.persistent(true),
            _ => panic!("no option: {option:?}"),
        };
    }
    builder.build()
}

/// Opens semaphores of this key with a number behind it, and never closes them.
fn open_many(key: &str, count: u32) -> Result<(), Error> {
    for number in 0..count {
        let semaphore = SystemSemaphore::open(parse_key(&format!("{key}{number}")), 1)?;
        std::mem::forget(semaphore);
    }
    Ok(())
}
