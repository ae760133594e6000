//! `weir ping`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use weir::Event;

use super::{Connected, next, with_peer};
use crate::error::Failure;
use crate::output;
use crate::over::Over;

/// Measure round trips to a node, by libp2p's ping.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  weir ping /ip4/127.0.0.1/tcp/4001                       any libp2p node, whoever it is
  weir ping /ip4/127.0.0.1/tcp/4001/p2p/12D3… --count 10  this peer, or nobody
  weir ping /ip4/127.0.0.1/udp/4001/quic-v1               the same over QUIC
  weir ping 127.0.0.1:4001 --json                         as short as that over QUIC
  weir ping 127.0.0.1:4001 --transport tcp --security tls --muxer yamux

Exit codes: 0 every ping was answered; 1 it could not connect, or an answer is missing; 2 an option or address cannot be used;
129, 130, 143 stopped by SIGHUP, SIGINT (Ctrl-C), SIGTERM.")]
pub(crate) struct Options {
    /// The node's address: a multiaddr, or IP:PORT (over `--transport`).
    #[arg(value_name = "ADDR")]
    address: String,
    /// How many pings, 1 to 1,000,000.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Pause between an answer and the next ping, in milliseconds, 1 to 3,600,000.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    interval_ms: u64,
    #[command(flatten)]
    over: Over,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How much longer than the interval an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct Measured {
    peer: String,
    address: String,
    connect_ms: f64,
    rtt_ms: Vec<f64>,
    least_ms: f64,
    mean_ms: f64,
    most_ms: f64,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let plan = options.clone();
    let begun = Instant::now();
    let interval = Duration::from_millis(options.interval_ms);
    let measured = with_peer(&options.address, (interval, &options.over), move |connected| {
        measure(connected, &plan, begun.elapsed())
    })?;
    if options.json {
        output::print_json(&measured, None)?;
    } else {
        let Measured { least_ms, mean_ms, most_ms, rtt_ms, .. } = &measured;
        let count = rtt_ms.len();
        output::print(&format!(
            "{count} of {count} answered: least {least_ms:.3} ms, mean {mean_ms:.3} ms, most {most_ms:.3} ms\n"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(connected: &Connected, options: &Options, connect: Duration) -> Result<Measured, Failure> {
    let peer = connected.peer;
    let limit = Duration::from_millis(options.interval_ms) + PATIENCE;
    if !options.json {
        output::print(&format!("connected to {peer} after {:.1} ms\n", connect.as_secs_f64() * 1e3))?;
    }
    let mut rtt_ms = Vec::new();
    while rtt_ms.len() < options.count as usize {
        let rtt = next(connected, limit, |event| match event {
            Event::Rtt { peer: whose, rtt } if whose == peer => Some(rtt),
            _ => None,
        })?;
        let Some(rtt) = rtt else {
            let (got, count) = (rtt_ms.len(), options.count);
            return Err(Failure::run(format!("{peer} answered {got} of {count} pings")));
        };
        let rtt = rtt.as_secs_f64() * 1e3;
        rtt_ms.push(rtt);
        if !options.json {
            output::print(&format!("ping {}: {rtt:.3} ms\n", rtt_ms.len()))?;
        }
    }
    let (address, connect_ms) = (options.address.clone(), connect.as_secs_f64() * 1e3);
    let least_ms = rtt_ms.iter().copied().fold(f64::INFINITY, f64::min);
    let most_ms = rtt_ms.iter().copied().fold(0.0, f64::max);
    let mean_ms = rtt_ms.iter().sum::<f64>() / f64::from(options.count);
    Ok(Measured { peer: peer.to_string(), address, connect_ms, rtt_ms, least_ms, mean_ms, most_ms })
}
