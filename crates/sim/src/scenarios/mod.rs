//! The named runs of `weir sim`.

mod tips;
mod tx_flood;

use std::time::{Duration, Instant as WallClock};

use weir_stack::ConfigError;

use crate::network::{Network, Transport};
use crate::report::{Report, resident};

/// A named run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    run: fn(&Options) -> Result<Measured, RunError>,
}

/// What a run may be told. The defaults are those of `tx-flood`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nodes: 2 to 20,000. Default: 200.
    pub nodes: u32,
    /// Links of each: 1 to 100. Default: 20.
    pub links: u32,
    /// Decides everything random. Default: 1.
    pub seed: u64,
    /// Transactions (or tips) per virtual second over the whole network: 1 to 100,000. Default: 100 (tips: 1).
    pub rate: Option<u32>,
    /// Virtual seconds of load: 1 to 3,600. Default: 10.
    pub seconds: u32,
    /// Virtual seconds after the last submission within which all must agree: 1 to 3,600. Default: 60.
    pub deadline_s: u32,
    /// What carries links. Default: frames.
    pub transport: Transport,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 200,
            links: 20,
            seed: 1,
            rate: None,
            seconds: 10,
            deadline_s: 60,
            transport: Transport::Frames,
        }
    }
}

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No scenario has this name.
    #[error("no scenario is named `{0}`; `weir sim --list` shows all of them")]
    Unknown(String),
    /// An option is out of its range.
    #[error("`{option}` is {value}: give {least} to {most}")]
    Range {
        /// The option.
        option: &'static str,
        /// What was given.
        value: u64,
        /// The least that works.
        least: u64,
        /// The most that works.
        most: u64,
    },
    /// The stack refuses its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// All scenarios, in the order of the list.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "tx-flood",
        about: "random transactions at random nodes until every pool holds all of them",
        run: tx_flood::run,
    },
    Scenario {
        name: "tips",
        about: "random nodes publish higher and higher tips until every node holds the last",
        run: tips::run,
    },
];

/// What a scenario measured; the rest of the report is the same for all.
struct Measured {
    network: Network,
    submitted: u64,
    bodies_per_node: Option<f64>,
    control_bytes: Option<f64>,
    wire_bytes: f64,
    converged: Option<Duration>,
    latency: Option<crate::report::Percentiles>,
    missing: u64,
}

/// Runs the scenario called `name`.
///
/// # Errors
/// [`RunError`], which names the option and the remedy. Pools that do not agree in time are no error: see
/// [`Report::converged`].
pub fn run(name: &str, options: &Options) -> Result<Report, RunError> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.ok_or_else(|| RunError::Unknown(name.into()))?;
    options.check()?;
    let (begun, before) = (WallClock::now(), resident());
    let measured = (scenario.run)(options)?;
    let after = resident();
    let network = &measured.network;
    let host = &network.host;
    let found = network.found();
    let nodes = u64::from(options.nodes);
    let memory = before.zip(after).map(|((before, _), (_, peak))| peak.saturating_sub(before) / nodes);
    Ok(Report {
        name: scenario.name.into(),
        nodes: options.nodes,
        links: options.links.min(options.nodes - 1),
        seed: options.seed,
        transport: options.transport.as_str().into(),
        submitted: measured.submitted,
        trace_hash: host.trace_hash(),
        events: host.events(),
        bodies_per_node: measured.bodies_per_node,
        control_bytes_per_tx_per_node: measured.control_bytes,
        wire_bytes_per_tx_per_node: measured.wire_bytes,
        wire_bytes_per_node: host.ids().map(|id| host.traffic(id).bytes_in).sum::<u64>() / nodes,
        converged_s: measured.converged.map(|pause| pause.as_secs_f64()),
        tx_latency_ms: measured.latency,
        pairs_missing: measured.missing,
        peak_bytes_over_grants: found.peak_over,
        checks: found.checks,
        peak_bytes_held: found.peak_held,
        peak_bytes_granted: found.peak_granted,
        faults: network.faults.len() as u64,
        memory_bytes_per_node: memory,
        wall_s: begun.elapsed().as_secs_f64(),
        virtual_s: host.now().since(weir_base::Instant::ZERO).as_secs_f64(),
    })
}

impl Options {
    fn check(&self) -> Result<(), RunError> {
        let ranges = [
            ("--nodes", u64::from(self.nodes), 2, 20_000),
            ("--links", u64::from(self.links), 1, 100),
            ("--rate", u64::from(self.rate.unwrap_or(1)), 1, 100_000),
            ("--seconds", u64::from(self.seconds), 1, 3_600),
            ("--deadline", u64::from(self.deadline_s), 1, 3_600),
        ];
        let outside = ranges.into_iter().find(|(_, value, least, most)| value < least || value > most);
        match outside {
            Some((option, value, least, most)) => Err(RunError::Range { option, value, least, most }),
            None => Ok(()),
        }
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_s.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_options_are_named_with_what_would_do() {
        let error = run("tx-flood", &Options { nodes: 1, ..Options::default() }).unwrap_err();
        assert_eq!(error.to_string(), "`--nodes` is 1: give 2 to 20000");
        let error = run("flood", &Options::default()).unwrap_err();
        assert!(error.to_string().contains("weir sim --list"), "{error}");
    }
}
