//! `weir devnet`: a small network of complete nodes on real sockets, in one process.
//!
//! Each node has its own UDP socket, network thread, application thread and store. Transactions spread through the pool,
//! blocks by tip and call; at the end every node's store is read back and compared.

mod blame;
mod crash;
mod feed;
mod fleet;
mod folder;
mod graph;
mod hostile;
mod interval;
mod load;
mod progress;
mod report;
mod rows;
mod run;
mod source;
mod view;
mod watch;

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;
use weir_chain::hostile::Hostile;

use crate::addresses::Transport;
use crate::error::Failure;
use crate::output;
use crate::signals::Signals;

/// Start a small network of complete nodes, spread transactions and blocks, and check that all nodes agree.
#[derive(Args, Clone, Debug, Serialize)]
#[command(after_help = "\
Examples:
  weir devnet                            7 nodes, 20 blocks, 200 transactions a second, live
  weir devnet --nodes 16 --rate 1000     a larger network under more load
  weir devnet --txs payloads.txt         one transaction for each line of a file
  weir devnet --kill-one --json          crash a node, let it catch up; one JSON object at the end
  weir devnet --hostile spam             with a node that publishes what cannot be paid for
  weir devnet --transport mixed          every other node listens on TCP instead of QUIC

Exit codes: 0 all nodes agree and all transactions are committed; 1 they do not, a node failed, or no block came for 30 s
longer than it should; 2 an option, file or port cannot be used; 129, 130, 143 stopped by SIGHUP, SIGINT (Ctrl-C), SIGTERM:
the nodes say goodbye and what is known is printed; a second signal stops at once.")]
pub(crate) struct Options {
    /// Nodes, 2 to 64.
    #[arg(long, default_value_t = 7, value_name = "N")]
    pub(crate) nodes: usize,
    /// Height to reach, 3 to 1,000,000. The load stops two blocks before; blocks go on until all pools are empty.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) blocks: u64,
    /// Transactions a second, over all nodes, up to 100,000; 0 for none.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) rate: u32,
    /// Links per node in the random graph, 1 to 63.
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) degree: usize,
    /// Milliseconds between blocks, 50 to 3,600,000. By default 1000, or less where blocks of that time could not hold the rate.
    #[arg(long, value_name = "MS")]
    pub(crate) block_ms: Option<u64>,
    /// Decides graph, keys, payloads and who is killed.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Take payloads from a file, one per line of at most 16,384 bytes, instead of making them up.
    #[arg(long, value_name = "FILE")]
    pub(crate) txs: Option<PathBuf>,
    /// Stop a node that is not the producer without goodbye or flush; it comes back after 3 s and catches up. Needs
    /// --blocks 8 or more.
    #[arg(long)]
    pub(crate) kill_one: bool,
    /// Add a node that misbehaves and is linked to all: mute, spam, unpayable or forge. It counts in no figure.
    #[arg(long, value_name = "WHAT")]
    pub(crate) hostile: Option<Hostile>,
    /// What carries the links: quic, tcp, or mixed, where every other node listens on TCP.
    #[arg(long, value_enum, default_value_t = Carriers::Quic, value_name = "TRANSPORT")]
    pub(crate) transport: Carriers,
    /// First UDP or TCP port of 127.0.0.1; nodes take one each from there on. By default the system chooses.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Write the live view, a picture a second, to this file as an animated SVG instead of showing it.
    #[arg(long, value_name = "FILE", hide = true)]
    #[serde(skip)]
    pub(crate) record: Option<PathBuf>,
    /// Keep the stores. (They are kept on failure, too.)
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print one JSON object at the end and nothing else.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}

/// What carries the links of a devnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Carriers {
    /// QUIC, over UDP.
    Quic,
    /// TCP with Noise and yamux, as libp2p has it.
    Tcp,
    /// Nodes with an odd number listen on TCP, the others on QUIC; each dials both.
    Mixed,
}

impl Carriers {
    /// Where a node listens.
    pub(crate) fn of(self, node: usize) -> Transport {
        match self {
            Self::Tcp => Transport::Tcp,
            Self::Mixed if node % 2 == 1 => Transport::Tcp,
            Self::Quic | Self::Mixed => Transport::Quic,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), Failure> {
        let range = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(Failure::input(format!("--{name}: {value} is not between {low} and {high}")))
            }
        };
        range("nodes", self.nodes as u64, 2, watch::NODES_MAX as u64)?;
        range("blocks", self.blocks, 3, 1_000_000)?;
        range("rate", u64::from(self.rate), 0, 100_000)?;
        range("degree", self.degree as u64, 1, 63)?;
        if let Some(block_ms) = self.block_ms {
            range("block-ms", block_ms, interval::BLOCK_MS_MIN, 3_600_000)?;
        }
        if let Some(port) = self.port {
            range("port", u64::from(port), 1, 65_536 - self.nodes as u64)?;
        }
        if self.txs.is_some() && self.rate == 0 {
            return Err(Failure::input(
                "--rate: 0 would never submit the lines of --txs; give a rate of 1 or more",
            ));
        }
        if self.kill_one && self.blocks < 8 {
            return Err(Failure::input(
                "--kill-one: needs --blocks 8 or more, so that the node can come back",
            ));
        }
        if let Some(path) = &self.record {
            // what is there stays until the run has ended
            OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                Failure::input(format!(
                    "--record: cannot write {}: {error}; give a file in a folder that exists and can be written to",
                    path.display()
                ))
            })?;
        }
        Ok(())
    }
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    options.check()?;
    let signals = Signals::watch()?;
    let report = run::run(options, &signals)?;
    let error = report.failure().map(ToString::to_string);
    if options.json {
        output::print_json(&report, error.as_deref())?;
    } else {
        output::print(&report.text())?;
    }
    if let Some(error) = error {
        output::note(&format!("error: {error}"));
    }
    Ok(report.failure().map_or(ExitCode::SUCCESS, |failure| ExitCode::from(failure.exit_code())))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let check = |words: &[&str]| {
            let line = Line::parse_from([&["devnet"], words].concat());
            line.options.check().map_err(|failure| failure.to_string())
        };
        assert_eq!(check(&[]), Ok(()));
        for (words, name) in [
            (&["--nodes", "1"][..], "--nodes"),
            (&["--nodes", "65"], "--nodes"),
            (&["--blocks", "2"], "--blocks"),
            (&["--degree", "0"], "--degree"),
            (&["--port", "65530"], "--port"),
            (&["--rate", "0", "--txs", "x"], "--rate"),
            (&["--kill-one", "--blocks", "7"], "--kill-one"),
        ] {
            assert!(check(words).unwrap_err().contains(name), "{words:?}");
        }
    }
}
