//! `weir identify`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use weir::Event;

use super::{Connected, next, with_peer};
use crate::error::Failure;
use crate::output;
use crate::over::Over;

/// Ask a node who it is and what it speaks, by libp2p's identify.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  weir identify /ip4/127.0.0.1/tcp/4001
  weir identify 127.0.0.1:4001 --transport tcp --security noise
  weir identify /dns4/node.example.org/tcp/4001/p2p/12D3… --json

Exit codes: 0 it answered; 1 it could not connect, or there was no answer; 2 an option or address cannot be used; 129, 130, 143
stopped by SIGHUP, SIGINT (Ctrl-C), SIGTERM.")]
pub(crate) struct Options {
    /// The node's address: a multiaddr, or IP:PORT (over `--transport`).
    #[arg(value_name = "ADDR")]
    address: String,
    #[command(flatten)]
    over: Over,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How long an answer may take: longer than the stream may.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct Identified {
    peer: String,
    agent: Option<String>,
    protocol_version: Option<String>,
    protocols: Vec<String>,
    addresses: Vec<String>,
    observed: Option<String>,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let told = with_peer(&options.address, (Duration::ZERO, &options.over), ask)?;
    if options.json {
        output::print_json(&told, None)?;
    } else {
        output::print(&text(&told))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(connected: &Connected) -> Result<Identified, Failure> {
    let Connected { net, peer, .. } = connected;
    net.block_on(net.peers().identify(*peer)).map_err(Failure::run)?;
    let told = next(connected, PATIENCE, |event| match event {
        Event::Identified { peer: whose, agent, protocol_version, protocols, addresses, observed }
            if whose == *peer =>
        {
            Some(Identified {
                peer: peer.to_string(),
                agent,
                protocol_version,
                protocols,
                addresses: addresses.iter().map(ToString::to_string).collect(),
                observed: observed.map(|address| address.to_string()),
            })
        }
        _ => None,
    })?;
    told.ok_or_else(|| Failure::run(format!("{peer} did not say who it is")))
}

/// Texts of a peer are shown without what a terminal would obey.
fn text(told: &Identified) -> String {
    let shown = |text: &Option<String>| {
        text.as_deref().map_or_else(|| "-".to_owned(), |text| text.escape_debug().to_string())
    };
    let mut out = format!(
        "peer              {}\nagent             {}\nprotocol version  {}\nsees this node at {}\n",
        told.peer,
        shown(&told.agent),
        shown(&told.protocol_version),
        shown(&told.observed)
    );
    for (name, list) in [("listens at", &told.addresses), ("speaks", &told.protocols)] {
        for (at, entry) in list.iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<17} {}", entry.escape_debug());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_printed_as_it_is() {
        let told = Identified {
            peer: "12D3".into(),
            agent: Some("\u{1b}[2Jagent".into()),
            protocol_version: None,
            protocols: vec!["/a\u{7}".into(), "/b".into()],
            addresses: Vec::new(),
            observed: None,
        };
        let text = text(&told);
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
        assert!(text.contains("agent             \\u{1b}[2Jagent\n"), "{text}");
        assert!(text.ends_with("speaks            /a\\u{7}\n                  /b\n"), "{text}");
    }
}
