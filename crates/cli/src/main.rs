//! The `weir` command: a devnet, audits of its stores, throughput, simulations, keys, and what libp2p's small protocols say.

mod addresses;
mod audit;
mod devnet;
mod error;
mod keys;
mod log;
mod output;
mod over;
mod peer;
mod perf;
mod process;
mod signals;
mod sim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weir::DialProblem;

use crate::error::Failure;

/// Simulations of thousands of nodes are bound by memory: this allocator has no lock that threads wait for, and takes large pages
/// where `MIMALLOC_ALLOW_LARGE_OS_PAGES` is 1 (`docs/simulator.md`).
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A pull-based peer-to-peer network stack for blockchain nodes.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version = output::VERSION,
    after_help = "\
Exit codes: 0 done; 1 it ran and did not come out as it must; 2 an option, file or address cannot be used; 129, 130, 143
stopped by SIGHUP, SIGINT (Ctrl-C), SIGTERM. With --json there is an object on failure, too: `ok` is false, `error` says why.

Run `weir COMMAND --help` for a command's options, ranges and examples.",
    arg_required_else_help = true
)]
struct Line {
    #[command(flatten)]
    log: log::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Devnet(devnet::Options),
    Audit(audit::Options),
    #[command(subcommand)]
    Perf(perf::Command),
    Sim(sim::Options),
    Keygen(keys::Options),
    Ping(peer::ping::Options),
    Identify(peer::identify::Options),
    Listen(peer::listen::Options),
}

fn main() -> ExitCode {
    let json = std::env::args_os().any(|word| word == "--json");
    let done = Line::try_parse().map_err(Refused::Line).and_then(|line| run(line).map_err(Refused::Command));
    match done {
        Ok(code) => code,
        Err(Refused::Line(told)) if !told.use_stderr() => {
            output::print(&told.to_string()).map_or_else(|failure| fail(&failure), |()| ExitCode::SUCCESS)
        }
        Err(Refused::Line(error)) => {
            let text = error.to_string();
            output::note(text.trim_end());
            if json {
                // clap's error begins with this word and ends with advice.
                let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
                told_in_json(first, None);
            }
            ExitCode::from(2)
        }
        Err(Refused::Command(failure)) => {
            if json {
                told_in_json(&failure.to_string(), failure.reason());
            }
            fail(&failure)
        }
    }
}

/// Why there is no result.
enum Refused {
    Line(clap::Error),
    Command(Failure),
}

fn run(line: Line) -> Result<ExitCode, Failure> {
    log::start(&line.log)?;
    match line.command {
        Command::Devnet(options) => devnet::main(&options),
        Command::Audit(options) => audit::main(&options),
        Command::Perf(command) => perf::main(&command),
        Command::Sim(options) => sim::main(&options),
        Command::Keygen(options) => keys::main(&options),
        Command::Ping(options) => peer::ping::main(&options),
        Command::Identify(options) => peer::identify::main(&options),
        Command::Listen(options) => peer::listen::main(&options),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    output::note(&format!("error: {failure}"));
    ExitCode::from(failure.exit_code())
}

fn told_in_json(error: &str, reason: Option<DialProblem>) {
    if let Err(failure) = output::print_failure(error, reason) {
        output::note(&format!("error: {failure}"));
    }
}
