//! Signals that ask the process to stop. The first is told to the command, which says goodbye and prints what it knows; the
//! second ends the process at once.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Failure;

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The terminal went away: 1.
    #[cfg(unix)]
    Hangup,
    /// Ctrl-C: 2.
    Interrupt,
    /// A manager of services: 15.
    Terminate,
}

impl Signal {
    /// What shells expect of a process that such a signal ended.
    pub(crate) fn exit_code(self) -> u8 {
        128 + match self {
            #[cfg(unix)]
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(unix)]
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// What is done before the process ends at once, or is put to sleep (Ctrl-Z). Only Unix lets a program do anything then.
static CLEAN_UP: OnceLock<fn()> = OnceLock::new();

/// Names what is to be done before a signal ends the process at once or puts it to sleep. The first that is named counts.
pub(crate) fn before_stop(clean_up: fn()) {
    CLEAN_UP.get_or_init(|| clean_up);
}

#[cfg(unix)]
fn clean_up() {
    if let Some(clean_up) = CLEAN_UP.get() {
        clean_up();
    }
}

/// Tells of the first signal. Clones tell of the same.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    first: Mutex<Option<Signal>>,
    changed: Condvar, // a signal came, or a worker is done
}

impl Shared {
    fn first(&self) -> MutexGuard<'_, Option<Signal>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signals {
    /// From now on a signal does not end the process by itself, unless a second one comes.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        listen(Arc::clone(&shared)).map_err(|error| Failure::run(format!("signals: {error}")))?;
        Ok(Self { shared })
    }

    /// The signal that came, if one did.
    pub(crate) fn received(&self) -> Option<Signal> {
        *self.shared.first()
    }

    /// Fails where a signal came.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.received().map_or(Ok(()), |signal| Err(Failure::Stopped(signal)))
    }

    /// Starts `work` on a thread of its own, so that a signal need not wait for it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Working<T>, Failure> {
        let done = Arc::new(Mutex::new(None));
        let (shared, result) = (Arc::clone(&self.shared), Arc::clone(&done));
        std::thread::Builder::new()
            .name("work".into())
            .spawn(move || {
                let value = work();
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                let _first = shared.first(); // whoever waits has looked, or waits
                shared.changed.notify_all();
            })
            .map_err(|error| Failure::run(format!("cannot start a thread: {error}")))?;
        Ok(Working { signals: self.clone(), done })
    }

    /// Waits for a signal.
    pub(crate) fn wait(&self) -> Signal {
        let mut first = self.shared.first();
        loop {
            if let Some(signal) = *first {
                return signal;
            }
            first = self.shared.changed.wait(first).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Work on another thread.
pub(crate) struct Working<T> {
    signals: Signals,
    done: Arc<Mutex<Option<T>>>,
}

impl<T> Working<T> {
    /// Waits for the work's end, at most so long: `None` where the time was up.
    ///
    /// # Errors
    /// A signal came first. The work goes on.
    pub(crate) fn wait(&self, limit: Duration) -> Result<Option<T>, Failure> {
        let shared = &self.signals.shared;
        let until = Instant::now() + limit;
        let mut first = shared.first();
        loop {
            if let Some(value) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Ok(Some(value));
            }
            if let Some(signal) = *first {
                return Err(Failure::Stopped(signal));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            first = shared.changed.wait_timeout(first, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(unix)]
fn listen(shared: Arc<Shared>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};

    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM, SIGTSTP])?;
    let told = move || {
        for number in signals.forever() {
            let signal = match number {
                SIGHUP => Signal::Hangup,
                SIGINT => Signal::Interrupt,
                _ => Signal::Terminate,
            };
            if number == SIGTSTP {
                clean_up();
                let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
                continue;
            }
            let mut first = shared.first();
            if first.is_some() {
                clean_up();
                std::process::exit(i32::from(signal.exit_code()));
            }
            *first = Some(signal);
            shared.changed.notify_all();
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(told)?;
    Ok(())
}

/// Elsewhere a signal only sets a flag, which is looked at 20 times a second. The second one ends the process as it comes.
#[cfg(not(unix))]
fn listen(shared: Arc<Shared>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag::{register, register_conditional_shutdown};
    use std::sync::atomic::{AtomicBool, Ordering};

    let mut flags = Vec::new();
    for (number, signal) in [(SIGINT, Signal::Interrupt), (SIGTERM, Signal::Terminate)] {
        let came = Arc::new(AtomicBool::new(false));
        register_conditional_shutdown(number, i32::from(signal.exit_code()), Arc::clone(&came))?;
        register(number, Arc::clone(&came))?;
        flags.push((came, signal));
    }
    let told = move || {
        loop {
            if let Some((_, signal)) = flags.iter().find(|(came, _)| came.load(Ordering::Relaxed)) {
                *shared.first() = Some(*signal);
                shared.changed.notify_all();
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(told)?;
    Ok(())
}
