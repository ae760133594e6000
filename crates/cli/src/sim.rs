//! `weir sim`: a scenario in virtual time, the same for the same seed.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use weir_sim::{Processors, SCENARIOS};

use crate::error::Failure;
use crate::output;

/// Run a scenario of many nodes in virtual time, reproducibly.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  weir sim --list
  weir sim tx-flood --nodes 200 --seed 7
  weir sim tips --nodes 1000 --json
  MIMALLOC_ALLOW_LARGE_OS_PAGES=1 weir sim tx-flood --nodes 10000 --sample 16 --threads 2

Exit codes: 0 the scenario came out; 1 it did not (`problems` says why); 2 an option cannot be used.")]
pub(crate) struct Options {
    /// The scenario; see --list.
    #[arg(value_name = "NAME", required_unless_present = "list")]
    pub(crate) name: Option<String>,
    /// List the scenarios.
    #[arg(long)]
    pub(crate) list: bool,
    /// Nodes, 2 to 20,000; the default is the scenario's.
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<u32>,
    /// Links per node, 1 to 100.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) links: u32,
    /// Transactions, or tips, per virtual second over the whole network; the default is the scenario's.
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<u32>,
    /// Virtual seconds of load.
    #[arg(long, default_value_t = 10, value_name = "S")]
    pub(crate) seconds: u32,
    /// Virtual seconds after the last submission within which all nodes must agree.
    #[arg(long, default_value_t = 60, value_name = "S")]
    pub(crate) deadline: u32,
    #[command(flatten)]
    pub(crate) carried: Carried,
    /// What a node's processor takes: machines alone, machines and a native host's system calls, or no time.
    #[arg(long, default_value = Processors::Machines.as_str(), value_parser = processors(), value_name = "WHICH")]
    pub(crate) processor: Processors,
    /// Threads that carry nodes out; the run is the same with any number. 1 to 64.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) threads: u32,
    /// Check what is granted at one node of so many only: for large runs.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) sample: u32,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What carries links.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Carried {
    /// Carry QUIC datagrams instead of frames.
    #[arg(long)]
    pub(crate) quic: bool,
    /// Carry byte streams with Noise and yamux, as over TCP, instead of frames.
    #[arg(long, conflicts_with = "quic")]
    pub(crate) tcp: bool,
}

/// Takes the names of all constants.
fn processors() -> impl TypedValueParser<Value = Processors> {
    PossibleValuesParser::new(Processors::ALL.map(Processors::as_str)).map(|name| {
        let mut all = Processors::ALL.into_iter();
        all.find(|processors| processors.as_str() == name).unwrap_or_default()
    })
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let Some(name) = options.name.as_ref().filter(|_| !options.list) else {
        for scenario in SCENARIOS {
            output::print(&format!("{:<16} {}\n", scenario.name, scenario.about))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let transport = match (options.carried.quic, options.carried.tcp) {
        (true, _) => weir_sim::Transport::Quic,
        (_, true) => weir_sim::Transport::Tcp,
        (false, false) => weir_sim::Transport::Frames,
    };
    let chosen = weir_sim::Options {
        nodes: options.nodes,
        links: options.links,
        seed: options.seed,
        rate: options.rate,
        seconds: options.seconds,
        deadline_s: options.deadline,
        transport,
        processor: options.processor,
        threads: options.threads,
        sample: options.sample,
    };
    let report = weir_sim::run_measured(name, &chosen, Some(stopwatch)).map_err(Failure::input)?;
    let failure = problem(&report);
    let error = failure.as_ref().map(ToString::to_string);
    if options.json {
        output::print_json(&report, error.as_deref())?;
    } else {
        output::print(&text(&report))?;
    }
    if let Some(error) = error {
        output::note(&format!("error: {error}"));
    }
    Ok(failure.map_or(ExitCode::SUCCESS, |failure| ExitCode::from(failure.exit_code())))
}

/// Real time since it was asked first.
fn stopwatch() -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}

fn problem(report: &weir_sim::Report) -> Option<Failure> {
    (!report.problems.is_empty()).then(|| Failure::run(report.problems.join("; ")))
}

fn text(report: &weir_sim::Report) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3}"));
    let latency = report.tx_latency_ms.as_ref();
    let latency = latency.map_or_else(
        || "-".into(),
        |found| {
            let [p50, p95, p99] = [found.p50, found.p95, found.p99]
                .map(|found| found.map_or_else(|| "never".into(), |millis| format!("{millis:.1} ms")));
            format!("p50 {p50}, p95 {p95}, p99 {p99}")
        },
    );
    let mut figures = String::new();
    for (name, figure) in &report.figures {
        let _ = writeln!(figures, "{name:<19} {figure:.3}"); // into memory: never fails
    }
    format!(
        "{} on {} nodes with {} links, seed {}, over {}: {} submitted\n\
         converged after     {} s\nlatency             {latency}\nbodies per node     {}\ncontrol bytes       {} per \
         transaction and node\nwire bytes          {:.0} per transaction and node\nover grants         {} bytes in {} \
         checks, {} of the time\nmemory              {} bytes per node\ntrace               {}\n{figures}{:.1} virtual s in {:.1} s, {:.0} events/s\n",
        report.name,
        report.nodes,
        report.links,
        report.seed,
        report.transport,
        report.submitted,
        number(report.converged_s),
        number(report.bodies_per_node),
        number(report.control_bytes_per_tx_per_node),
        report.wire_bytes_per_tx_per_node,
        report.peak_bytes_over_grants,
        report.checks,
        report.checker_share.map_or_else(|| "-".into(), |share| format!("{:.1} %", share * 100.0)),
        report.memory_bytes_per_node.map_or_else(|| "-".into(), |bytes| bytes.to_string()),
        report.trace_hash,
        report.virtual_s,
        report.wall_s,
        report.events_per_s,
    )
}
