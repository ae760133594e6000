//! Benchmarks of Weir beside other stacks: every figure of a table comes from one run of this program.
//!
//! Each side runs in child processes of this program, one after the other, rounds interleaved (A B C A B C …); a table gives
//! median and lowest–highest of each figure, the ratios, the settings, the versions and what else the machine did meanwhile.

mod figures;
mod job;
mod machine;
mod path;
mod process;
mod report;
mod settings;
mod sides;
mod suites;
mod versions;
mod workload;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Which benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// One stream over loopback in writes of 64 KiB and of 1 KiB: Gbit/s, CPU seconds per GiB.
    Quic,
    /// The same over TCP, by Noise and by TLS.
    Tcp,
    /// From the dial to the first answer, 50 ms of round trip away.
    Setup,
    /// Calls of 1 KiB each way between two processes: latency one at a time, rate with 64 in flight.
    Call,
    /// Short streams on one link, opened, echoed and ended.
    Streams,
    /// 16 nodes in one process spread items of 1 KiB: CPU, copies and latency of each delivery.
    Pool,
    /// A listener with 500 idle links: memory of each, share of a core.
    Idle,
    /// The same over TCP.
    IdleTcp,
    /// All of them.
    All,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench quic              three rounds of every side, 1 GiB each
  cargo xtask bench all --runs 5      every benchmark, five rounds
  cargo xtask bench call --quick      smaller sizes, to see that it runs
  cargo xtask bench pool --json       one JSON object instead of tables

Tables go to standard output, progress and warnings to standard error.";

/// Benchmarks of Weir beside other stacks, in one run.
#[derive(Debug, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES)]
struct Args {
    /// Which benchmark to run.
    name: Name,
    /// Rounds: how often each side runs. At least 3 unless `--quick`.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Smaller sizes, for a first look; not for tables that are published.
    #[arg(long)]
    quick: bool,
    /// One JSON object per benchmark instead of tables.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(process::SIDE) {
        return sides::run(&arguments.next().unwrap_or_default());
    }
    let args = Args::parse();
    if args.runs == 0 || (args.runs < 3 && !args.quick) {
        eprintln!("bench: --runs {}: at least 3, or 1 with --quick", args.runs);
        return ExitCode::from(2);
    }
    let plan = suites::Plan { rounds: args.runs, quick: args.quick };
    let mut reached = true;
    for suite in suites::SUITES {
        if args.name != Name::All && args.name != suite.name {
            continue;
        }
        match suites::run(suite, plan) {
            Ok(report) if args.json => println!("{}", report.json()),
            Ok(report) => println!("{}", report.markdown()),
            Err(error) => {
                eprintln!("bench: {}: {error}", suite.title);
                reached = false;
            }
        }
    }
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
