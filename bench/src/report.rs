//! The table of one benchmark, for people (Markdown) and for programs (JSON).

use std::fmt::Write as _;

use serde_json::json;

use crate::figures::{Samples, Summary, short};
use crate::job::Side;
use crate::machine::Others;
use crate::suites::{Reach, Suite, Target};

/// Cores used by others from which a table carries a warning.
const NOTABLE: f64 = 0.05;

/// What one benchmark measured.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub suite: &'static Suite,
    /// For each side, a row of samples per column.
    pub rows: Vec<(Side, Vec<Samples>)>,
    /// Rounds.
    pub rounds: usize,
    /// Smaller sizes than the published ones.
    pub quick: bool,
    /// What others did meanwhile.
    pub others: Option<Others>,
}

/// A target, and what was reached.
struct Outcome {
    what: String,
    target: &'static Target,
    ratio: f64,
    range: Summary,
}

impl Report {
    fn cell(&self, side: Side, column: usize) -> Option<&Samples> {
        self.rows.iter().find(|row| row.0 == side).and_then(|row| row.1.get(column))
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for target in self.suite.targets {
            let Some(mine) = self.cell(target.of, target.column) else { continue };
            let column = self.suite.columns.get(target.column).copied().unwrap_or_default();
            let Some(summary) = mine.summary() else { continue };
            let Some(other) = target.over else {
                let what = format!("{column}: {}", target.of.name());
                outcomes.push(Outcome { what, target, ratio: summary.median, range: summary });
                continue;
            };
            let Some((theirs, range)) = self
                .cell(other, target.column)
                .and_then(|theirs| Some((theirs.summary()?, mine.over(theirs).summary()?)))
            else {
                continue;
            };
            let what = format!("{column}: {} ÷ {}", target.of.name(), other.name());
            outcomes.push(Outcome { what, target, ratio: summary.median / theirs.median, range });
        }
        outcomes
    }

    /// What a reader must know before trusting the figures.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.quick {
            warnings.push("sizes of a first look (`--quick`), not those of the definition".into());
        }
        match self.others {
            None => warnings.push("this system does not tell what other programs did meanwhile".into()),
            Some(others) => {
                if others.cores > NOTABLE || others.stolen > NOTABLE {
                    warnings.push(format!(
                        "other programs used the machine: {} cores on average, {} cores taken away by its host, \
                         load average {} before the start",
                        short(others.cores),
                        short(others.stolen),
                        short(others.load_before)
                    ));
                }
            }
        }
        warnings
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        self.write_markdown(&mut out).unwrap_or_default();
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "### {}\n\n{}\n", self.suite.title, self.suite.about)?;
        writeln!(out, "| side | {} |", self.suite.columns.join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(self.suite.columns.len()))?;
        for (side, columns) in &self.rows {
            let cells: Vec<String> = columns.iter().map(cell).collect();
            writeln!(out, "| {} | {} |", side.name(), cells.join(" | "))?;
        }
        let outcomes = self.outcomes();
        if !outcomes.is_empty() {
            writeln!(out, "\n| figure | target | median (round by round) | |\n|---|---|---|---|")?;
        }
        for Outcome { what, target, ratio, range } in outcomes {
            let verdict = target.reach.verdict(ratio);
            let (min, max) = (short(range.min), short(range.max));
            writeln!(out, "| {what} | {} | {} ({min}–{max}) | {verdict} |", target.reach, short(ratio))?;
        }
        writeln!(out, "\nMedian and lowest–highest of {} rounds, sides interleaved.\n", self.rounds)?;
        for setting in self.suite.settings {
            writeln!(out, "- {setting}")?;
        }
        writeln!(out, "- Machine: {}", crate::machine::describe())?;
        writeln!(out, "- Versions: {}", self.versions().join(", "))?;
        for warning in self.warnings() {
            writeln!(out, "- **Warning**: {warning}")?;
        }
        Ok(())
    }

    fn versions(&self) -> Vec<String> {
        let mut versions = vec![format!("commit {}", crate::versions::commit())];
        versions.extend(crate::versions::of(self.suite.packages));
        versions.push(crate::versions::compiler());
        versions
    }

    /// For programs: one object on one line.
    pub fn json(&self) -> String {
        let columns = self.suite.columns;
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|(side, samples)| {
                let figures: serde_json::Map<_, _> = columns
                    .iter()
                    .zip(samples)
                    .map(|(column, samples)| {
                        ((*column).into(), json!({ "samples": samples.0, "summary": samples.summary() }))
                    })
                    .collect();
                json!({ "side": side.name(), "figures": figures })
            })
            .collect();
        let targets: Vec<_> = self
            .outcomes()
            .into_iter()
            .map(|outcome| {
                json!({
                    "figure": outcome.what,
                    "target": outcome.target.reach.to_string(),
                    "median": outcome.ratio,
                    "min": outcome.range.min,
                    "max": outcome.range.max,
                    "reached": outcome.target.reach.reached(outcome.ratio),
                })
            })
            .collect();
        json!({
            "benchmark": self.suite.title,
            "rounds": self.rounds,
            "rows": rows,
            "targets": targets,
            "settings": self.suite.settings,
            "machine": crate::machine::describe(),
            "versions": self.versions(),
            "warnings": self.warnings(),
        })
        .to_string()
    }
}

fn cell(samples: &Samples) -> String {
    samples.summary().map_or_else(
        || "–".into(),
        |Summary { median, min, max }| format!("{} ({}–{})", short(median), short(min), short(max)),
    )
}

impl Reach {
    /// Whether `value` is enough; `None` where nothing was promised.
    fn reached(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(value >= least),
            Self::AtMost(most) => Some(value <= most),
            Self::Beside => None,
        }
    }

    fn verdict(self, value: f64) -> &'static str {
        match self.reached(value) {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None => "",
        }
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(out, "≥ {least}"),
            Self::AtMost(most) => write!(out, "≤ {most}"),
            Self::Beside => out.write_str("–"),
        }
    }
}
