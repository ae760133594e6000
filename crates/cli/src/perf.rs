//! `weir perf`: throughput and set-up time between two nodes, on a network id of its own.
//!
//! One raw stream per transfer. The client writes two numbers (8 bytes each, little-endian): bytes it uploads, bytes it wants.
//! Then it uploads; the server answers the last byte with a one-byte receipt, then sends what was wanted.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;
use weir::{BlockingStream, Event, Events, Multiaddr, Network, NetworkId, PeerId, Raw, Streams};

use crate::error::Failure;
use crate::over::Over;
use crate::peer::{Connected, with_peer};
use crate::signals::Signals;
use crate::{addresses, keys, output};

const STREAM: Raw = Raw::new(1, "perf");
const NETWORK: NetworkId = NetworkId(*b"weir perf, a network of its own.");
/// Bytes moved by one read, and by one write of the server.
const PIECE: usize = 64 << 10;
/// How long the farewell may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Measure throughput and set-up time between two nodes.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "\
Examples:
  weir perf serve --listen 127.0.0.1:4001
  weir perf run --to /ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3… --upload-bytes 1073741824 --json
  weir perf serve --listen 127.0.0.1:4001 --transport tcp --security noise
  weir perf run --to 127.0.0.1:4001 --transport tcp --security noise
  weir perf peer /ip4/127.0.0.1/tcp/4001                        any node that serves /perf/1.0.0

Exit codes: 0 done; 1 it could not connect, or a transfer broke off; 2 an option or address cannot be used; 129, 130, 143
stopped by SIGHUP, SIGINT (Ctrl-C), SIGTERM: the other side is told; a second signal stops at once.")]
pub(crate) enum Command {
    /// Take uploads and send downloads until interrupted; prints the address to give to `run`.
    Serve(Serve),
    /// Connect, upload, download, and print what was reached.
    Run(Run),
    /// Measure any node that serves libp2p's `/perf/1.0.0`: one upload and one download.
    Peer(Peer),
}

/// Options of `serve`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit codes: 2 an option, file or address cannot be used; 129, 130, 143 stopped by a signal."
)]
pub(crate) struct Serve {
    /// Where to listen: a multiaddr, or IP:PORT (over `--transport`); port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: String,
    #[command(flatten)]
    over: Over,
    /// Serve under the key in this file (see `weir keygen`) instead of a fresh one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print one JSON object with `address` and all `addresses`, then nothing.
    #[arg(long)]
    json: bool,
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit codes: 0 done; 1 it could not connect, or a transfer broke off; 2 an option or address cannot be \
used; 129, 130, 143 stopped by a signal."
)]
pub(crate) struct Run {
    /// The server's address, as `serve` prints it.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    #[command(flatten)]
    over: Over,
    /// Bytes to upload; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    upload_bytes: u64,
    /// Bytes to download; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    download_bytes: u64,
    /// Bytes per write to the stream, 1 to 16,777,216.
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    write_bytes: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Options of `peer`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit codes: 0 done; 1 it could not connect, or does not serve perf; 2 an option or address cannot be used; \
129, 130, 143 stopped by a signal."
)]
pub(crate) struct Peer {
    /// The node's address: a multiaddr, or IP:PORT (over `--transport`).
    #[arg(value_name = "ADDR")]
    address: String,
    /// Bytes to upload; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 1 << 28)]
    upload_bytes: u64,
    /// Bytes to download; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 1 << 28)]
    download_bytes: u64,
    #[command(flatten)]
    over: Over,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Rates {
    upload_gbit_s: Option<f64>,
    download_gbit_s: Option<f64>,
    upload_bytes: u64,
    download_bytes: u64,
}

#[derive(Serialize)]
struct Listening {
    address: String,
    addresses: Vec<String>,
}

#[derive(Serialize)]
struct Figures {
    upload_gbit_s: Option<f64>,
    download_gbit_s: Option<f64>,
    connect_ms: f64,
    first_response_ms: f64,
    upload_bytes: u64,
    download_bytes: u64,
    write_bytes: usize,
}

/// Runs the command.
pub(crate) fn main(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(options) => serve(options),
        Command::Run(options) => run(options),
        Command::Peer(options) => peer(options),
    }
}

