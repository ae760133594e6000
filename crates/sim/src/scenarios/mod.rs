//! The named runs of `weir sim`.

mod calls;
mod comers;
mod discovery;
mod faults;
mod headers;
mod hit_and_run;
mod hoarders;
mod mesh;
mod slow;
mod tips;
mod tx_flood;
mod weapons;
mod withholders;

use std::time::{Duration, Instant as WallClock};

use weir_stack::{Channel, ConfigError};

use crate::flood::Spread;
use crate::model::Processors;
use crate::network::{Network, Setup, Transport};
use crate::report::{Report, Stopwatch, processor_time, resident};

/// A named run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    nodes: u32, // where the options do not say
    run: fn(&Run<'_>) -> Result<Measured, RunError>,
}

/// What a run may be told. The defaults are those of `tx-flood`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nodes: 2 to 20,000. Default: the scenario's, 200 for most.
    pub nodes: Option<u32>,
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
    /// What processors take. Default: what machines do.
    pub processor: Processors,
    /// Threads that carry nodes out, where the scenario runs in windows: 1 to 64. The run is the same with any number.
    /// Default: 1.
    pub threads: u32,
    /// What is granted is checked at one node of so many: 1 to 20,000. Default: 1, at all.
    pub sample: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: None,
            links: 20,
            seed: 1,
            rate: None,
            seconds: 10,
            deadline_s: 60,
            transport: Transport::Frames,
            processor: Processors::Machines,
            threads: 1,
            sample: 1,
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
    /// What its peers do cannot be done over this transport.
    #[error(
        "`{scenario}` cannot run over {transport}, where nobody can change what a peer says; run it over frames or TCP"
    )]
    Sealed {
        /// The scenario.
        scenario: &'static str,
        /// The transport's name.
        transport: &'static str,
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
        nodes: 200,
        run: tx_flood::run,
    },
    Scenario {
        name: "tips",
        about: "random nodes publish higher and higher tips until every node holds the last",
        nodes: 200,
        run: tips::run,
    },
    Scenario {
        name: "mesh",
        about: "nodes that all name each other start at once, and restart at once and one by one: no fault, every link",
        nodes: 8,
        run: mesh::run,
    },
    Scenario {
        name: "one-way",
        about: "from the third second on half of the nodes hears nothing from the other half; then it heals",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::OneWay),
    },
    Scenario {
        name: "silence",
        about: "all paths of one node in ten are silent, others in each second",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Silence),
    },
    Scenario {
        name: "resets",
        about: "somebody between the nodes resets all wires of one node in ten, others in each second",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Resets),
    },
    Scenario {
        name: "power",
        about: "one node in twenty loses its power, and comes back a second later with its pool",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Power),
    },
    Scenario {
        name: "crashes",
        about: "one node in twenty crashes, and comes back a second later with nothing but its key",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Crashes),
    },
    Scenario {
        name: "hangs",
        about: "one node in ten hangs for a second, others each time",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Hangs),
    },
    Scenario {
        name: "rebinding",
        about: "the device before one node in ten gives it another port, over QUIC",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Rebinding),
    },
    Scenario {
        name: "mappings",
        about: "devices before all nodes forget flows that are silent for 10 s, and the load comes after 40 s of silence, over QUIC",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Mappings),
    },
    Scenario {
        name: "clocks",
        about: "clocks are up to 500 parts per million too fast or too slow, and change",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Clocks),
    },
    Scenario {
        name: "bursts",
        about: "two packets of a hundred are lost, in bursts",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Bursts),
    },
    Scenario {
        name: "slow-processors",
        about: "processors are twenty times slower and stall often",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::SlowProcessors),
    },
    Scenario {
        name: "neighbours",
        about: "nodes of ten are in one local network, most of them in one region",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Neighbours),
    },
    Scenario {
        name: "peaks",
        about: "transactions come in bursts, half of them at a tenth of the nodes",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Peaks),
    },
    Scenario {
        name: "headers",
        about: "one signer publishes a thousand headers without body a second: two a link at most, and the next block arrives",
        nodes: 50,
        run: headers::run,
    },
    Scenario {
        name: "withholders",
        about: "7 of 20 links offer everything and deliver nothing, and come as somebody else: items are little later, none comes twice",
        nodes: 50,
        run: withholders::run,
    },
    Scenario {
        name: "comers",
        about: "peers that come again and again, deliver and leave, or only begin to come, take nothing from honest ones",
        nodes: 3,
        run: comers::run,
    },
    Scenario {
        name: "hit-and-run",
        about: "peers deliver what is invalid, leave, and come again as somebody else: they are banned, and no item is late",
        nodes: 12,
        run: hit_and_run::run,
    },
    Scenario {
        name: "slow",
        about: "a slow server is never blamed; peers that are slow on purpose delay no item by more than 2 s",
        nodes: 3,
        run: slow::run,
    },
    Scenario {
        name: "hoarders",
        about: "64 peers have credit lent and send a byte every five seconds or nothing: an honest transfer gets its share",
        nodes: 66,
        run: hoarders::run,
    },
    Scenario {
        name: "calls-as-weapons",
        about: "96 peers call for all they can and read nothing, or send requests a byte at a time: honest calls go through",
        nodes: 98,
        run: weapons::run,
    },
    Scenario {
        name: "moves",
        about: "one node in ten moves to another region and has another address there",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Moves),
    },
    Scenario {
        name: "strangers",
        about: "one node in twenty crashes, and somebody else is at its address a second later",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Strangers),
    },
    Scenario {
        name: "churn",
        about: "one node in twenty leaves for good, and a newcomer dials nodes by chance: the graph changes all the time",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Churn),
    },
    Scenario {
        name: "discovery",
        about: "nodes know a seed and hear of others by their peers' books; newcomers do too, and then all seeds are gone",
        nodes: 50,
        run: discovery::run,
    },
    Scenario {
        name: "black-holes",
        about: "one node in ten has lost its power for good, and the others go on dialling it",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::BlackHoles),
    },
    Scenario {
        name: "steps",
        about: "wall clocks are set, by up to an hour either way",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Steps),
    },
    Scenario {
        name: "datagrams",
        about: "datagrams are overtaken, come twice, and have wrong bits, over QUIC",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Datagrams),
    },
    Scenario {
        name: "flips",
        about: "bits of byte streams are turned and no checksum tells, over TCP: links end and come again, nobody is blamed",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Flips),
    },
    Scenario {
        name: "garblers",
        about: "one node in ten damages what it sends, over QUIC or TCP: the others agree, and do not blame each other",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Garblers),
    },
    Scenario {
        name: "narrow-lines",
        about: "lines carry 4 Mbit/s down and 1 up, and drop what would wait for 50 ms",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::NarrowLines),
    },
    Scenario {
        name: "mtu",
        about: "paths carry no datagrams above 1,232 bytes, over QUIC: those that try longer ones vanish",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Mtu),
    },
    Scenario {
        name: "ecn",
        about: "lines carry 1 Mbit/s and mark what waits longer than 50 ms, over QUIC",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Ecn),
    },
    Scenario {
        name: "tails",
        about: "one packet in twenty is late by up to twenty times its latency, the others by up to a fifth",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Tails),
    },
    Scenario {
        name: "late-timers",
        about: "timers are up to 100 ms late",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::LateTimers),
    },
    Scenario {
        name: "hubs",
        about: "one node in twenty is a hub, to which half of all dials go",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Hubs),
    },
    Scenario {
        name: "clusters",
        about: "nodes of ten are linked among each other, the tens by few links",
        nodes: 50,
        run: |run| faults::run(run, faults::Fault::Clusters),
    },
];

