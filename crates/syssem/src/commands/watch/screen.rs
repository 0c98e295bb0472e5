//! Draws on the terminal's alternate screen and reads its keys.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};

/// The alternate screen. Dropping it restores the terminal.
pub(crate) struct Screen {
    quit_requested: Arc<AtomicBool>,
}

impl Screen {
    pub(crate) fn enter() -> io::Result<Self> {
        let quit_requested = Arc::new(AtomicBool::new(false));
        // Without these handlers, a signal after `enter_screen` would end the process and leave the
        // terminal in raw mode.
        #[cfg(unix)]
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT]
        {
            signal_hook::flag::register(signal, Arc::clone(&quit_requested))?;
        }
        let screen = Self { quit_requested };
        enter_screen()?;
        Ok(screen)
    }

    /// Draws the lines that `lines` returns for the screen's width.
    pub(crate) fn draw(&mut self, lines: impl FnOnce(usize) -> Vec<String>) -> io::Result<()> {
        let (width, height) = size().map(|(width, height)| (usize::from(width), usize::from(height)))?;
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate, MoveTo(0, 0), Clear(ClearType::All))?;
        write_lines(&mut out, &lines(width), width, height)?;
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }

    /// Waits this long, and returns whether a key or a signal asked `watch` to end.
    pub(crate) fn wait_for_quit(&mut self, wait: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + wait;
        loop {
            if self.quit_requested.load(Ordering::Relaxed) {
                return Ok(true);
            }
            match event::poll(deadline.saturating_duration_since(Instant::now())) {
                Ok(true) => {}
                Ok(false) => return Ok(self.quit_requested.load(Ordering::Relaxed)),
                // The signal may be one that sets `quit_requested`.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let Event::Key(key) = event::read()? else { continue };
            let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                KeyCode::Char('c' | 'd') if has_control => return Ok(true),
                #[cfg(unix)]
                KeyCode::Char('z') if has_control => suspend()?,
                _ => {}
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore_terminal();
    }
}

fn enter_screen() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide).inspect_err(|_| restore_terminal())
}

fn restore_terminal() {
    // An error of one step must not prevent the other.
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// Stops this process, as Ctrl+Z does outside raw mode.
#[cfg(unix)]
fn suspend() -> io::Result<()> {
    restore_terminal();
    signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
    enter_screen()
}

/// Writes the lines that fit the height, each cut to the width.
fn write_lines(out: &mut impl Write, lines: &[String], width: usize, height: usize) -> io::Result<()> {
    for (row, line) in lines.iter().take(height).enumerate() {
        if row > 0 {
            write!(out, "\r\n")?;
        }
        let cut: String = line.chars().take(width).collect();
        write!(out, "{cut}")?;
    }
    Ok(())
}
