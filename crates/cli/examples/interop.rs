//! Weir's end of `cargo xtask interop`, for checks that take streams of one's own: the same arguments as the nodes in `interop/`.
//!
//! - `interop listen STACK [large]`: prints its address as the last word of a line, then `gone PEER REASON` for each link that ends;
//! - `interop echo STACK ADDRESS`: 16 MiB of a pattern that both sides know and compare, there and back at the same time, with
//!   half-close;
//! - `interop streams STACK ADDRESS [COUNT]`: 1,000 streams (or so many), 32 at a time, each an echo with half-close;
//! - `interop reset STACK ADDRESS`: prints `CODE CODE`: that of the listener's reset, and that which the listener saw;
//! - `interop idle STACK ADDRESS`: an echo, 60 s of nothing, another echo on the same link;
//! - `interop vanish STACK ADDRESS`: an echo, prints `holding`, and ends with 0 once the link is known to be lost;
//! - `interop hold STACK ADDRESS`: an echo, prints `holding`, and waits for its end;
//! - `interop push STACK ADDRESS`: each side pushes by identify that it has a further address, and learns it of the other;
//! - `interop large STACK ADDRESS`: prints `COUNT COUNT`: how many of the listener's long names this side has learned by identify, and
//!   the listener of this side's. Both have them: the listener was told `large`.
//!
//! STACK is `noise`, `tls`, `both`, `mplex`, `pnet` or `quic`. The protocols are `/interop/echo/1`, which returns what it gets;
//! `/interop/pattern/1`, which returns the pattern while it reads it, ends where all of it came and ended, and breaks off else;
//! `/interop/reset/1`, whose first byte says what is wanted: 0 and a code, to be reset with it; 1, to be answered a byte and to see a
//! reset; 2, to be told what the last one was; and `/interop/identify/1`, likewise: 0, that the other side pushes; 1, to be told `yes`
//! once it was pushed to; 2, to be told how many long names it has learned.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks on its standard streams")]

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir::config::{Security, SharedKey};
use weir::{
    Builder, Bytes, Event, Events, Network, NetworkId, PeerId, Protocol, RawStream, StreamError, Streams,
};

type Failed = Box<dyn Error + Send + Sync>;
/// Streams of both echoes, reset, identify, and of the long names.
type Handles = (Streams, Streams, Streams, Streams, Streams);
/// A node and its handles. The node ends with them.
type Started = (Network, weir::Node, Handles);

const ECHO: Protocol = Protocol::new(&["/interop/echo/1"]);
const PATTERN: Protocol = Protocol::new(&["/interop/pattern/1"]);
const RESET: Protocol = Protocol::new(&["/interop/reset/1"]);
const IDENTIFY: Protocol = Protocol::new(&["/interop/identify/1"]);
/// What all long names begin with.
const LONG: &str = "/interop/long/";
/// How many there are, and how many addresses beside them: more than one message of identify (4,096 bytes).
const LONG_NAMES: usize = 45;
const LONG_ADDRESSES: usize = 40;
/// Bytes of a long name.
const LONG_BYTES: usize = 80;
/// What a node pushes: a further address, or a further protocol where its implementation pushes that more readily.
const PUSHED_ADDRESS: &str = "/ip4/127.0.0.1/tcp/7777";
const PUSHED_NAME: &str = "/interop/pushed/1";

