//! `weir perf`: throughput and set-up time between two nodes, on a network id of its own.
//!
//! One raw stream per transfer. The client writes two numbers (8 bytes each, little-endian): bytes it uploads, bytes it wants.
//! Then it uploads; the server answers the last byte with a one-byte receipt, then sends what was wanted.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;
use weir::{BlockingStream, Keypair, Multiaddr, Network, NetworkId, PeerId, Raw};

use crate::error::Failure;

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
  weir perf run --to /ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3… --upload-bytes 1073741824 --json")]
pub(crate) enum Command {
    /// Take uploads and send downloads until interrupted; prints the address to give to `run`.
    Serve(Serve),
    /// Connect, upload, download, and print what was reached.
    Run(Run),
}

/// Options of `serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    /// Where to listen: `IP:PORT` or a multiaddr; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: String,
    /// Print one JSON object with `address`, then nothing.
    #[arg(long)]
    json: bool,
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// The server's address, as `serve` prints it.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// Bytes to upload.
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    upload_bytes: u64,
    /// Bytes to download.
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    download_bytes: u64,
    /// Bytes per write to the stream, 1 to 16,777,216.
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    write_bytes: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Address {
    address: String,
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
    }
}

fn keypair() -> Result<Keypair, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::run(format!("no randomness from the system: {error}")))?;
    Ok(Keypair::ed25519_from_seed(seed))
}

fn parse(option: &str, text: &str) -> Result<Multiaddr, Failure> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Multiaddr::from_quic(address));
    }
    text.parse().map_err(|error| {
        Failure::input(format!("{option}: `{text}` is neither IP:PORT nor a multiaddr: {error}"))
    })
}

fn serve(options: &Serve) -> Result<ExitCode, Failure> {
    let listen = parse("--listen", &options.listen)?;
    let (net, node) = weir::start(Network::builder(keypair()?, NETWORK).raw(&STREAM).listen(listen))
        .map_err(|error| Failure::input(format!("--listen: {error}")))?;
    let address = net.addresses().first().ok_or_else(|| Failure::run("no address is listened on"))?.clone();
    let address = address.clone().with_p2p(net.peer_id()).unwrap_or(address).to_string();
    if options.json {
        crate::print_json(&Address { address })?;
    } else {
        crate::print(&format!("listening on {address}\n"));
    }
    let streams = node.streams(&STREAM).map_err(Failure::run)?;
    while let Some(stream) = streams.next_blocking() {
        let answering = std::thread::Builder::new().name("perf".into()).spawn(move || {
            if let Err(error) = answer(&mut stream.blocking()) {
                tracing::debug!(%error, "a transfer broke off");
            }
        });
        if let Err(error) = answering {
            crate::note(&format!("a transfer was refused: {error}"));
        }
    }
    Ok(ExitCode::SUCCESS)
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
    let to = parse("--to", &options.to)?;
    if !(1..=16 << 20).contains(&options.write_bytes) {
        let given = options.write_bytes;
        return Err(Failure::input(format!("--write-bytes: {given} is not between 1 and 16777216")));
    }
    let builder = Network::builder(keypair()?, NETWORK).raw(&STREAM);
    let (net, node) = weir::start(builder).map_err(Failure::run)?;
    let begun = Instant::now();
    let peer = net
        .block_on(net.connect(to))
        .map_err(|error| Failure::run(format!("--to: cannot connect to {}: {error}", options.to)))?;
    let connected = begun.elapsed();
    exchange(&net, peer, 1, 0, 1)?;
    let first_response = begun.elapsed();
    let upload = transfer(&net, peer, options.upload_bytes, 0, options.write_bytes)?;
    let download = transfer(&net, peer, 0, options.download_bytes, options.write_bytes)?;
    let figures = Figures {
        upload_gbit_s: upload,
        download_gbit_s: download,
        connect_ms: connected.as_secs_f64() * 1e3,
        first_response_ms: first_response.as_secs_f64() * 1e3,
        upload_bytes: options.upload_bytes,
        download_bytes: options.download_bytes,
        write_bytes: options.write_bytes,
    };
    net.block_on(node.shutdown(GOODBYE));
    if options.json {
        crate::print_json(&figures)?;
    } else {
        crate::print(&text(&figures));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(figures: &Figures) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".into(), |rate| format!("{rate:.2} Gbit/s"));
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
    net: &Network,
    peer: PeerId,
    upload: u64,
    download: u64,
    write: usize,
) -> Result<Option<f64>, Failure> {
    let bytes = upload + download;
    if bytes == 0 {
        return Ok(None);
    }
    let took = exchange(net, peer, upload, download, write)?;
    #[allow(clippy::cast_precision_loss)] // bytes of a transfer, far below 2^52
    let bits = bytes as f64 * 8.0;
    Ok(Some(bits / took.as_secs_f64() / 1e9))
}

/// From the first write to the receipt, or to the last byte of the download.
fn exchange(
    net: &Network,
    peer: PeerId,
    upload: u64,
    download: u64,
    write: usize,
) -> Result<Duration, Failure> {
    let stream = net.block_on(net.open(&STREAM, peer)).map_err(Failure::run)?;
    let broken = |error: std::io::Error| Failure::run(format!("the transfer broke off: {error}"));
    let mut stream = stream.blocking();
    let begun = Instant::now();
    stream.write_all(&[upload.to_le_bytes(), download.to_le_bytes()].concat()).map_err(broken)?;
    send(&mut stream, upload, write).map_err(broken)?;
    stream.finish();
    drain(&mut stream, 1 + download).map_err(broken)?;
    Ok(begun.elapsed())
}
