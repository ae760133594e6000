//! The terminal while a picture is on it: its alternate screen, without echo. Whatever ends the picture gives it back.

use std::io::{IsTerminal as _, Stderr, stderr};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::layout::Rect;

use super::draw::Scene;
use crate::{output, signals};

/// Whether the terminal is in the alternate screen.
static ON: AtomicBool = AtomicBool::new(false);
/// The hook that gives the terminal back before a panic is told.
static HOOK: Once = Once::new();

/// The terminal of standard error.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl Screen {
    /// Takes the terminal; `None` where there is none that can show pictures, or this process is in its background.
    pub(super) fn enter() -> Option<Self> {
        if !usable(std::env::var("TERM").ok().as_deref()) || !stderr().is_terminal() || !echo::in_foreground()
        {
            return None;
        }
        let terminal = Terminal::new(CrosstermBackend::new(stderr())).ok()?;
        HOOK.call_once(|| {
            let told = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                told(info);
            }));
            signals::before_stop(give_back);
        });
        let mut screen = Self { terminal };
        screen.take().ok()?;
        Some(screen)
    }

    fn take(&mut self) -> std::io::Result<()> {
        echo::off();
        ON.store(true, Ordering::SeqCst);
        output::hold();
        execute!(stderr(), EnterAlternateScreen, Hide)?;
        // Draws all anew. `clear` would ask the terminal for its cursor and wait for an answer.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Shows a picture, in whatever size the terminal has now.
    pub(super) fn draw(&mut self, scene: &Scene<'_>) -> std::io::Result<()> {
        if !ON.load(Ordering::SeqCst) {
            self.take()?; // the process was stopped (Ctrl-Z) and goes on
        }
        self.terminal.draw(|frame| scene.draw(frame.area(), frame.buffer_mut())).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Leaves the alternate screen and prints what was held back, if that was not done.
fn give_back() {
    if ON.swap(false, Ordering::SeqCst) {
        let _ = execute!(stderr(), LeaveAlternateScreen, Show);
        echo::on();
        output::release();
    }
}

/// Whether this kind of terminal can move its cursor.
fn usable(term: Option<&str>) -> bool {
    cfg!(windows) || term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// What is typed is not shown meanwhile. Ctrl-C stays a signal, so that it works whatever the process does.
#[cfg(unix)]
mod echo {
    use std::io::stderr;
    use std::sync::{Mutex, PoisonError};

    use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios};
    use rustix::termios::{tcflush, tcgetattr, tcgetpgrp, tcsetattr};

    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    pub(super) fn in_foreground() -> bool {
        tcgetpgrp(stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
    }

    pub(super) fn off() {
        let Ok(before) = tcgetattr(stderr()) else { return };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        if tcsetattr(stderr(), OptionalActions::Now, &quiet).is_ok() {
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        }
    }

    pub(super) fn on() {
        if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tcflush(stderr(), QueueSelector::IFlush);
            let _ = tcsetattr(stderr(), OptionalActions::Now, &before);
        }
    }
}

#[cfg(not(unix))]
mod echo {
    pub(super) fn in_foreground() -> bool {
        true
    }

    pub(super) fn off() {}

    pub(super) fn on() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumb_terminal_gets_lines() {
        for (term, pictures) in
            [(None, false), (Some(""), false), (Some("dumb"), false), (Some("xterm"), true)]
        {
            assert_eq!(usable(term), pictures || cfg!(windows), "{term:?}");
        }
    }
}
