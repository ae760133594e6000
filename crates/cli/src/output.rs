//! What the commands write: results to standard output, words for people to standard error.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use weir::DialProblem;

use crate::error::Failure;

/// Name, version and commit of this program.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("WEIR_COMMIT"), ")");

/// Version and commit, for JSON objects.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Build {
    version: &'static str,
    commit: &'static str,
}

impl Build {
    /// Of this program.
    pub(crate) const THIS: Self = Self { version: env!("CARGO_PKG_VERSION"), commit: env!("WEIR_COMMIT") };
}

/// The object that `--json` prints where there is no result.
#[derive(Debug, Serialize)]
struct Failed<'a> {
    ok: bool,
    error: &'a str,
    /// Where no link came up: why, in the words of the event `unreachable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<DialProblem>,
    #[serde(flatten)]
    build: Build,
}

/// A result with what every JSON object says first.
#[derive(Debug, Serialize)]
struct Outcome<'a, T> {
    ok: bool,
    error: Option<&'a str>,
    #[serde(flatten)]
    build: Build,
    #[serde(flatten)]
    result: &'a T,
}

/// Writes to standard output. A reader that went away is no error, a full disk is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::run(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a result as one JSON object and a line end to standard output; `error` says what is wrong with it.
pub(crate) fn print_json(result: &impl Serialize, error: Option<&str>) -> Result<(), Failure> {
    line(&Outcome { ok: error.is_none(), error, build: Build::THIS, result })
}

/// Writes the JSON object of a command without a result.
pub(crate) fn print_failure(error: &str, reason: Option<DialProblem>) -> Result<(), Failure> {
    line(&Failed { ok: false, error, reason, build: Build::THIS })
}

/// Writes one JSON object and a line end to standard output.
pub(crate) fn line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::run(format!("result: {error}")))?;
    print(&format!("{text}\n"))
}

/// Notes that wait while a picture is on the terminal, at most so many: the oldest go first.
const HELD: usize = 1000;

static WAITING: Mutex<Option<Waiting>> = Mutex::new(None);

#[derive(Debug, Default)]
struct Waiting {
    notes: VecDeque<String>, // <= HELD
    lost: u64,
}

fn waiting() -> MutexGuard<'static, Option<Waiting>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line for people to standard error, or keeps it until [`release`].
pub(crate) fn note(text: &str) {
    let mut waiting = waiting();
    let Some(held) = waiting.as_mut() else {
        let _ = writeln!(std::io::stderr(), "{text}");
        return;
    };
    if held.notes.len() == HELD {
        held.notes.pop_front();
        held.lost += 1;
    }
    held.notes.push_back(text.to_owned());
}

/// From now on notes wait.
pub(crate) fn hold() {
    waiting().get_or_insert_default();
}

/// Writes what waited.
pub(crate) fn release() {
    let Some(held) = waiting().take() else { return };
    if held.lost > 0 {
        note(&format!("{} earlier notes were lost", held.lost));
    }
    held.notes.iter().for_each(|text| note(text));
}

/// The latest notes that wait, in their order.
pub(crate) fn held(most: usize) -> Vec<String> {
    waiting().as_ref().map_or_else(Vec::new, |held| {
        held.notes.iter().skip(held.notes.len().saturating_sub(most)).cloned().collect()
    })
}