fn peer(options: &Peer) -> Result<ExitCode, Failure> {
    let (upload, download) = (options.upload_bytes, options.download_bytes);
    let rates = with_peer(&options.address, (Duration::ZERO, &options.over), move |connected| {
        Ok(Rates {
            upload_gbit_s: one_way(connected, upload, 0)?,
            download_gbit_s: one_way(connected, 0, download)?,
            upload_bytes: upload,
            download_bytes: download,
        })
    })?;
    if options.json {
        output::print_json(&rates, None)?;
    } else {
        let [upload, download] = [rates.upload_gbit_s, rates.download_gbit_s].map(rate);
        output::print(&format!("upload {upload}, download {download}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One measurement by libp2p's perf, in Gbit/s; `None` where it is empty.
fn one_way(connected: &Connected, upload: u64, download: u64) -> Result<Option<f64>, Failure> {
    let Connected { net, peer, .. } = connected;
    if upload + download == 0 {
        return Ok(None);
    }
    let took = net.block_on(net.peers().measure(*peer, upload, download)).map_err(Failure::run)?;
    let took = took.ok_or_else(|| Failure::run(format!("{peer} does not serve perf, or broke off")))?;
    Ok(Some(gbit_s(upload + download, took)))
}

#[allow(clippy::cast_precision_loss)] // bytes of a transfer, far below 2^52
fn gbit_s(bytes: u64, took: Duration) -> f64 {
    bytes as f64 * 8.0 / took.as_secs_f64() / 1e9
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), |rate| format!("{rate:.2} Gbit/s"))
}

/// What a node is told that listens on, or dials, this address.
fn config(over: &Over, address: &Multiaddr) -> Result<weir::Config, Failure> {
    over.check(std::slice::from_ref(address))?;
    let mut config = weir::Config::default();
    over.apply(&mut config)?;
    Ok(config)
}

fn serve(options: &Serve) -> Result<ExitCode, Failure> {
    let listen = options.over.address("--listen", &options.listen)?;
    let config = config(&options.over, &listen)?;
    let keypair = options.key.as_deref().map_or_else(keys::fresh, keys::read)?;
    let signals = Signals::watch()?;
    let (net, node, streams) =
        weir::start(Network::builder(keypair, NETWORK).config(config).channels(STREAM).listen(listen))
            .map_err(|error| Failure::input(format!("--listen: {error}")))?;
    let addresses: Vec<String> =
        addresses::dialable(net.addresses(), net.peer_id()).iter().map(ToString::to_string).collect();
    let address = addresses.first().ok_or_else(|| Failure::run("no address is listened on"))?.clone();
    if options.json {
        output::print_json(&Listening { address, addresses }, None)?;
    } else {
        let lines: Vec<String> =
            addresses.iter().map(|address| format!("listening on {address}\n")).collect();
        output::print(&lines.concat())?;
    }
    let accepting = std::thread::Builder::new().name("accept".into()).spawn(move || accept(&streams));
    accepting.map_err(|error| Failure::run(format!("cannot start a thread: {error}")))?;
    let events = net.events();
    let telling = std::thread::Builder::new().name("events".into()).spawn(move || tell(&events));
    telling.map_err(|error| Failure::run(format!("cannot start a thread: {error}")))?;
    let signal = signals.wait();
    let told = net.block_on(node.shutdown(GOODBYE));
    output::note(&format!("stopped by {signal}: {} clients were told", told.closed + told.unfinished));
    Ok(ExitCode::from(signal.exit_code()))
}

/// Says who comes and goes, until the node stops.
fn tell(events: &Events) {
    while let Some(event) = events.next_blocking() {
        match event {
            Event::PeerUp { peer, .. } => output::note(&format!("a client connected: {peer}")),
            Event::PeerDown { peer, .. } => output::note(&format!("a client is gone: {peer}")),
            Event::Fault { peer, fault, .. } => output::note(&format!("{peer} did wrong: {fault}")),
            _ => {}
        }
    }
}

/// Answers each stream on a thread of its own, until the node stops.
fn accept(streams: &Streams) {
    while let Some(stream) = streams.next_blocking() {
        let answering = std::thread::Builder::new().name("perf".into()).spawn(move || {
            if let Err(error) = answer(&mut stream.blocking()) {
                tracing::debug!(%error, "a transfer broke off");
            }
        });
        if let Err(error) = answering {
            output::note(&format!("a transfer was refused: {error}"));
        }
    }
}

fn answer(stream: &mut BlockingStream) -> std::io::Result<()> {
    let (mut upload, mut download) = ([0; 8], [0; 8]);
    stream.read_exact(&mut upload)?;
    stream.read_exact(&mut download)?;
    drain(stream, u64::from_le_bytes(upload))?;
    stream.write_all(&[1])?;
    send(stream, u64::from_le_bytes(download), PIECE)?;
    stream.finish();
    Ok(())
}

fn drain(stream: &mut impl Read, bytes: u64) -> std::io::Result<()> {
    let (mut left, mut piece) = (bytes, vec![0; PIECE]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let read = stream.read(piece.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= read as u64;
    }
    Ok(())
}

fn send(stream: &mut impl Write, bytes: u64, write: usize) -> std::io::Result<()> {
    let (mut left, piece) = (bytes, vec![7; write]);
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(write).min(write);
        stream.write_all(piece.get(..len).unwrap_or_default())?;
        left -= len as u64;
    }
    stream.flush()
}

fn run(options: &Run) -> Result<ExitCode, Failure> {
    let to = options.over.address("--to", &options.to)?;
    let config = config(&options.over, &to)?;
    if !(1..=16 << 20).contains(&options.write_bytes) {
        let given = options.write_bytes;
        return Err(Failure::input(format!("--write-bytes: {given} is not between 1 and 16777216")));
    }
    let signals = Signals::watch()?;
    let (net, node, streams) =
        weir::start(Network::builder(keys::fresh()?, NETWORK).config(config).channels(STREAM))
            .map_err(Failure::run)?;
    let (client, plan) = (net.clone(), options.clone());
    let measuring = signals.run(move || measure((&client, &streams), to, &plan))?;
    let measured = loop {
        match measuring.wait(Duration::from_secs(3600)) {
            Ok(Some(measured)) => break measured,
            Ok(None) => {}
            Err(stopped) => break Err(stopped),
        }
    };
    net.block_on(node.shutdown(GOODBYE));
    let figures = measured?;
    if options.json {
        output::print_json(&figures, None)?;
    } else {
        output::print(&text(&figures))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure((net, streams): (&Network, &Streams), to: Multiaddr, options: &Run) -> Result<Figures, Failure> {
    let begun = Instant::now();
    let peer = net.block_on(net.connect(to)).map_err(|error| {
        let text =
            format!("--to: cannot connect to {}: {error}; is `weir perf serve` running there?", options.to);
        Failure::connect(text, &error)
    })?;
    let connected = begun.elapsed();
    exchange((net, streams), peer, 1, 0, 1)?;
    let first_response = begun.elapsed();
    Ok(Figures {
        upload_gbit_s: transfer((net, streams), peer, options.upload_bytes, 0, options.write_bytes)?,
        download_gbit_s: transfer((net, streams), peer, 0, options.download_bytes, options.write_bytes)?,
        connect_ms: connected.as_secs_f64() * 1e3,
        first_response_ms: first_response.as_secs_f64() * 1e3,
        upload_bytes: options.upload_bytes,
        download_bytes: options.download_bytes,
        write_bytes: options.write_bytes,
    })
}

fn text(figures: &Figures) -> String {
    format!(
        "upload {}, download {}, writes of {} bytes\nconnected after {:.1} ms, first response after {:.1} ms\n",
        rate(figures.upload_gbit_s),
        rate(figures.download_gbit_s),
        figures.write_bytes,
        figures.connect_ms,
        figures.first_response_ms
    )
}

/// One transfer, in Gbit/s; `None` where it is empty.
fn transfer(
    (net, streams): (&Network, &Streams),
    peer: PeerId,
    upload: u64,
    download: u64,
    write: usize,
) -> Result<Option<f64>, Failure> {
    let bytes = upload.saturating_add(download);
    if bytes == 0 {
        return Ok(None);
    }
    let took = exchange((net, streams), peer, upload, download, write)?;
    Ok(Some(gbit_s(bytes, took)))
}

/// From the first write to the receipt, or to the last byte of the download.
fn exchange(
    (net, streams): (&Network, &Streams),
    peer: PeerId,
    upload: u64,
    download: u64,
    write: usize,
) -> Result<Duration, Failure> {
    let stream = net.block_on(streams.open(peer)).map_err(Failure::run)?;
    let broken = |error: std::io::Error| Failure::run(format!("the transfer broke off: {error}"));
    let mut stream = stream.blocking();
    let begun = Instant::now();
    stream.write_all(&[upload.to_le_bytes(), download.to_le_bytes()].concat()).map_err(broken)?;
    send(&mut stream, upload, write).map_err(broken)?;
    stream.finish();
    drain(&mut stream, download.saturating_add(1)).map_err(broken)?;
    Ok(begun.elapsed())
}
