//! What a person sees meanwhile: a picture on a terminal, a line a second elsewhere, nothing with `--json`.

mod draw;
mod record;
mod screen;

use std::time::Duration;

use super::Options;
use super::rows::Row;
use crate::error::Failure;
use crate::output;
use record::Recording;
use screen::Screen;

/// Pause between two pictures.
const PAUSE: Duration = Duration::from_millis(250);
/// Pause between two lines, and between two pictures of a recording.
const LINE_PAUSE: Duration = Duration::from_secs(1);
/// Seconds whose committed transactions are shown.
const HISTORY: usize = 300;

/// The run now.
pub(crate) struct Picture<'a> {
    /// Since its begin.
    pub(crate) now: Duration,
    /// The producer's height.
    pub(crate) height: u64,
    /// Transactions submitted.
    pub(crate) submitted: usize,
    /// Of these, in a block where they were submitted.
    pub(crate) committed: usize,
    /// Lines of the file that are left.
    pub(crate) left: Option<usize>,
    /// Committed transactions a second so far.
    pub(crate) committed_per_s: Option<f64>,
    /// Since the latest block.
    pub(crate) block_age: Option<Duration>,
    /// Each node.
    pub(crate) rows: &'a [Row],
}

enum Kind {
    Silent,
    Lines,
    Screen(Box<Screen>),
    Recording(Recording),
}

/// Shows the run.
pub(crate) struct View {
    kind: Kind,
    blocks: u64,
    next: Duration,
    history: History,
}

/// Transactions committed in each second so far, the latest last.
#[derive(Debug, Default)]
struct History {
    seconds: Vec<u64>, // <= HISTORY
    until: Duration,
    committed: usize,
}

impl History {
    fn add(&mut self, now: Duration, committed: usize) {
        if now < self.until + Duration::from_secs(1) {
            return;
        }
        self.until = now;
        self.seconds.push(committed.saturating_sub(self.committed) as u64);
        self.committed = committed;
        if self.seconds.len() > HISTORY {
            self.seconds.remove(0);
        }
    }
}

impl View {
    /// A view for where standard error goes; none with `--json`.
    pub(crate) fn new(options: &Options) -> Self {
        let kind = match (&options.record, options.json) {
            (Some(path), _) => Kind::Recording(Recording::new(path.clone())),
            (None, true) => Kind::Silent,
            (None, false) => Screen::enter().map_or(Kind::Lines, |screen| Kind::Screen(Box::new(screen))),
        };
        Self { kind, blocks: options.blocks, next: Duration::ZERO, history: History::default() }
    }

    /// Whether it is time for another picture.
    pub(crate) fn due(&self, now: Duration) -> bool {
        !matches!(self.kind, Kind::Silent) && now >= self.next
    }

    /// Shows the nodes as they are.
    pub(crate) fn show(&mut self, picture: &Picture<'_>) {
        self.next = picture.now + if matches!(self.kind, Kind::Screen(_)) { PAUSE } else { LINE_PAUSE };
        self.history.add(picture.now, picture.committed);
        match &mut self.kind {
            Kind::Silent => {}
            Kind::Lines => output::note(&line(picture, self.blocks)),
            Kind::Screen(screen) => {
                let notes = output::held(draw::NOTES);
                let scene = draw::Scene {
                    picture,
                    blocks: self.blocks,
                    history: &self.history.seconds,
                    notes: &notes,
                };
                if screen.draw(&scene).is_err() {
                    self.kind = Kind::Lines; // the terminal went away
                }
            }
            Kind::Recording(recording) => {
                let notes = output::held(draw::NOTES);
                recording.add(&draw::Scene {
                    picture,
                    blocks: self.blocks,
                    history: &self.history.seconds,
                    notes: &notes,
                });
            }
        }
    }

    /// Gives the terminal back, or writes the recording.
    pub(crate) fn leave(&mut self) -> Result<(), Failure> {
        match std::mem::replace(&mut self.kind, Kind::Silent) {
            Kind::Recording(recording) => recording.write(),
            Kind::Silent | Kind::Lines | Kind::Screen(_) => Ok(()),
        }
    }
}

/// One line for a pipe or a file.
fn line(picture: &Picture<'_>, blocks: u64) -> String {
    let rows = picture.rows;
    let up = || rows.iter().filter(|row| row.up);
    let rate = picture.committed_per_s.map_or_else(|| "-".into(), |rate| format!("{rate:.0}/s"));
    let age = picture.block_age.map_or_else(|| "-".into(), |age| format!("{:.1} s", age.as_secs_f64()));
    let left = picture.left.map_or_else(String::new, |left| format!("  lines left {left}"));
    format!(
        "{:>4} s  block {}/{blocks}  age {age}  lowest {}  nodes {}/{}  submitted {}{left}  committed {} ({rate})  waiting \
         {}  faults {}  bans {}",
        picture.now.as_secs(),
        picture.height,
        up().map(|row| row.height).min().unwrap_or(0),
        up().count(),
        rows.len(),
        picture.submitted,
        picture.committed,
        rows.iter().map(|row| row.waiting).max().unwrap_or(0),
        rows.iter().map(|row| row.faults).sum::<u64>(),
        rows.iter().map(|row| row.bans).sum::<u64>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_holds_what_each_second_committed() {
        let mut history = History::default();
        for tick in 1..=12 {
            history.add(Duration::from_millis(tick * 250), usize::try_from(tick).unwrap() * 10);
        }
        assert_eq!(history.seconds, [40, 40, 40]);
        for second in 4..1000 {
            history.add(Duration::from_secs(second), 120);
        }
        assert_eq!((history.seconds.len(), history.seconds.last()), (HISTORY, Some(&0)));
    }

    #[test]
    fn a_line_counts_what_is_left_of_a_file() {
        let rows = [Row { up: true, height: 3, waiting: 7, bans: 1, ..Row::default() }, Row::down(1)];
        let picture = Picture {
            now: Duration::from_secs(5),
            height: 4,
            submitted: 10,
            committed: 8,
            left: Some(90),
            committed_per_s: Some(2.0),
            block_age: None,
            rows: &rows,
        };
        let text = line(&picture, 20);
        for part in
            ["block 4/20", "age -", "lowest 3", "nodes 1/2", "lines left 90", "(2/s)", "waiting 7", "bans 1"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
