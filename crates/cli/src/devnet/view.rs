//! What a person sees meanwhile: a row per node and a bar on a terminal, a line a second elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Options;

/// Pause between two pictures on a terminal, and between two lines elsewhere.
const PAUSE: Duration = Duration::from_millis(250);
const LINE_PAUSE: Duration = Duration::from_secs(1);

/// One node now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Whether it runs.
    pub(crate) up: bool,
    /// Its chain's height.
    pub(crate) height: u64,
    /// The first digits of its tip.
    pub(crate) tip: String,
    /// Links.
    pub(crate) links: u64,
    /// Transactions that wait for a block.
    pub(crate) pool: usize,
    /// Bytes received.
    pub(crate) bytes_in: u64,
    /// Bytes sent.
    pub(crate) bytes_out: u64,
    /// Peers' faults.
    pub(crate) faults: u64,
}

impl Row {
    /// A node that does not run.
    pub(crate) fn down() -> Self {
        Self::default()
    }
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
    pub(crate) fn show(&mut self, now: Duration, height: u64, submitted: usize, rows: &[Row]) {
        self.next = now + if matches!(self.kind, Kind::Lines) { LINE_PAUSE } else { PAUSE };
        match &self.kind {
            Kind::Silent => {}
            Kind::Lines => {
                let (up, pool) =
                    (rows.iter().filter(|row| row.up).count(), rows.iter().map(|row| row.pool).max());
                let lowest = rows.iter().filter(|row| row.up).map(|row| row.height).min().unwrap_or(0);
                let faults: u64 = rows.iter().map(|row| row.faults).sum();
                crate::note(&format!(
                    "{:>4} s  block {height}/{}  lowest {lowest}  nodes {up}/{}  submitted {submitted}  pool {}  faults {faults}",
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
    pub(crate) fn clear(&mut self) {
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
                row.tip,
                row.links,
                row.pool,
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
        let rows = [Row { up: true, height: 3, tip: "abcd".into(), ..Row::default() }, Row::down()];
        let table = table(&rows);
        assert!(table.lines().nth(1).unwrap().contains("abcd") && table.ends_with("1  down"));
    }
}