/// The key of the private network, which the other nodes know as well.
const KEY: [u8; 32] = [0x57; 32];
/// Streams of a run, where nothing else is said.
const COUNT: u32 = 1_000;
/// Streams at once: fewer than the least that any of the nodes takes (64).
const AT_ONCE: u32 = 32;
/// Bytes that each stream carries each way.
const BYTES: usize = 1_000;
/// Bytes of the pattern, and its first word: "Weir".
const PATTERN_BYTES: usize = 16 << 20;
const PATTERN_SEED: u32 = 0x5765_6972;
/// Bytes of the pattern that are written at once.
const PIECE: usize = 65_536;
/// How long the pattern may take, there and back, on a busy machine.
const PATTERN_LIMIT: Duration = Duration::from_secs(90);
/// Codes of resets: of the listener, and of the dialler.
const CODES: (u32, u32) = (7, 9);
/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(60);
/// How long a peer that is silent may count as there: pings of the muxer take 30 s, QUIC's keep-alive and idle timeout 50 s.
const NOTICED: Duration = Duration::from_secs(60);
/// How long a push, or an answer of identify, may take.
const TOLD: Duration = Duration::from_secs(20);
/// Questions for what the listener saw or learned, 100 ms apart.
const QUESTIONS: u32 = 100;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["listen", stack] => listen(stack, false),
        ["listen", stack, "large"] => listen(stack, true),
        [check, stack, address] => dial(check, stack, address, COUNT),
        [check, stack, address, count] => {
            count.parse().map_err(Failed::from).and_then(|count| dial(check, stack, address, count))
        }
        _ => {
            Err("listen STACK [large] | echo|streams|reset|idle|vanish|hold|push|large STACK ADDRESS [COUNT]"
                .into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The protocol of the long names: of all, or of one.
fn long_names(large: bool) -> Protocol {
    let count = if large { LONG_NAMES } else { 1 };
    let name = |number: usize| -> &'static str {
        format!("{LONG}{number:03}/{:x<width$}", "", width = LONG_BYTES - LONG.len() - 4).leak()
    };
    Protocol::new((0..count).map(name).collect::<Vec<_>>().leak())
}

/// Addresses that a node with long names says it has: with these its identify is several messages.
async fn announce_many(net: &Network) -> Result<(), Failed> {
    let address = |number| format!("/dns4/node-{number}.long.interop.example/tcp/7777");
    Ok(net.announce((0..LONG_ADDRESSES).map(address)).await?)
}

fn start(stack: &str, listens: bool, large: bool) -> Result<Started, Failed> {
    let mut config = weir::Config::default();
    config.mailboxes.streams = 2 * AT_ONCE;
    let tcp = &mut config.node.tcp;
    tcp.security = match stack {
        "tls" => vec![Security::Tls],
        "both" => vec![Security::Tls, Security::Noise],
        "noise" | "mplex" | "pnet" | "quic" => vec![Security::Noise],
        other => return Err(format!("no such stack: {other}").into()),
    };
    if stack == "mplex" {
        tcp.mplex = vec!["/mplex/6.7.0".to_owned()];
    }
    tcp.private = (stack == "pnet").then(|| SharedKey::new(KEY));
    let builder: Builder = Network::builder(weir::random_keypair()?, NetworkId([0x69; 32])).config(config);
    let listening = match stack {
        "quic" => "/ip4/127.0.0.1/udp/0/quic-v1",
        _ => "/ip4/127.0.0.1/tcp/0",
    };
    let builder = if listens { builder.listen(listening) } else { builder };
    Ok(weir::start(builder.channels((ECHO, PATTERN, RESET, IDENTIFY, long_names(large))))?)
}

/// What a node has learned of its peer by identify.
#[derive(Debug, Default)]
struct Learned {
    pushed: bool,
    long_names: usize,
}

impl Learned {
    /// Of an event, where it is one of identify.
    fn note(&mut self, event: &Event) {
        let Event::Identified { protocols, addresses, .. } = event else { return };
        self.pushed |= protocols.iter().any(|name| name == PUSHED_NAME)
            || addresses.iter().any(|address| address.to_string() == PUSHED_ADDRESS);
        let long = protocols.iter().filter(|name| name.starts_with(LONG)).count();
        self.long_names = self.long_names.max(long);
    }
}

fn listen(stack: &str, large: bool) -> Result<(), Failed> {
    let (net, _node, (echoes, patterns, resets, identifies, _long)) = start(stack, true, large)?;
    if large {
        net.block_on(announce_many(&net))?;
    }
    let events = net.events();
    println!("listening on {}", net.addresses().first().ok_or("no address")?);
    let learned = Arc::new(Mutex::new(Learned::default()));
    let of_streams = (net.clone(), Arc::clone(&learned));
    std::thread::spawn(move || {
        let (net, learned) = of_streams;
        while let Some(stream) = identifies.next_blocking() {
            let (net, learned) = (net.clone(), Arc::clone(&learned));
            std::thread::spawn(move || weir::block_on(tell(stream, &net, &learned)));
        }
    });
    std::thread::spawn(move || {
        while let Some(stream) = echoes.next_blocking() {
            std::thread::spawn(move || echo(stream));
        }
    });
    std::thread::spawn(move || {
        while let Some(stream) = patterns.next_blocking() {
            std::thread::spawn(move || weir::block_on(give_back(stream)));
        }
    });
    let seen = Arc::new(Mutex::new("nothing".to_owned()));
    std::thread::spawn(move || {
        while let Some(stream) = resets.next_blocking() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || weir::block_on(answer(stream, &seen)));
        }
    });
    std::thread::spawn(move || {
        while let Some(event) = events.next_blocking() {
            learned.lock().unwrap_or_else(PoisonError::into_inner).note(&event);
            if let Event::PeerDown { peer, reason, .. } = event {
                println!("gone {peer} {reason:?}");
            }
        }
    });
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// Returns what comes, and ends when it ends. A stream that breaks off is the other end's to judge.
fn echo(mut stream: RawStream) {
    weir::block_on(async {
        while let Ok(Some(bytes)) = stream.read_chunk().await {
            if stream.write_bytes(bytes).await.is_err() {
                break;
            }
        }
        stream.finish();
    });
}

