//! What happens in a round.

use std::sync::atomic::Ordering::SeqCst;

use system_semaphore::{KeyType, NativeIpcKey};

use crate::shared_state::SharedState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Scene {
    /// All that one can do with semaphores that stay.
    Crowd,
    /// Semaphores are reset all the time.
    Resets,
    /// Processes open and close all the time, so that semaphores come and go.
    Visitors,
    /// All permits are taken and many wait; then those who have them are killed.
    Queue,
    /// Many die at once, and those who give back what they held die, too.
    Graves,
}

pub(crate) const SCENES: [Scene; 5] =
    [Scene::Crowd, Scene::Resets, Scene::Visitors, Scene::Queue, Scene::Graves];

impl Scene {
    pub(crate) fn of(shared_state: &SharedState) -> Self {
        SCENES[shared_state.scene.load(SeqCst) as usize % SCENES.len()]
    }
}

/// The names of a run.
pub(crate) fn name(driver: u32, semaphore: usize) -> String {
    format!("chaos-{driver}-{semaphore}")
}

pub(crate) fn key(shared_state: &SharedState, semaphore: usize) -> NativeIpcKey {
    NativeIpcKey::new(name(shared_state.driver.load(SeqCst), semaphore), KeyType::Robust)
}
