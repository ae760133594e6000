//! One hostile peer over TCP, by hand from `noise.md`, `multistream.md` and `yamux.md`: a Noise handshake under a fresh identity, and frames of
//! yamux, or messages of mplex, that say what they like.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use snow::{HandshakeState, TransportState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

type Any = Box<dyn std::error::Error + Send + Sync>;

/// How long the victim may take for each step of the set-up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of text in one record at most: what Noise can carry, less its tag.
const TEXT: usize = 65_519;

/// Flags of yamux's frames.
pub const SYN: u16 = 1;
/// One direction ends.
pub const FIN: u16 = 4;
/// Both directions are broken off.
pub const RST: u16 = 8;

/// Data, a window update, and a ping.
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const WINDOW: u8 = 1;
/// See [`DATA`].
pub const PING: u8 = 2;

/// The usual names of the muxers.
pub const YAMUX: &str = "/yamux/1.0.0";
/// See [`YAMUX`].
pub const MPLEX: &str = "/mplex/6.7.0";

/// A frame of yamux: its twelve bytes, and what follows them.
pub fn frame(kind: u8, flags: u16, stream: u32, length: u32, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0, kind];
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(data);
    out
}

/// A token of multistream-select.
pub fn token(text: &str) -> Vec<u8> {
    let mut out = vec![text.len() as u8 + 1]; // below 128 here
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
    out
}

/// The header of multistream-select.
pub const HEADER: &str = "/multistream/1.0.0";

/// A connection that says nothing.
pub async fn connect(victim: SocketAddr, local: IpAddr) -> Result<TcpStream, Any> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(local, 0))?;
    Ok(timeout(PATIENCE, socket.connect(victim)).await??)
}

/// A handshake that has not begun.
pub struct Handshake {
    noise: HandshakeState,
    static_key: Vec<u8>,
    /// All that a dialler says before it hears anything.
    pub first: Vec<u8>,
}

impl Handshake {
    /// With fresh keys.
    pub fn new() -> Result<Self, Any> {
        let builder = snow::Builder::new("Noise_XX_25519_ChaChaPoly_SHA256".parse()?);
        let key = builder.generate_keypair()?;
        let mut noise = builder.local_private_key(&key.private)?.build_initiator()?;
        let mut message = vec![0; 4096];
        let len = noise.write_message(&[], &mut message)?;
        let mut first = [token(HEADER), token("/noise")].concat();
        first.extend_from_slice(&prefixed(&message[..len]));
        Ok(Self { noise, static_key: key.public, first })
    }

    /// Hears the answer to what it has said first. Returns its last message, with what `payload` makes of the static key.
    pub async fn last(&mut self, stream: &mut TcpStream, payload: MakePayload) -> Result<Vec<u8>, Any> {
        let mut message = vec![0; 4096];
        let mut answer = vec![0; token(HEADER).len() + token("/noise").len()];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
        let second = timeout(PATIENCE, record(stream)).await??;
        self.noise.read_message(&second, &mut message)?;
        let len = self.noise.write_message(&payload(&self.static_key)?, &mut message)?;
        Ok(prefixed(&message[..len]))
    }
}

/// What a dialler says of itself, given its static key.
pub type MakePayload = fn(&[u8]) -> Result<Vec<u8>, Any>;

/// A peer whose handshake is done: what it writes from now on are frames of its muxer.
pub struct Stranger {
    stream: TcpStream,
    noise: TransportState,
}

impl Stranger {
    /// Dials `victim` from `local` under a fresh identity, and speaks yamux.
    pub async fn dial(victim: SocketAddr, local: IpAddr) -> Result<Self, Any> {
        Self::dial_with(victim, local, |key| payload(key, YAMUX)).await
    }

    /// The same with another payload.
    pub async fn dial_with(victim: SocketAddr, local: IpAddr, payload: MakePayload) -> Result<Self, Any> {
        let mut stream = connect(victim, local).await?;
        stream.set_nodelay(true)?;
        let mut handshake = Handshake::new()?;
        stream.write_all(&handshake.first).await?;
        let last = handshake.last(&mut stream, payload).await?;
        stream.write_all(&last).await?;
        Ok(Self { stream, noise: handshake.noise.into_transport_mode()? })
    }

    /// So many records without a byte.
    pub async fn say_nothing(&mut self, records: usize) -> Result<(), Any> {
        let mut out = Vec::new();
        for _ in 0..records {
            let mut sealed = [0; 16];
            let len = self.noise.write_message(&[], &mut sealed)?;
            out.extend_from_slice(&prefixed(&sealed[..len]));
        }
        Ok(self.stream.write_all(&out).await?)
    }

    /// Says these bytes, whatever they are.
    pub async fn say(&mut self, bytes: &[u8]) -> Result<(), Any> {
        for text in bytes.chunks(TEXT) {
            let mut sealed = vec![0; text.len() + 16];
            let len = self.noise.write_message(text, &mut sealed)?;
            self.stream.write_all(&prefixed(&sealed[..len])).await?;
        }
        Ok(())
    }

    /// Reads and drops what comes until the victim ends the connection.
    pub async fn until_closed(&mut self) {
        let mut buffer = vec![0; 64 << 10];
        while self.stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    }

    /// Drops what has come, without waiting.
    pub fn drop_arrived(&mut self) -> Result<(), Any> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err("the victim has ended it".into()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A length in two bytes before it.
fn prefixed(message: &[u8]) -> Vec<u8> {
    let mut out = (message.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(message);
    out
}

async fn record(stream: &mut TcpStream) -> Result<Vec<u8>, std::io::Error> {
    let len = stream.read_u16().await?;
    let mut message = vec![0; len.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Who it says it is, that it has the static key, and that it speaks this muxer.
pub fn payload(static_key: &[u8], muxer: &str) -> Result<Vec<u8>, Any> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let host = SigningKey::from_bytes(&seed);
    let mut public = vec![0x08, 1, 0x12, 32];
    public.extend_from_slice(host.verifying_key().as_bytes());
    let signed = [b"noise-libp2p-static-key:", static_key].concat();
    let signature = host.sign(&signed).to_bytes();
    let mut out = vec![0x0a, public.len() as u8];
    out.extend_from_slice(&public);
    out.extend_from_slice(&[0x12, 64]);
    out.extend_from_slice(&signature);
    out.extend_from_slice(&[0x22, muxer.len() as u8 + 2, 0x12, muxer.len() as u8]);
    out.extend_from_slice(muxer.as_bytes());
    Ok(out)
}
