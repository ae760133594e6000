//! The benchmarks: what each measures on which sides, and what Weir is to reach.

mod call;
mod idle;
mod idle_tcp;
mod pool;
mod quic;
mod setup;
mod streams;
mod tcp;

use std::time::Instant;

use crate::Name;
use crate::figures::{Samples, short};
use crate::job::{Over, Side};
use crate::machine::Watch;
use crate::process::Failed;
use crate::report::Report;

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each side runs.
    pub rounds: usize,
    /// Smaller sizes, for a first look.
    pub quick: bool,
}

/// One benchmark.
#[derive(Debug)]
pub struct Suite {
    /// Its name on the command line.
    pub name: Name,
    /// Its name in tables.
    pub title: &'static str,
    /// What is done, in a sentence.
    pub about: &'static str,
    /// The figures, units included.
    pub columns: &'static [&'static str],
    /// Who runs, in this order, in every round.
    pub sides: &'static [Side],
    /// What is equal and what cannot be made equal.
    pub settings: &'static [&'static str],
    /// Packages whose versions belong beside the figures.
    pub packages: &'static [&'static str],
    /// What Weir is to reach.
    pub targets: &'static [Target],
    /// One round of one side: a figure per column; no number where the side has none.
    pub measure: fn(Side, quick: bool) -> Result<Vec<f64>, Failed>,
}

/// A figure that Weir is to reach.
#[derive(Debug)]
pub struct Target {
    /// Which side of Weir's.
    pub of: Side,
    /// Which column.
    pub column: usize,
    /// Beside whom; without, the figure itself counts.
    pub over: Option<Side>,
    /// How much.
    pub reach: Reach,
}

/// How much is enough.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// Nothing is promised; the ratio is printed.
    Beside,
}

/// All of them, in the order in which `all` runs them.
pub const SUITES: &[&Suite] = &[
    &quic::SUITE,
    &tcp::SUITE,
    &setup::SUITE,
    &call::SUITE,
    &streams::SUITE,
    &pool::SUITE,
    &idle::SUITE,
    &idle_tcp::SUITE,
];

/// Runs one benchmark: every side once per round, round after round.
pub fn run(suite: &'static Suite, plan: Plan) -> Result<Report, Failed> {
    let watch = Watch::start();
    let sides: Vec<Side> = suite.sides.iter().copied().filter(|side| crate::sides::built(*side)).collect();
    let mut rows: Vec<(Side, Vec<Samples>)> =
        sides.iter().map(|side| (*side, vec![Samples::default(); suite.columns.len()])).collect();
    for round in 1..=plan.rounds {
        for (side, columns) in &mut rows {
            let begun = Instant::now();
            let figures = (suite.measure)(*side, plan.quick)?;
            let shown: Vec<String> = suite
                .columns
                .iter()
                .zip(&figures)
                .map(|(column, value)| format!("{} {column}", short(*value)))
                .collect();
            eprintln!(
                "{} {round}/{} {}: {} [{:.0} s]",
                suite.title,
                plan.rounds,
                side.name(),
                shown.join("; "),
                begun.elapsed().as_secs_f64()
            );
            for (column, value) in columns.iter_mut().zip(figures).filter(|(_, value)| value.is_finite()) {
                column.0.push(value);
            }
        }
    }
    let report = Report { suite, rows, rounds: plan.rounds, quick: plan.quick, others: watch.others() };
    for warning in report.warnings() {
        eprintln!("warning: {warning}");
    }
    Ok(report)
}

const fn target(column: usize, over: Side, reach: Reach) -> Target {
    beside(Side::Weir(Over::Quic), column, over, reach)
}

const fn beside(of: Side, column: usize, over: Side, reach: Reach) -> Target {
    Target { of, column, over: Some(over), reach }
}

const fn absolute(of: Side, column: usize, reach: Reach) -> Target {
    Target { of, column, over: None, reach }
}
