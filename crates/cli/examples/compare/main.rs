//! Real nodes on this machine beside the same nodes in the simulator: `cargo xtask compare`, and what their turns take:
//! `cargo xtask calibrate` ([`constants`]).
//!
//! For 7 and 16 nodes, on loopback and with a round trip of 20 ms: latency, bytes, and processor time per transaction and
//! node, natively and simulated, and where they differ by more than 20 %. The nodes of a native run are one process, so that its
//! processor time is theirs; the delay is made by this one ([`relay`]), and costs them nothing. What is compared with the simulator is
//! the time of the network threads; that of the application's threads is printed beside it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks on its standard streams")]

mod constants;
mod native;
mod relay;
mod usage;

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};

use serde::Serialize;
use weir_sim::Processors;
use weir_sim::compare::{Apart, Case, Figures, plan, simulate};

use crate::relay::Relay;

/// What goes wrong in a program that measures.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The argument of the process that has the nodes.
const NODES: &str = "nodes";
/// The argument that has the constants of turns measured instead.
const CALIBRATE: &str = "calibrate";

const USAGE: &str = "cargo xtask compare [--rate PER_SECOND] [--seconds S] [--json]: real nodes beside simulated ones\n\
    cargo xtask calibrate: what turns take";

/// Figures that differ by more than this share are named.
const DIFFERENT: f64 = 0.2;

/// One case, both sides.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    case: Case,
    native: Figures,
    simulated: Figures,
    /// Figures that differ by more than a fifth.
    different: Vec<&'static str>,
}

struct Options {
    rate: u32,
    seconds: u32,
    json: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.first().map(String::as_str) {
        Some(NODES) => native::serve(),
        Some(CALIBRATE) if words.len() == 1 => constants::print(),
        _ => match options(&words) {
            Some(options) => compare(&options),
            None => Err(USAGE.into()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(words: &[String]) -> Option<Options> {
    let mut options = Options { rate: 100, seconds: 20, json: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => options.json = true,
            "--rate" => options.rate = words.next()?.parse().ok().filter(|rate| *rate > 0)?,
            "--seconds" => options.seconds = words.next()?.parse().ok().filter(|seconds| *seconds > 0)?,
            _ => return None,
        }
    }
    Some(options)
}

fn compare(options: &Options) -> Fallible<()> {
    let mut rows = Vec::new();
    for apart in [Apart::Loopback, Apart::Region] {
        for nodes in [7, 16] {
            let (rate, seconds) = (options.rate, options.seconds);
            let case = Case { nodes, links: 4, apart, rate, seconds, seed: 1, processor: Processors::Native };
            eprintln!("{nodes} nodes, {:?} apart: {seconds} s of real nodes …", apart.round_trip());
            let native = run_nodes(&case)?;
            eprintln!("{nodes} nodes, {:?} apart: simulated …", apart.round_trip());
            let simulated = simulate(&case)?;
            let different = figures(&native, &simulated)
                .into_iter()
                .filter(|(_, one, other)| (one / other - 1.0).abs() > DIFFERENT);
            let different = different.map(|(name, ..)| name).collect();
            rows.push(Row { case, native, simulated, different });
        }
    }
    if options.json {
        println!("{}", serde_json::to_string(&rows)?);
        return Ok(());
    }
    println!("{:24} {:28} {:>10} {:>10} {:>8}", "", "", "native", "simulated", "ratio");
    for row in &rows {
        let case = format!(
            "{} nodes, {}",
            row.case.nodes,
            match row.case.apart {
                Apart::Loopback => "loopback",
                Apart::Region => "20 ms",
            }
        );
        for (name, native, simulated) in figures(&row.native, &row.simulated) {
            let mark = if row.different.contains(&name) { "  differs" } else { "" };
            println!(
                "{case:24} {name:28} {native:>10.1} {simulated:>10.1} {:>8.2}{mark}",
                native / simulated
            );
        }
        println!("{case:24} {:28} {:>10} {:>10}", "pairs missing", row.native.missing, row.simulated.missing);
        if let Some(whole) = row.native.process_cpu_us {
            println!("{case:24} {:28} {whole:>10.1}", "process, µs");
        }
    }
    Ok(())
}

/// The figures that are compared: native, then simulated. NaN where one is not known.
fn figures(native: &Figures, simulated: &Figures) -> [(&'static str, f64, f64); 7] {
    let of = |figure: fn(&Figures) -> Option<f64>| {
        [native, simulated].map(|side| figure(side).unwrap_or(f64::NAN)).into()
    };
    let row = |name, (native, simulated): (f64, f64)| (name, native, simulated);
    [
        row("latency p50, ms", of(|side| side.latency_ms.p50)),
        row("latency p95, ms", of(|side| side.latency_ms.p95)),
        row("latency p99, ms", of(|side| side.latency_ms.p99)),
        row("bytes in", of(|side| Some(side.wire_bytes))),
        row("turns", of(|side| Some(side.work.turns))),
        row("datagrams, in and out", of(|side| Some(side.work.packets))),
        row("network thread, µs", of(|side| side.network_cpu_us)),
    ]
}

/// Runs the nodes of a case in a process of their own.
fn run_nodes(case: &Case) -> Fallible<Figures> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(NODES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the nodes' process has no standard streams".into());
    };
    let mut lines = BufReader::new(output).lines();
    let mut next =
        || -> Fallible<String> { Ok(lines.next().ok_or("the nodes' process ended before its time")??) };
    writeln!(input, "{}", serde_json::to_string(case)?)?;
    let ports: Vec<u16> = serde_json::from_str(&next()?)?;
    let port = |node: u32| ports.get(node as usize).copied().ok_or("a node has no port");
    let edges = plan(case)?.edges;
    let ends = edges.iter().map(|(one, other)| Ok([port(*one)?, port(*other)?]));
    let ends: Vec<[u16; 2]> = ends.collect::<Result<_, &str>>()?;
    let relay = match case.apart {
        Apart::Loopback => None,
        Apart::Region => Some(Relay::start(&ends, case.apart.round_trip() / 2)?),
    };
    let dials: Vec<u16> = match &relay {
        None => ends.iter().map(|[_, listener]| *listener).collect(),
        Some(relay) => relay.ports().to_vec(),
    };
    writeln!(input, "{}", serde_json::to_string(&dials)?)?;
    let found = serde_json::from_str(&next()?)?;
    drop(relay);
    if !child.wait()?.success() {
        return Err("the nodes' process failed".into());
    }
    Ok(found)
}
