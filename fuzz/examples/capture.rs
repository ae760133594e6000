//! Takes down what another implementation of libp2p sends, layer by layer, as inputs of the targets: `docs/fuzzing.md`.
//!
//! `capture NAME STACK PROGRAM`: PROGRAM is a peer of the interoperability matrix (`interop/`), STACK one of its stacks (`noise`, `tls`
//! or `mplex`). It is dialled, and then it dials; each time what came is written to `corpus/<target>/captured_NAME_STACK_<side>`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use weir_base::codec::proto::{Fields, Value};
use weir_base::codec::put_prefixed;
use weir_base::multiaddr::Multiaddr;
use weir_base::{Fault, Instant, Keypair, PeerId, Rng, UnixTime};
use weir_fuzz::seeds::here;
use weir_libp2p::connection::{CannotBegin, Connection, Event, Proven, Security, Session, Setup};
use weir_libp2p::multistream::{self, Dialer, Listener, Names};
use weir_libp2p::noise::{Identity, Noise};
use weir_libp2p::tls::{CertificateKind, Tls, TlsIdentity, WallClock};
use weir_libp2p::{Cipher, identify, mplex, ping, yamux};

type Failed = Box<dyn Error>;

/// How long a connection is listened to: time for a few round trips.
const LISTENED: Duration = Duration::from_secs(2);
/// How long one read of the socket may take.
const STEP: Duration = Duration::from_millis(20);
/// Inputs are cut here, in bytes.
const LONGEST: usize = 3 * 1024;
/// What this side speaks on streams.
const SPOKEN: [&str; 3] = [identify::NAME, identify::PUSH_NAME, ping::NAME];

/// What a connection's security layer notes and the program reads.
type SharedTap = Arc<Mutex<Tap>>;

/// What came below and inside the security of one connection.
#[derive(Debug, Default)]
struct Tap {
    handshake: Vec<u8>,
    text: Vec<u8>,
}

/// A security protocol whose sessions are overheard.
#[derive(Debug)]
struct Overheard {
    inner: Arc<dyn Security>,
    tap: SharedTap,
}

struct OverheardSession {
    inner: Box<dyn Session>,
    tap: SharedTap,
}

impl Overheard {
    fn session(&self, inner: Box<dyn Session>) -> Box<dyn Session> {
        Box::new(OverheardSession { inner, tap: Arc::clone(&self.tap) })
    }
}

impl Security for Overheard {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn set_time(&self, wall: UnixTime) {
        self.inner.set_time(wall);
    }

    fn dial(
        &self,
        expected: Option<PeerId>,
        muxers: Option<Names>,
        rng: Rng,
        now: Instant,
    ) -> Result<Box<dyn Session>, CannotBegin> {
        Ok(self.session(self.inner.dial(expected, muxers, rng, now)?))
    }

    fn accept(&self, muxers: Option<Names>, rng: Rng, now: Instant) -> Result<Box<dyn Session>, CannotBegin> {
        Ok(self.session(self.inner.accept(muxers, rng, now)?))
    }
}

impl Session for OverheardSession {
    fn handshake(&mut self, input: &mut BytesMut) -> Result<Option<Proven>, Fault> {
        let before = input.to_vec();
        let outcome = self.inner.handshake(input);
        let taken = before.len() - input.len();
        let mut tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
        tap.handshake.extend(before.iter().take(taken));
        outcome
    }

    fn put(&mut self, out: &mut BytesMut) {
        self.inner.put(out);
    }

    fn open(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, Fault> {
        let text = self.inner.open(input)?;
        let mut tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
        tap.text.extend(text.iter().flatten());
        Ok(text)
    }

    fn seal(&mut self, out: &mut BytesMut, fill: &mut dyn FnMut(&mut BytesMut, usize)) {
        self.inner.seal(out, fill);
    }
}

/// Who has to say which name a stream speaks.
enum Agreement {
    Ours(Dialer),
    Theirs(Listener),
}

/// One stream, and what came on it.
struct Stream {
    agreement: Agreement,
    name: Option<&'static str>,
    negotiation: Vec<u8>,
    heard: Vec<u8>,
}

impl Stream {
    fn new(agreement: Agreement) -> Self {
        Self { agreement, name: None, negotiation: Vec::new(), heard: Vec::new() }
    }

