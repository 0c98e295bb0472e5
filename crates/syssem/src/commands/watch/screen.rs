//! The terminal.

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

/// The alternate screen. Dropping it gives the terminal back as it was.
pub(super) struct Screen {
    is_over: Arc<AtomicBool>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        // first, so that nobody can end us in between
        #[cfg(unix)]
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT]
        {
            signal_hook::flag::register(signal, Arc::clone(&is_over))?;
        }
        let screen = Self { is_over };
        take_terminal()?;
        Ok(screen)
    }

    /// Draws lines, which are made for a width.
    pub(super) fn draw(&mut self, lines: impl FnOnce(usize) -> Vec<String>) -> io::Result<()> {
        let (width, height) = size().map(|(width, height)| (usize::from(width), usize::from(height)))?;
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate, MoveTo(0, 0), Clear(ClearType::All))?;
        write_lines(&mut out, &lines(width), width, height)?;
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }

    /// Waits for the next sample; tells whether somebody wants it to end.
    pub(super) fn is_to_end(&mut self, wait: Duration) -> io::Result<bool> {
        let next = Instant::now() + wait;
        loop {
            if self.is_over.load(Ordering::Relaxed) {
                return Ok(true);
            }
            match event::poll(next.saturating_duration_since(Instant::now())) {
                Ok(true) => {}
                Ok(false) => return Ok(self.is_over.load(Ordering::Relaxed)),
                // a signal, perhaps the one
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let Event::Key(key) = event::read()? else { continue };
            let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                KeyCode::Char('c' | 'd') if with_control => return Ok(true),
                #[cfg(unix)]
                KeyCode::Char('z') if with_control => stop()?,
                _ => {}
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_terminal_back();
    }
}

fn take_terminal() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide).inspect_err(|_| give_terminal_back())
}

fn give_terminal_back() {
    // whatever of it still works
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// What Ctrl+Z does where keys are only keys.
#[cfg(unix)]
fn stop() -> io::Result<()> {
    give_terminal_back();
    signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
    take_terminal()
}

/// Writes lines, each cut to the width.
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