/// Words of four bytes, little-endian, each made of the one before.
fn pattern() -> Bytes {
    let (mut bytes, mut word) = (Vec::with_capacity(PATTERN_BYTES), PATTERN_SEED);
    while bytes.len() < PATTERN_BYTES {
        bytes.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }
    bytes.into()
}

/// What of the pattern is still to come.
struct Left(Bytes);

impl Left {
    fn compare(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        if !self.0.starts_with(bytes) {
            let at = PATTERN_BYTES - self.0.len();
            return Err(format!("other bytes than were sent, after {at}").into());
        }
        let _ = self.0.split_to(bytes.len());
        Ok(())
    }

    fn end(&self) -> Result<(), Failed> {
        let left = self.0.len();
        if left == 0 { Ok(()) } else { Err(format!("it ends {left} of {PATTERN_BYTES} bytes early").into()) }
    }
}

/// The listener's end of `/interop/pattern/1`.
async fn give_back(mut stream: RawStream) {
    let mut left = Left(pattern());
    let done = async {
        while let Some(bytes) = stream.read_chunk().await? {
            left.compare(&bytes)?;
            stream.write_bytes(bytes).await?;
        }
        left.end()
    };
    match done.await {
        Ok(()) => stream.finish(),
        Err(error) => {
            eprintln!("{error}");
            stream.reset(CODES.0);
        }
    }
}

/// The dialler's end of `/interop/pattern/1`. Its last piece waits for the first bytes that come back: a listener that returns nothing
/// before the end never gets it.
fn large_echo(net: &Network, patterns: &Streams, peer: PeerId) -> Result<(), Failed> {
    let (mut reader, mut writer) = net.block_on(patterns.open(peer))?.split();
    let sent = pattern();
    let mut left = Left(sent.clone());
    let (came, comes) = std::sync::mpsc::sync_channel(1);
    let writing = std::thread::spawn(move || -> Result<(), StreamError> {
        for at in (0..PATTERN_BYTES).step_by(PIECE) {
            if at == PATTERN_BYTES - PIECE && comes.recv().is_err() {
                break; // whoever reads says why
            }
            weir::block_on(writer.write_bytes(sent.slice(at..at + PIECE)))?;
        }
        writer.finish();
        Ok(())
    });
    let reading = async {
        while let Some(bytes) = reader.read_chunk().await? {
            let _ = came.try_send(());
            left.compare(&bytes)?;
        }
        left.end()
    };
    net.block_on(net.within(PATTERN_LIMIT, reading)).map_err(|_| "it takes too long")??;
    Ok(writing.join().map_err(|_| "a thread panicked")??)
}

