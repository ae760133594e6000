//! Bare loops over TCP, the yardsticks for `tcp`: records sealed and written to a blocking socket, and nothing else.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{ClientConnection, ServerConnection, StreamOwned};

use crate::job::Transfer;
use crate::machine::cpu_seconds;
use crate::process::serve_until_stdin_closes;
use crate::settings;

/// The longest record of Noise, and its tag.
const RECORD: usize = 65_535;
const TAG: usize = 16;
/// Bytes of the length before each record.
const HEAD: usize = 2;

/// One direction of a sealed connection, as Noise's transport phase has it: a counter for a nonce, a length before each record.
struct Sealed<S> {
    socket: S,
    key: LessSafeKey,
    counter: u64,
    record: Vec<u8>, // to be sealed, behind room for its length; or what came of the next one
}

impl<S> Sealed<S> {
    fn new(socket: S) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("32 bytes");
        Self { socket, key: LessSafeKey::new(key), counter: 0, record: vec![0; HEAD] }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.counter.to_le_bytes());
        self.counter += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

impl<S: Write> Sealed<S> {
    /// Gathers `bytes` into whole records.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = HEAD + RECORD - TAG - self.record.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.record.extend_from_slice(now);
            bytes = later;
            if now.len() == room {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.record.len() == HEAD {
            return Ok(());
        }
        let nonce = self.nonce();
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.record[HEAD..])
            .expect("sealed");
        self.record.extend_from_slice(tag.as_ref());
        let len = u16::try_from(self.record.len() - HEAD).expect("a record");
        self.record[..HEAD].copy_from_slice(&len.to_be_bytes());
        self.socket.write_all(&self.record)?;
        self.record.truncate(HEAD);
        Ok(())
    }
}

impl<S: Read> Sealed<S> {
    /// Reads and opens records until `bytes` bytes were in them.
    fn read(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        self.record.resize(HEAD + RECORD, 0);
        let mut had = 0;
        while left > 0 {
            let read = self.socket.read(&mut self.record[had..])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            had += read;
            while had >= HEAD {
                let len = usize::from(u16::from_be_bytes([self.record[0], self.record[1]]));
                if had < HEAD + len {
                    break;
                }
                let nonce = self.nonce();
                let opened = self.key.open_in_place(nonce, Aad::empty(), &mut self.record[HEAD..HEAD + len]);
                left -= opened.expect("what the other loop sealed").len() as u64;
                self.record.copy_within(HEAD + len..had, 0);
                had -= HEAD + len;
            }
        }
        Ok(())
    }
}

/// Serves uploads whose length goes before them, one connection after the other, with `receive`.
fn serve(receive: impl Fn(TcpStream) -> io::Result<()> + Send + 'static) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            receive(socket).expect("an upload");
        }
    });
    serve_until_stdin_closes(&address);
}

fn connect(to: &str) -> TcpStream {
    let socket = TcpStream::connect(to).expect("connected");
    socket.set_nodelay(true).expect("set");
    socket
}

/// Writes `bytes` in writes of `write`, and measures until the receipt.
fn upload<S>(
    (mut stream, bytes, write): (S, u64, usize),
    send: impl Fn(&mut S, &[u8]) -> io::Result<()>,
    end: impl Fn(&mut S) -> io::Result<()>,
) -> Transfer {
    let buffer = vec![7_u8; write];
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(write).min(write);
        send(&mut stream, &buffer[..len]).expect("written");
        left -= len as u64;
    }
    end(&mut stream).expect("a receipt");
    Transfer { seconds: begun.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }
}

/// Receives uploads of sealed records.
pub fn serve_sealed() {
    serve(|mut socket| {
        let mut bytes = [0; 8];
        socket.read_exact(&mut bytes)?;
        Sealed::new(&socket).read(u64::from_be_bytes(bytes))?;
        socket.write_all(&[1])
    });
}

/// Uploads sealed records.
pub fn run_sealed(to: &str, bytes: u64, write: usize) -> Transfer {
    let mut socket = connect(to);
    socket.write_all(&bytes.to_be_bytes()).expect("written");
    upload((Sealed::new(socket), bytes, write), Sealed::write, |sealed| {
        sealed.flush()?;
        sealed.socket.read_exact(&mut [0])
    })
}

/// Receives uploads over TLS 1.3.
pub fn serve_tls() {
    let config = Arc::new(settings::tls_server());
    serve(move |socket| {
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes)?;
        let mut left = u64::from_be_bytes(bytes);
        let mut buffer = vec![0; 256 << 10];
        while left > 0 {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read as u64;
        }
        stream.write_all(&[1])?;
        stream.flush()
    });
}

/// Uploads over TLS 1.3. Small writes are gathered into whole records.
pub fn run_tls(to: &str, bytes: u64, write: usize) -> Transfer {
    let name = "bench".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(settings::tls_client()), name).expect("a client");
    let mut stream = io::BufWriter::with_capacity(64 << 10, StreamOwned::new(connection, connect(to)));
    stream.write_all(&bytes.to_be_bytes()).expect("written");
    stream.flush().expect("shaken hands");
    upload(
        (stream, bytes, write),
        |stream, part| stream.write_all(part),
        |stream| {
            stream.flush()?;
            stream.get_mut().read_exact(&mut [0])
        },
    )
}