/// What a scenario measured; the rest of the report is the same for all.
struct Measured {
    network: Network,
    spread: Spread,
    figures: Vec<(&'static str, f64)>,
    problems: Vec<String>,
}

impl Measured {
    /// Of a scenario that measures nothing of what most do.
    fn of(network: Network) -> Self {
        Self { network, spread: Spread::default(), figures: Vec::new(), problems: Vec::new() }
    }
}

/// A scenario's run: its options, with the number of nodes.
struct Run<'a> {
    options: &'a Options,
    nodes: u32,
    stopwatch: Option<Stopwatch>,
}

impl Run<'_> {
    /// What so many nodes with so many links each are made of, as the options say otherwise.
    fn setup(&self, nodes: u32, links: u32, channels: Vec<Channel>) -> Setup {
        let mut setup = Setup::new(nodes, links, self.options.seed, channels);
        setup.transport = self.options.transport;
        setup.model.processor = self.options.processor.constants();
        setup.threads = self.options.threads as usize;
        (setup.sample, setup.stopwatch) = (self.options.sample, self.stopwatch);
        setup
    }
}

/// Runs the scenario called `name`.
///
/// # Errors
/// [`RunError`], which names the option and the remedy. What went wrong in the run itself is no error: see
/// [`Report::problems`].
pub fn run(name: &str, options: &Options) -> Result<Report, RunError> {
    run_measured(name, options, None)
}

/// As [`run`], and measures what the checker takes, where a clock is handed in ([`Report::checker_share`]).
///
/// # Errors
/// Those of [`run`].
pub fn run_measured(name: &str, options: &Options, stopwatch: Option<Stopwatch>) -> Result<Report, RunError> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    scenario.ok_or_else(|| RunError::Unknown(name.into()))?.measure(options, stopwatch)
}

