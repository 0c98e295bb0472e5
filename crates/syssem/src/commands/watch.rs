//! `watch`: shows semaphores live.
//!
//! An [`Observer`](system_semaphore::Observer) samples each semaphore ten times a second. It
//! acquires and writes nothing. In a terminal, `watch` draws on the alternate screen. Unless it is
//! killed by SIGKILL, it restores the terminal when it ends.

mod render;
mod sampler;
mod screen;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use self::render::{render_line, render_paragraph};
use self::sampler::Sampler;
use self::screen::Screen;
use crate::cli::{WatchArgs, native_key};
use crate::error::CliError;
use crate::output::Output;

const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn execute(args: &WatchArgs, output: &Output) -> Result<u8, CliError> {
    let keys = args.keys.iter().map(|key| native_key(key, args.key_type));
    let mut sampler = Sampler::new(keys.collect::<Result<_, _>>()?);
    if io::stdout().is_terminal() && !output.is_json() {
        draw_on_screen(Screen::enter()?, &mut sampler)
    } else {
        print_changes(&mut sampler, output)
    }
}

fn draw_on_screen(mut screen: Screen, sampler: &mut Sampler) -> Result<u8, CliError> {
    loop {
        let samples = sampler.sample()?;
        screen.draw(|width| samples.iter().flat_map(|sample| render_paragraph(sample, width)).collect())?;
        if screen.wait_for_quit(SAMPLE_INTERVAL)? {
            return Ok(0);
        }
    }
}

fn print_changes(sampler: &mut Sampler, output: &Output) -> Result<u8, CliError> {
    let mut previous = None;
    loop {
        let samples = sampler.sample()?;
        if previous.as_ref() != Some(&samples) {
            output.print(&samples, || samples.iter().map(render_line).collect())?;
            previous = Some(samples);
        }
        thread::sleep(SAMPLE_INTERVAL);
    }
}
