//! How many instructions the machines execute for one unit of work, counted by callgrind: the same on a busy machine as on
//! an idle one, and alike from run to run to a few in a thousand (QUIC's cryptography draws from the system).
//!
//! Both ends live in this process, without sockets or clock: what one end sends is handed to the other, and time is a
//! number. Callgrind counts only while the named function of a workload runs, so that start-up and handshakes are left out.

mod callgrind;
mod links;
mod stacks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What carries a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// QUIC, by datagrams.
    Quic,
    /// Frames of a wire.
    Frames,
}

/// One figure.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is done, in a few words.
    pub about: &'static str,
    /// The function whose instructions count, with all that it calls; its name alone.
    pub function: &'static str,
    /// Does it, and returns how many units of work that were.
    pub run: fn() -> usize,
}

const WORKLOADS: [Workload; 8] = [
    Workload {
        name: "link-quic-1k",
        about: "two `Links` over QUIC: a stream of 1,000 bytes, opened, written, read, ended both ways",
        function: links::COUNTED,
        run: || links::streams(Over::Quic, 4_000, 1_000),
    },
    Workload {
        name: "link-quic-16k",
        about: "the same with 16,000 bytes",
        function: links::COUNTED,
        run: || links::streams(Over::Quic, 400, 16_000),
    },
    Workload {
        name: "link-frames-1k",
        about: "two `Links` over frames: a stream of 1,000 bytes",
        function: links::COUNTED,
        run: || links::streams(Over::Frames, 4_000, 1_000),
    },
    Workload {
        name: "link-frames-16k",
        about: "the same with 16,000 bytes",
        function: links::COUNTED,
        run: || links::streams(Over::Frames, 400, 16_000),
    },
    Workload {
        name: "publish-quic",
        about: "a `Stack` over QUIC: command to insert an item of 1,000 bytes, to the datagram with its offer",
        function: stacks::PUBLISHED,
        run: || stacks::spread(Over::Quic).published,
    },
    Workload {
        name: "candidate-quic",
        about: "a `Stack` over QUIC: the datagram with an item's body, to its candidate",
        function: stacks::RECEIVED,
        run: || stacks::spread(Over::Quic).received,
    },
    Workload {
        name: "publish-frames",
        about: "a `Stack` over frames: command to insert an item of 1,000 bytes, to the frame with its offer",
        function: stacks::PUBLISHED,
        run: || stacks::spread(Over::Frames).published,
    },
    Workload {
        name: "candidate-frames",
        about: "a `Stack` over frames: the frames with an item's body, to its candidate",
        function: stacks::RECEIVED,
        run: || stacks::spread(Over::Frames).received,
    },
];

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench instructions                      every workload, a table
  cargo xtask bench instructions --only frames        those whose name has `frames` in it
  cargo xtask bench instructions --keep /tmp/profile  keep callgrind's files, for callgrind_annotate

Needs valgrind. Takes about a minute.";

/// Instructions per unit of work, counted by callgrind.
#[derive(Debug, Parser)]
#[command(name = "instructions", version, after_help = EXAMPLES)]
struct Args {
    /// Only workloads with this in their name.
    #[arg(long, default_value = "")]
    only: String,
    /// Keep callgrind's files in this folder, one a workload.
    #[arg(long)]
    keep: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does one workload in this process and prints how many units it did: what runs under callgrind.
    Run {
        /// Its name.
        name: String,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Some(Command::Run { name }) => run(name),
        None => table(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str) -> Result<(), String> {
    let workload = WORKLOADS.iter().find(|workload| workload.name == name);
    let workload = workload.ok_or_else(|| format!("no workload named `{name}`"))?;
    println!("{}", (workload.run)());
    Ok(())
}

fn table(args: &Args) -> Result<(), String> {
    println!("| workload | instructions per unit | units | what |\n|---|---|---|---|");
    for workload in WORKLOADS.iter().filter(|workload| workload.name.contains(&args.only)) {
        let counted = callgrind::count(workload, args.keep.as_deref())?;
        let each = counted.instructions / counted.units.max(1);
        println!("| {} | {each} | {} | {} |", workload.name, counted.units, workload.about);
    }
    Ok(())
}