/// The listener's end of `/interop/reset/1`.
async fn answer(mut stream: RawStream, seen: &Mutex<String>) -> Result<(), StreamError> {
    let mut word = [0; 5];
    let mut len = 0;
    while len < word.len() {
        let Some(bytes) = stream.read_chunk().await? else { return Ok(()) };
        for byte in bytes {
            if let Some(slot) = word.get_mut(len) {
                *slot = byte;
            }
            len += 1;
        }
    }
    let [what, code @ ..] = word;
    match what {
        0 => stream.reset(u32::from_be_bytes(code)),
        1 => {
            stream.write_bytes(weir::Bytes::from_static(b"!")).await?;
            let end = told(&mut stream).await;
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = end;
        }
        _ => {
            let text = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            stream.write_bytes(text.into()).await?;
            stream.finish();
        }
    }
    Ok(())
}

/// The listener's end of `/interop/identify/1`.
async fn tell(mut stream: RawStream, net: &Network, learned: &Mutex<Learned>) -> Result<(), Failed> {
    let first = stream.read_chunk().await?.and_then(|bytes| bytes.first().copied());
    let text = match first {
        Some(0) => {
            net.announce([PUSHED_ADDRESS]).await?;
            "!".to_owned()
        }
        Some(1) => {
            let pushed = learned.lock().unwrap_or_else(PoisonError::into_inner).pushed;
            if pushed { "yes" } else { "no" }.to_owned()
        }
        _ => learned.lock().unwrap_or_else(PoisonError::into_inner).long_names.to_string(),
    };
    stream.write_bytes(text.into()).await?;
    stream.finish();
    Ok(())
}

/// How a stream ends: with a code, or otherwise.
async fn told(stream: &mut RawStream) -> String {
    loop {
        match stream.read_chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => return "ended".into(),
            Err(StreamError::Reset(code)) => return code.to_string(),
            Err(other) => return format!("{other:?}"),
        }
    }
}

fn dial(check: &str, stack: &str, address: &str, count: u32) -> Result<(), Failed> {
    let (net, _node, handles) = start(stack, false, check == "large")?;
    if check == "large" {
        net.block_on(announce_many(&net))?;
    }
    let events = net.events();
    let peer = net.block_on(net.connect(address))?;
    let done = check_peer(check, (&net, peer), &handles, &events, count);
    // What the node knows of it says more than what became of a stream.
    if done.is_err() {
        while let Some(event) = events.try_next() {
            if matches!(event, Event::PeerDown { .. } | Event::Fault { .. }) {
                eprintln!("{event:?}");
            }
        }
    }
    done
}

fn check_peer(
    check: &str,
    (net, peer): (&Network, PeerId),
    (echoes, patterns, resets, identifies, _): &Handles,
    events: &Events,
    count: u32,
) -> Result<(), Failed> {
    match check {
        "echo" => large_echo(net, patterns, peer),
        "streams" => many(echoes, peer, count),
        "reset" => {
            let (by, saw) = net.block_on(both_resets(net, resets, peer))?;
            println!("{by} {saw}");
            Ok(())
        }
        "idle" => {
            one(echoes, peer, 0)?;
            match lost(net, events, IDLE)? {
                None => one(echoes, peer, 1),
                Some(reason) => Err(format!("gone: {reason}").into()),
            }
        }
        "vanish" | "hold" => {
            one(echoes, peer, 0)?;
            println!("holding");
            if check == "hold" {
                std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
                return Ok(());
            }
            let reason = lost(net, events, NOTICED)?.ok_or("the peer still counts as there")?;
            println!("gone: {reason}");
            Ok(())
        }
        "push" => net.block_on(both_push(net, identifies, peer, events)),
        "large" => {
            let (there, here) = net.block_on(both_are_large(net, identifies, peer, events))?;
            println!("{there} {here}");
            Ok(())
        }
        other => Err(format!("no such check: {other}").into()),
    }
}