    /// Takes what came, and gives what is to be answered.
    fn take(&mut self, bytes: &[u8], own: &[u8]) -> BytesMut {
        let (mut rest, mut out) = (Bytes::copy_from_slice(bytes), BytesMut::new());
        if self.name.is_none() {
            let event = match &mut self.agreement {
                Agreement::Ours(dialer) => {
                    dialer.received(&mut rest);
                    dialer.poll_event()
                }
                Agreement::Theirs(listener) => {
                    listener.received(&mut rest);
                    while listener.poll_transmit(&mut out) {}
                    listener.poll_event()
                }
            };
            self.negotiation.extend_from_slice(&bytes[..bytes.len() - rest.len()]);
            let Some(multistream::Event::Selected(index)) = event else { return out };
            let ours = matches!(self.agreement, Agreement::Ours(_));
            self.name = if ours { Some("") } else { SPOKEN.get(index).copied() };
            if self.name == Some(identify::NAME) {
                put_prefixed(&mut out, own);
            }
        }
        self.heard.extend_from_slice(&rest);
        if self.name == Some(ping::NAME) {
            out.extend_from_slice(&rest);
        }
        out
    }
}

fn now() -> Result<UnixTime, Failed> {
    Ok(UnixTime::from_secs(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs()))
}

/// A setup of a fresh identity with one security protocol, overheard.
fn setup(stack: &str) -> Result<(Arc<Setup>, SharedTap, PeerId), Failed> {
    let (wall, tap) = (now()?, Arc::new(Mutex::new(Tap::default())));
    let mut rng = Rng::from_number(wall.as_secs());
    let keypair = Keypair::ed25519_from_seed(rng.bytes());
    let identity = Arc::new(Identity::new(&keypair, &mut rng));
    let mut setup = Setup::new(Arc::clone(&identity))?;
    setup.mplex = (stack == "mplex").then(mplex::Config::default);
    let inner: Arc<dyn Security> = if stack == "tls" {
        let identity = TlsIdentity::new(&keypair, CertificateKind::P256, rng.bytes())?;
        Arc::new(Tls::new(&identity, &WallClock::new(wall), Some(&setup.muxer_names()), Cipher::default())?)
    } else {
        Arc::new(Noise(identity))
    };
    setup.security = vec![Arc::new(Overheard { inner, tap: Arc::clone(&tap) })];
    Ok((Arc::new(setup), tap, keypair.peer_id()))
}

/// All that came on one connection.
struct Captured {
    raw: Vec<u8>,
    streams: BTreeMap<u32, Stream>,
}

/// Talks for a while: asks who is there, pings, answers both.
fn talk(mut socket: TcpStream, mut connection: Connection) -> Result<Captured, Failed> {
    socket.set_read_timeout(Some(STEP))?;
    let own =
        identify::encode(&identify::Info { agent: Some("weir-capture".into()), ..Default::default() }, None);
    let (mut raw, mut streams) = (Vec::new(), BTreeMap::<u32, Stream>::new());
    let (begun, mut buffer) = (std::time::Instant::now(), vec![0; 64 * 1024]);
    while begun.elapsed() < LISTENED {
        let now = Instant::ZERO + begun.elapsed();
        let mut out = BytesMut::new();
        while connection.poll_transmit(now, &mut out) {}
        socket.write_all(&out)?;
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                raw.extend_from_slice(&buffer[..len]);
                connection.received(now, BytesMut::from(&buffer[..len]));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        while let Some(event) = connection.poll_event() {
            let Some(muxer) = connection.muxer() else { return Err(format!("{event:?}").into()) };
            match event {
                Event::Up { .. } => {
                    for (name, first) in [(identify::NAME, &[][..]), (ping::NAME, &[0x5a; 32][..])] {
                        let id = muxer.open(now)?;
                        let mut dialer = Dialer::new(Names::new([name])?, now);
                        let mut out = BytesMut::new();
                        while dialer.poll_transmit(&mut out) {}
                        out.extend_from_slice(first);
                        muxer.write(id, &mut out.freeze());
                        streams.insert(id, Stream::new(Agreement::Ours(dialer)));
                    }
                }
                Event::Muxer(yamux::Event::Opened(id)) => {
                    muxer.accept(id);
                    let listener = Listener::new(Names::new(SPOKEN)?, now);
                    streams.insert(id, Stream::new(Agreement::Theirs(listener)));
                }
                Event::Muxer(yamux::Event::Readable(id)) => {
                    while let yamux::Read::Data(chunk) = muxer.read(id, 4 * 1024) {
                        let Some(stream) = streams.get_mut(&id) else { break };
                        let own = own.first().map_or(&[][..], Vec::as_slice);
                        let identified = stream.name.is_none();
                        let out = stream.take(&chunk, own);
                        muxer.write(id, &mut out.freeze());
                        if identified && stream.name == Some(identify::NAME) {
                            muxer.finish(id);
                        }
                    }
                }
                Event::Muxer(_) => {}
                Event::Faulted(fault) => return Err(fault.to_string().into()),
            }
        }
    }
    Ok(Captured { raw, streams })
}

/// Writes an input of a target, unless it is empty.
fn keep(target: &str, name: &str, bytes: &[u8]) -> Result<(), Failed> {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    if !bytes.is_empty() {
        let path = here().join("corpus").join(target).join(format!("captured_{name}"));
        std::fs::write(&path, bytes)?;
        println!("{}: {} bytes", path.display(), bytes.len());
    }
    Ok(())
}

/// The steps of `weir_fuzz`'s scripts: a link comes up; this side asks; the peer opens a stream; it sends; it ends.
const UP: &[u8] = &[0];
const ASKS: &[u8] = &[9, 0, 0];
const OPENS: &[u8] = &[2, 0, 0];
const SENDS: &[u8] = &[3, 0];
const ENDS: &[u8] = &[4, 0, 0];
const WRITES: &[u8] = &[8, 0, 64];

fn sends(bytes: &[u8]) -> Vec<u8> {
    let step = |part: &[u8]| [SENDS, &[u8::try_from(part.len()).unwrap_or(0)], part].concat();
    bytes.chunks(255).flat_map(step).collect()
}

/// What streams carry is the same whatever is below them: it is kept of one stack alone.
fn keep_all(stack: &str, name: &str, tap: &Tap, captured: &Captured) -> Result<(), Failed> {
    match stack {
        "tls" => return keep("tls", name, &captured.raw),
        "mplex" => return keep("mplex", name, &tap.text),
        _ => {}
    }
    keep("connection", name, &captured.raw)?;
    keep("noise", name, &tap.handshake)?;
    keep("yamux", name, &tap.text)?;
    let (mut negotiated, mut told) = (false, false);
    for stream in captured.streams.values() {
        let theirs = matches!(stream.agreement, Agreement::Theirs(_));
        if theirs && !std::mem::replace(&mut negotiated, true) {
            keep("multistream", name, &stream.negotiation)?;
        }
        if stream.name == Some(ping::NAME) {
            let script = [&[0], UP, OPENS, &sends(&stream.heard), WRITES].concat();
            keep("ping", name, &script)?;
        }
        // what came back on the stream that asked
        let message =
            weir_base::codec::Reader::new(&stream.heard).prefixed(identify::MESSAGE_MAX).unwrap_or_default();
        if stream.name == Some("") && identify::decode(message).is_ok() && !std::mem::replace(&mut told, true)
        {
            keep("identify", name, message)?;
            keep("identify_streams", name, &[UP, ASKS, &sends(&stream.heard), ENDS].concat())?;
            keep_fields(name, message)?;
        }
    }
    Ok(())
}

/// What lies in a message of identify: the key, an address, the signed record.
fn keep_fields(name: &str, message: &[u8]) -> Result<(), Failed> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        let Value::Bytes(bytes) = value else { continue };
        match number {
            1 => keep("public_key", name, bytes)?,
            2 => {
                keep("multiaddr", name, bytes)?;
                let text = Multiaddr::from_bytes(bytes).map(|address| address.to_string());
                keep("multiaddr_text", name, text.unwrap_or_default().as_bytes())?;
            }
            8 => {
                keep("envelope", name, bytes)?;
                keep("peer_record", name, bytes)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn start(program: &str, words: &[&str]) -> Result<Child, Failed> {
    Ok(Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

fn dialled(program: &str, stack: &str, name: &str) -> Result<(), Failed> {
    let mut peer = start(program, &["listen", stack])?;
    let mut line = String::new();
    BufReader::new(peer.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let port = line.split('/').skip_while(|part| *part != "tcp").nth(1).ok_or("no port")?;
    let socket = TcpStream::connect(("127.0.0.1", port.trim().parse()?))?;
    let (setup, tap, _) = setup(stack)?;
    let connection = Connection::dial(setup, None, Rng::from_number(now()?.as_secs()), Instant::ZERO)?;
    let captured = talk(socket, connection);
    peer.kill()?;
    peer.wait()?;
    let tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
    keep_all(stack, &format!("{name}_{stack}_dialled"), &tap, &captured?)
}

fn accepted(program: &str, stack: &str, name: &str) -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (setup, tap, own) = setup(stack)?;
    let rng = Rng::from_number(now()?.as_secs());
    let address = format!("/ip4/127.0.0.1/tcp/{}/p2p/{own}", listener.local_addr()?.port());
    let mut peer = start(program, &["ping", stack, &address])?;
    let connection = Connection::accept(setup, rng, Instant::ZERO)?;
    let captured = talk(listener.accept()?.0, connection);
    let _ = peer.kill(); // it may have ended by itself
    peer.wait()?;
    let tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
    keep_all(stack, &format!("{name}_{stack}_accepted"), &tap, &captured?)
}

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, stack, program] = &words[..] else { return Err("capture NAME STACK PROGRAM".into()) };
    dialled(program, stack, name)?;
    accepted(program, stack, name)
}
