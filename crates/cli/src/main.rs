//! The `weir` command: a devnet, throughput, and simulations.

mod devnet;
mod error;
mod perf;
mod sim;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Failure;

/// A pull-based peer-to-peer network stack for blockchain nodes.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Run `weir COMMAND --help` for a command's options and examples.",
    arg_required_else_help = true
)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Devnet(devnet::Options),
    #[command(subcommand)]
    Perf(perf::Command),
    Sim(sim::Options),
}

fn main() -> ExitCode {
    let done = match Line::parse().command {
        Command::Devnet(options) => devnet::main(&options),
        Command::Perf(command) => perf::main(&command),
        Command::Sim(options) => sim::main(&options),
    };
    done.unwrap_or_else(|failure| {
        note(&format!("error: {failure}"));
        ExitCode::from(failure.exit_code())
    })
}

/// Writes to standard output; a reader that went away is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes one JSON object and a line end to standard output.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::run(format!("result: {error}")))?;
    print(&format!("{text}\n"));
    Ok(())
}

/// Writes a line for people to standard error.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
