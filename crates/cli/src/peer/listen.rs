//! `weir listen`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use weir::{Event, Events, Multiaddr, Network, PeerId};

use super::{GOODBYE, NETWORK, config};
use crate::addresses::Transport;
use crate::error::Failure;
use crate::over::Over;
use crate::signals::Signals;
use crate::{addresses, keys, output};

/// Run a plain node that answers libp2p's ping, identify and perf.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  weir listen                                              QUIC and TCP on ports of this machine alone
  weir listen --listen 0.0.0.0:4001 --transport tcp --key node.key
  weir listen --listen /ip4/0.0.0.0/tcp/4001 --announce /ip4/203.0.113.7/tcp/4001
                                                           behind a router that passes this port on
  weir listen --json                                       the addresses, then each event, an object a line

It serves perf, which costs as much as a peer wants: do not leave it open to strangers.

Exit codes: 1 it could not go on; 2 an option, file or address cannot be used; 129, 130, 143 stopped by SIGHUP, SIGINT (Ctrl-C),
SIGTERM: peers are told; a second signal stops at once.")]
pub(crate) struct Options {
    /// Where to listen, any number of times: a multiaddr, or IP:PORT (over `--transport`); port 0 lets the system choose
    /// [default: a port of 127.0.0.1 over QUIC and one over TCP; with `--transport`, over that alone].
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Where others reach this node, any number of times: a multiaddr, or IP:PORT (over `--transport`). Peers are told these instead of where it listens.
    #[arg(long, value_name = "ADDR")]
    announce: Vec<String>,
    /// Listen under the key in this file (see `weir keygen`) instead of a fresh one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    over: Over,
    /// Print one JSON object with `address` and all `addresses`, then one for each event.
    #[arg(long)]
    json: bool,
}

/// Measurements that one peer may have running.
const MEASUREMENTS: u32 = 4;

#[derive(Serialize)]
struct Listening {
    peer: String,
    address: String,
    addresses: Vec<String>,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let listens = listens(&options.over, &options.listen)?;
    options.over.check(&listens)?;
    let mut config = config(&options.over, Duration::ZERO)?;
    config.node.perf.max_inbound = MEASUREMENTS;
    let keypair = options.key.as_deref().map_or_else(keys::fresh, keys::read)?;
    let announced = announced(options, keypair.peer_id())?;
    let builder = Network::builder(keypair, NETWORK).config(config);
    let builder = listens.into_iter().fold(builder, weir::Builder::listen);
    let signals = Signals::watch()?;
    let (net, node, ()) =
        weir::start(builder).map_err(|error| Failure::input(format!("--listen: {error}")))?;
    if !announced.is_empty() {
        net.block_on(net.announce(announced))
            .map_err(|error| Failure::input(format!("--announce: {error}")))?;
    }
    let events = net.events();
    let all: Vec<String> =
        addresses::dialable(net.addresses(), net.peer_id()).iter().map(ToString::to_string).collect();
    let address = all.first().ok_or_else(|| Failure::run("no address is listened on"))?.clone();
    if options.json {
        let peer = net.peer_id().to_string();
        output::print_json(&Listening { peer, address, addresses: all }, None)?;
    } else {
        let lines: Vec<String> = all.iter().map(|address| format!("listening on {address}\n")).collect();
        output::print(&lines.concat())?;
    }
    let json = options.json;
    let telling = std::thread::Builder::new().name("events".into()).spawn(move || tell(&events, json));
    telling.map_err(|error| Failure::run(format!("cannot start a thread: {error}")))?;
    let signal = signals.wait();
    let told = net.block_on(node.shutdown(GOODBYE));
    output::note(&format!("stopped by {signal}: {} peers were told", told.closed + told.unfinished));
    Ok(ExitCode::from(signal.exit_code()))
}

/// The addresses of `--listen`; where there is none, a port of this machine alone over each transport, or over that of `--transport`.
fn listens(over: &Over, texts: &[String]) -> Result<Vec<Multiaddr>, Failure> {
    if !texts.is_empty() {
        return texts.iter().map(|text| over.address("--listen", text)).collect();
    }
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let transports = over.transport().map_or_else(|| vec![Transport::Quic, Transport::Tcp], |one| vec![one]);
    Ok(transports.into_iter().map(|transport| transport.address(here)).collect())
}

/// The addresses of `--announce`. One that leads nowhere is refused here: nobody would say so later.
fn announced(options: &Options, own: PeerId) -> Result<Vec<Multiaddr>, Failure> {
    let transport = options.over.transport().unwrap_or_default();
    let check = |text: &String| {
        let address = addresses::parse("--announce", text, transport)?;
        let leads_nowhere = address
            .socket_addr()
            .is_some_and(|(_, socket)| socket.port() == 0 || socket.ip().is_unspecified());
        if leads_nowhere {
            return Err(Failure::input(format!(
                "--announce: `{text}` leads nowhere: name an address and a port"
            )));
        }
        if let Some(other) = address.peer_id().filter(|named| *named != own) {
            return Err(Failure::input(format!(
                "--announce: `{text}` names another peer: this node is {own}, not {other}"
            )));
        }
        Ok(address)
    };
    options.announce.iter().map(check).collect()
}

/// Says what happens, until the node stops or nobody reads.
fn tell(events: &Events, json: bool) {
    while let Some(event) = events.next_blocking() {
        let told = if json { output::line(&event) } else { say(&event) };
        if let Err(failure) = told {
            return output::note(&format!("events are not told any more: {failure}"));
        }
    }
}

fn say(event: &Event) -> Result<(), Failure> {
    text(event).map_or(Ok(()), |text| output::print(&format!("{text}\n")))
}

/// What there is to say of an event, in a line.
fn text(event: &Event) -> Option<String> {
    Some(match event {
        Event::PeerUp { peer, agent, .. } => format!("{peer} is there: {}", agent.escape_debug()),
        Event::PeerDown { peer, reason, .. } => format!("{peer} is gone: {reason:?}"),
        Event::Refused { peer, reason, .. } => format!("{peer} was refused: {reason:?}"),
        Event::ConnectionRefused { peer, address, reason, suppressed } => {
            let peer = peer.as_ref().map(ToString::to_string);
            let address = address.as_ref().map(ToString::to_string);
            let whom = peer.or(address).unwrap_or_else(|| "a peer".into());
            let more = if *suppressed > 0 { format!(", and {suppressed} more were") } else { String::new() };
            format!("{whom} was {reason}{more}")
        }
        Event::Fault { peer, fault, .. } => format!("{peer} did wrong: {fault}"),
        Event::Identified { peer, agent: Some(agent), .. } => {
            format!("{peer} says it is {}", agent.escape_debug())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_is_named_with_the_reason() {
        let refused = |address: Option<&str>, suppressed| Event::ConnectionRefused {
            peer: None,
            address: address.map(|address| address.parse().unwrap()),
            reason: "refused: 8 of 8 inbound links from 10.1.0.0/16".into(),
            suppressed,
        };
        let reason = "was refused: 8 of 8 inbound links from 10.1.0.0/16";
        assert_eq!(text(&refused(Some("/ip4/10.1.2.3"), 0)), Some(format!("/ip4/10.1.2.3 {reason}")));
        assert_eq!(text(&refused(None, 24)), Some(format!("a peer {reason}, and 24 more were")));
    }
}