/// What the listener answers on `/interop/identify/1`.
async fn asked(identifies: &Streams, peer: PeerId, what: u8) -> Result<String, Failed> {
    let mut stream = identifies.open(peer).await?;
    stream.write_bytes(vec![what].into()).await?;
    stream.finish();
    let mut text = Vec::new();
    while let Some(bytes) = stream.read_chunk().await? {
        text.extend_from_slice(&bytes);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The first answer that is none of these.
async fn asked_until(
    net: &Network,
    (identifies, peer): (&Streams, PeerId),
    what: u8,
    not: &str,
) -> Result<String, Failed> {
    for _ in 0..QUESTIONS {
        let text = asked(identifies, peer, what).await?;
        if text != not {
            return Ok(text);
        }
        net.sleep(Duration::from_millis(100)).await?;
    }
    Err("the listener has not learned it".into())
}

/// Reads events until enough was learned by identify.
async fn learn(net: &Network, events: &Events, enough: fn(&Learned) -> bool) -> Result<Learned, Failed> {
    let all = async {
        let mut learned = Learned::default();
        while let Some(event) = events.next().await {
            if let Event::Fault { fault, .. } = event {
                return Err(format!("it is blamed: {fault}").into());
            }
            learned.note(&event);
            if enough(&learned) {
                return Ok(learned);
            }
        }
        Err::<_, Failed>("the node has stopped".into())
    };
    net.within(TOLD, all).await.map_err(|_| "nothing of that was told")?
}

async fn both_push(net: &Network, identifies: &Streams, peer: PeerId, events: &Events) -> Result<(), Failed> {
    asked(identifies, peer, 0).await?;
    learn(net, events, |learned| learned.pushed).await?;
    net.announce([PUSHED_ADDRESS]).await?;
    asked_until(net, (identifies, peer), 1, "no").await?;
    Ok(())
}

/// How many long names this side has learned, and the listener.
async fn both_are_large(
    net: &Network,
    identifies: &Streams,
    peer: PeerId,
    events: &Events,
) -> Result<(usize, String), Failed> {
    net.peers().identify(peer).await?;
    let learned = learn(net, events, |learned| learned.long_names > 0).await?;
    Ok((learned.long_names, asked_until(net, (identifies, peer), 2, "0").await?))
}

/// Why the link ends within `limit`; `None` where it stays.
fn lost(net: &Network, events: &Events, limit: Duration) -> Result<Option<String>, Failed> {
    let down = async {
        while let Some(event) = events.next().await {
            match event {
                Event::PeerDown { reason, .. } => return Ok(format!("{reason:?}")),
                Event::Fault { fault, .. } => return Err(format!("it is blamed: {fault}").into()),
                _ => {}
            }
        }
        Err::<_, Failed>("the node has stopped".into())
    };
    net.block_on(net.within(limit, down)).ok().transpose()
}

/// One echo, in blocking reads and writes.
fn one(echoes: &Streams, peer: PeerId, number: u32) -> Result<(), Failed> {
    let mut stream = weir::block_on(echoes.open(peer))?.blocking();
    let mut sent = number.to_be_bytes().to_vec();
    sent.resize(BYTES, b'.');
    stream.write_all(&sent)?;
    stream.finish();
    let mut got = Vec::new();
    stream.read_to_end(&mut got)?;
    if got == sent { Ok(()) } else { Err(format!("stream {number}: {} bytes came back", got.len()).into()) }
}

fn many(echoes: &Streams, peer: PeerId, count: u32) -> Result<(), Failed> {
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE.min(count))
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok(());
                        }
                        one(echoes, peer, number).map_err(|error| format!("stream {number}: {error}"))?;
                    }
                })
            })
            .collect();
        let done: Result<(), String> = workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        Ok(done?)
    })
}

/// The code of the listener's reset, and what the listener saw of this side's.
async fn both_resets(net: &Network, resets: &Streams, peer: PeerId) -> Result<(String, String), Failed> {
    let ask = async |what: u8, code: u32| -> Result<RawStream, Failed> {
        let mut stream = resets.open(peer).await?;
        let [a, b, c, d] = code.to_be_bytes();
        stream.write_bytes(vec![what, a, b, c, d].into()).await?;
        Ok(stream)
    };
    let by = told(&mut ask(0, CODES.0).await?).await;
    let mut stream = ask(1, 0).await?;
    stream.read_chunk().await?.ok_or("no answer")?;
    stream.reset(CODES.1);
    for _ in 0..QUESTIONS {
        let mut stream = ask(2, 0).await?;
        stream.finish();
        let mut text = Vec::new();
        while let Some(bytes) = stream.read_chunk().await? {
            text.extend_from_slice(&bytes);
        }
        if text != b"nothing" {
            return Ok((by, String::from_utf8_lossy(&text).into_owned()));
        }
        net.sleep(Duration::from_millis(100)).await?;
    }
    Err("the listener saw no reset".into())
}
