//! What a person sees meanwhile: a row per node and a bar on a terminal, a line a second elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Options;
use super::rows::Row;

/// Pause between two pictures on a terminal, and between two lines elsewhere.
const PAUSE: Duration = Duration::from_millis(250);
const LINE_PAUSE: Duration = Duration::from_secs(1);

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
    Picture(ProgressBar),
}

/// Shows the run.
pub(crate) struct View {
    kind: Kind,
    blocks: u64,
    next: Duration,
}

impl View {
    /// A view for where standard error goes; none with `--json`.
    pub(crate) fn new(options: &Options) -> Self {
        let kind = if options.json {
            Kind::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(options.blocks), ProgressDrawTarget::stderr());
            let style =
                ProgressStyle::with_template("{msg}\n[{bar:40.cyan/blue}] block {pos} of {len}  {prefix}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            Kind::Picture(bar)
        } else {
            Kind::Lines
        };
        Self { kind, blocks: options.blocks, next: Duration::ZERO }
    }

    /// Whether it is time for another picture.
    pub(crate) fn due(&self, now: Duration) -> bool {
        !matches!(self.kind, Kind::Silent) && now >= self.next
    }

    /// Shows the nodes as they are.
    pub(crate) fn show(&mut self, picture: &Picture<'_>) {
        let Picture { now, height, submitted, committed, left, committed_per_s, block_age, rows } = *picture;
        self.next = now + if matches!(self.kind, Kind::Lines) { LINE_PAUSE } else { PAUSE };
        match &self.kind {
            Kind::Silent => {}
            Kind::Lines => {
                let (up, pool) =
                    (rows.iter().filter(|row| row.up).count(), rows.iter().map(|row| row.waiting).max());
                let lowest = rows.iter().filter(|row| row.up).map(|row| row.height).min().unwrap_or(0);
                let faults: u64 = rows.iter().map(|row| row.faults).sum();
                let rate = committed_per_s.map_or_else(|| "-".into(), |rate| format!("{rate:.0}/s"));
                let age = block_age.map_or_else(|| "-".into(), |age| format!("{:.1} s", age.as_secs_f64()));
                let left = left.map_or_else(String::new, |left| format!("  lines left {left}"));
                crate::output::note(&format!(
                    "{:>4} s  block {height}/{}  age {age}  lowest {lowest}  nodes {up}/{}  submitted {submitted}{left}  \
                     committed {committed} ({rate})  waiting {}  faults {faults}",
                    now.as_secs(),
                    self.blocks,
                    rows.len(),
                    pool.unwrap_or(0),
                ));
            }
            Kind::Picture(bar) => {
                bar.set_message(table(rows));
                bar.set_prefix(format!("{submitted} transactions, {} s", now.as_secs()));
                bar.set_position(height.min(self.blocks));
            }
        }
    }

    /// Takes the picture off the screen.
    pub(crate) fn leave(&mut self) {
        if let Kind::Picture(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from("node  height  tip       links   pool        in       out  faults");
    for (index, row) in rows.iter().enumerate() {
        let _ = if row.up {
            write!(
                out,
                "\n{index:>4}  {:>6}  {:<8}  {:>5}  {:>5}  {:>8}  {:>8}  {:>6}",
                row.height,
                row.tip.get(..8).unwrap_or_default(),
                row.links,
                row.waiting,
                size(row.bytes_in),
                size(row.bytes_out),
                row.faults
            )
        } else {
            write!(out, "\n{index:>4}  down")
        };
    }
    out
}

/// Bytes in the largest unit that leaves a number of one to four digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 10_000 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS.get(unit).unwrap_or(&"B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(9_999), "9999 B");
        assert_eq!(size(10_240), "10 KiB");
        assert_eq!(size(u64::MAX), "16777215 TiB");
    }

    #[test]
    fn a_node_that_is_down_says_so() {
        let rows = [Row { up: true, height: 3, tip: "abcdabcd".into(), ..Row::default() }, Row::down(1)];
        let table = table(&rows);
        assert!(table.lines().nth(1).unwrap().contains("abcd") && table.ends_with("1  down"));
    }
}