impl Scenario {
    /// Runs it.
    fn measure(&self, options: &Options, stopwatch: Option<Stopwatch>) -> Result<Report, RunError> {
        let asked = options.nodes.unwrap_or(self.nodes);
        options.check(asked)?;
        let (begun, before, cpu) = (WallClock::now(), resident(), processor_time());
        let mut measured = (self.run)(&Run { options, nodes: asked, stopwatch })?;
        let after = resident();
        let network = &measured.network;
        for problem in network.problems() {
            if !measured.problems.contains(&problem) {
                measured.problems.push(problem); // of a flood they are there already
            }
        }
        let host = &network.host;
        let found = network.found();
        let nodes = u64::from(asked);
        let memory = before.zip(after).map(|((before, _), (_, peak))| peak.saturating_sub(before) / nodes);
        let figures = measured.figures.into_iter().map(|(name, figure)| (name.to_owned(), figure));
        Ok(Report {
            name: self.name.into(),
            nodes: asked,
            links: options.links.min(asked - 1),
            seed: options.seed,
            transport: options.transport.as_str().into(),
            submitted: measured.spread.submitted,
            trace_hash: host.trace_hash(),
            events: host.events(),
            bodies_per_node: measured.spread.bodies_per_node,
            control_bytes_per_tx_per_node: measured.spread.control_bytes,
            wire_bytes_per_tx_per_node: measured.spread.wire_bytes,
            wire_bytes_per_node: host.ids().map(|id| host.traffic(id).wire_in()).sum::<u64>() / nodes,
            converged_s: measured.spread.converged.map(|pause| pause.as_secs_f64()),
            tx_latency_ms: measured.spread.latency,
            pairs_missing: measured.spread.missing,
            peak_bytes_over_grants: found.peak_over,
            checks: found.checks,
            peak_table_bytes: found.peak_tables,
            peak_bytes_held: found.peak_held,
            peak_bytes_granted: found.peak_granted,
            faults: network.faults.len() as u64,
            faults_for: network.faults_for(),
            figures: figures.collect(),
            problems: measured.problems,
            memory_bytes_per_node: memory,
            checker_share: network.checker_share(),
            cpu_s: cpu.zip(processor_time()).map(|(before, after)| after - before),
            events_per_s: host.events() as f64 / begun.elapsed().as_secs_f64(),
            wall_s: begun.elapsed().as_secs_f64(),
            virtual_s: host.now().since(weir_base::Instant::ZERO).as_secs_f64(),
        })
    }
}

impl Options {
    fn check(&self, nodes: u32) -> Result<(), RunError> {
        let ranges = [
            ("--nodes", u64::from(nodes), 2, 20_000),
            ("--links", u64::from(self.links), 1, 100),
            ("--rate", u64::from(self.rate.unwrap_or(1)), 1, 100_000),
            ("--seconds", u64::from(self.seconds), 1, 3_600),
            ("--deadline", u64::from(self.deadline_s), 1, 3_600),
            ("--threads", u64::from(self.threads), 1, 64),
            ("--sample", u64::from(self.sample), 1, 20_000),
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

    /// Two nodes that never link, of which something could not be read; the scenario itself minds one thing of both.
    fn goes_wrong(run: &Run<'_>) -> Result<Measured, RunError> {
        let mut network = Network::new(run.setup(2, 1, vec![crate::flood::pool_channel()]))?;
        let [one, other] = [0, 1].map(crate::host::NodeId);
        network.host.block(one, other);
        network.link_up();
        network.compared.unread = 1;
        Ok(Measured { problems: vec!["some links did not come up".into()], ..Measured::of(network) })
    }

    #[test]
    fn what_goes_wrong_in_a_network_fails_every_scenario_and_is_told_once() {
        let scenario = Scenario { name: "goes-wrong", about: "fails", nodes: 2, run: goes_wrong };
        let report = scenario.measure(&Options::default(), None).unwrap();
        let unread = "1 messages could not be read, nor what follows them";
        assert_eq!(report.problems, ["some links did not come up", unread]);
    }

    #[test]
    fn bad_options_are_named_with_what_would_do() {
        let error = run("tx-flood", &Options { nodes: Some(1), ..Options::default() }).unwrap_err();
        assert_eq!(error.to_string(), "`--nodes` is 1: give 2 to 20000");
        let error = run("flood", &Options::default()).unwrap_err();
        assert!(error.to_string().contains("weir sim --list"), "{error}");
    }

    #[test]
    fn a_sample_is_honoured_whatever_the_scenario_and_changes_nothing_else() {
        for name in ["tx-flood", "crashes", "tips"] {
            let with = |sample| {
                let (nodes, rate) = (Some(6), Some(20));
                run(name, &Options { nodes, links: 4, seconds: 2, rate, sample, ..Options::default() })
                    .unwrap()
            };
            let (all, some) = (with(1), with(5));
            assert_eq!((&some.trace_hash, &some.problems), (&all.trace_hash, &all.problems), "{name}");
            assert!(
                some.checks > 0 && some.checks * 3 / 2 < all.checks,
                "{name}: {} of {}",
                some.checks,
                all.checks
            );
        }
    }
}
