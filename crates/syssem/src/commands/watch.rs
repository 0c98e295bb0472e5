//! `watch`: semaphores live, ten times a second; which there are, once a second, since that opens and closes each of them.
//!
//! It looks by an [`Observer`], which takes and writes nothing. In a terminal it draws on the alternate screen, and however it
//! ends, but for SIGKILL, the terminal is as it was.

mod render;
mod sampler;
mod screen;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use self::render::{line, paragraph};
use self::sampler::{Subject, Watched};
use self::screen::Screen;
use crate::cli::{self, Watch};
use crate::error::Trouble;
use crate::output::Answer;

const SAMPLE: Duration = Duration::from_millis(100);

pub(crate) fn watch(options: &Watch, answer: &Answer) -> Result<u8, Trouble> {
    let keys = options.keys.iter().map(|key| cli::native(key, options.key_type));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let mut watched = Watched {
        follows_all: keys.is_empty(),
        listed: None,
        subjects: keys.into_iter().map(Subject::new).collect(),
    };
    if io::stdout().is_terminal() && !answer.is_json() {
        return watch_on(Screen::enter()?, &mut watched);
    }
    let mut before = None;
    loop {
        let samples = watched.samples()?;
        if before.as_ref() != Some(&samples) {
            answer.give(&samples, || samples.iter().map(line).collect())?;
            before = Some(samples);
        }
        thread::sleep(SAMPLE);
    }
}

fn watch_on(mut screen: Screen, watched: &mut Watched) -> Result<u8, Trouble> {
    loop {
        let samples = watched.samples()?;
        screen.draw(|width| samples.iter().flat_map(|sample| paragraph(sample, width)).collect())?;
        if screen.is_to_end(SAMPLE)? {
            return Ok(0);
        }
    }
}
