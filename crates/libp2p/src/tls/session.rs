//! TLS 1.3 over a byte stream as the security of a connection, `/tls/1.0.0`.
//!
//! rustls runs in memory: what arrived is handed to it in pieces, and what it decrypted is taken at once, so that it holds at
//! most one handshake message or one record. Muxers are offered as application protocols, with `libp2p` as the last, which
//! means that the muxer is negotiated afterwards.
//!
//! Source: libp2p specs `tls/tls.md` r0 and `connections/inlined-muxer-negotiation.md` r1; `docs/spec/connection.md`.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, BytesMut};
use rustls::pki_types::ServerName;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection,
};
use weir_base::{Fault, Instant, PeerId, Rng, UnixTime};

use super::verify::peer_of;
use super::{
    ClientOptions, EarlyData, ServerOptions, TlsIdentity, WallClock, client_config, fault_of, server_config,
    server_name,
};
use crate::Cipher;
use crate::connection::{CannotBegin, Proven, Security, Session, TEXT_MAX};
use crate::multistream::Names;
use crate::noise::NO_MUXER;

/// The protocol's name.
pub const NAME: &str = "/tls/1.0.0";
/// The application protocol of a side that negotiates the muxer afterwards.
const LATER: &[u8] = b"libp2p";
/// Bytes of the longest application protocol (RFC 7301 §3.1).
const ALPN_MAX: usize = 255;

/// Another peer than the one that was dialled. As Noise's.
const WRONG_PEER: Fault = crate::noise::WRONG_PEER;
/// No version, suite, group or signature in common.
pub const NOTHING_IN_COMMON: Fault = Fault::incompatible("no TLS parameters in common");
/// The peer ended the handshake or the connection with an alert.
pub const REFUSED: Fault = Fault::incompatible("the peer ended TLS with an alert");
/// A record that does not verify: as Noise's, anybody on the path can have changed it.
pub const BAD_RECORD: Fault = Fault::unreliable("TLS record does not verify");
/// Anything that TLS does not allow.
pub const BROKEN: Fault = Fault::misbehaved("the peer broke TLS");

/// TLS, with which all connections of a node show the same certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    clock: WallClock,
}

impl Tls {
    /// `muxers` are offered along with the handshake; none: they are negotiated afterwards. Sessions are not resumed.
    ///
    /// # Errors
    /// rustls' own, where its parts do not fit together; no argument here causes one.
    pub fn new(
        identity: &TlsIdentity,
        clock: &WallClock,
        muxers: Option<&Names>,
        cipher: Cipher,
    ) -> Result<Self, Error> {
        let names = muxers.into_iter().flat_map(Names::iter).filter(|name| name.len() <= ALPN_MAX);
        let alpn: Vec<Vec<u8>> = names.map(|name| name.as_bytes().to_vec()).chain([LATER.to_vec()]).collect();
        let server = ServerOptions { alpn: alpn.clone(), sessions: 0, early_data: EarlyData::Off, cipher };
        let client = ClientOptions { alpn, session_peers: 0, early_data: EarlyData::Off, cipher };
        Ok(Self {
            client: Arc::new(client_config(identity, clock, &client)?),
            server: Arc::new(server_config(identity, clock, &server)?),
            clock: clock.clone(),
        })
    }
}

impl Security for Tls {
    fn name(&self) -> &str {
        NAME
    }

    fn set_time(&self, wall: UnixTime) {
        self.clock.set(wall);
    }

    fn dial(
        &self,
        expected: Option<PeerId>,
        muxers: Option<Names>,
        _: Rng,
        _: Instant,
    ) -> Result<Box<dyn Session>, CannotBegin> {
        let name = ServerName::try_from(server_name(expected.as_ref())).map_err(|_| CannotBegin)?;
        let client = ClientConnection::new(Arc::clone(&self.client), name).map_err(|_| CannotBegin)?;
        Ok(Box::new(Tlsed::new(client.into(), muxers)))
    }

    fn accept(&self, muxers: Option<Names>, _: Rng, _: Instant) -> Result<Box<dyn Session>, CannotBegin> {
        let server = ServerConnection::new(Arc::clone(&self.server)).map_err(|_| CannotBegin)?;
        Ok(Box::new(Tlsed::new(server.into(), muxers)))
    }
}

/// One connection's.
struct Tlsed {
    tls: Connection,
    muxers: Option<Names>,
    proven: bool,
    text: BytesMut, // to be encrypted; empty between calls
    left: usize,    // bytes of the record that is being handed to rustls
}

/// Bytes of a record's head; the last two are the length of the rest (RFC 8446 §5.1).
const HEAD: usize = 5;

impl Tlsed {
    fn new(mut tls: Connection, muxers: Option<Names>) -> Self {
        tls.set_buffer_limit(None); // all is taken at once; TEXT_MAX is the limit
        Self { tls, muxers, proven: false, text: BytesMut::new(), left: 0 }
    }

    /// Hands rustls the next piece of `input`, of one record at most. `false`: there is none, or the peer has closed.
    fn feed(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        if self.left == 0 {
            let Some([.., high, low]) = input.first_chunk::<HEAD>() else { return Ok(false) };
            self.left = HEAD + usize::from(u16::from_be_bytes([*high, *low]));
        }
        let mut piece = input.get(..self.left.min(input.len())).unwrap_or_default();
        if piece.is_empty() {
            return Ok(false);
        }
        let taken = self.tls.read_tls(&mut piece).map_err(|_| BROKEN)?;
        if taken == 0 {
            input.clear(); // behind its close_notify
            return Ok(false);
        }
        input.advance(taken);
        self.left -= taken;
        self.tls.process_new_packets().map_err(|error| blame(&error))?;
        Ok(true)
    }

    /// What rustls has decrypted.
    fn decrypted(&mut self) -> BytesMut {
        let mut text = BytesMut::new();
        let mut reader = self.tls.reader();
        while let Ok(piece) = reader.fill_buf()
            && !piece.is_empty()
        {
            text.extend_from_slice(piece);
            let len = piece.len();
            reader.consume(len);
        }
        text
    }

    fn proven(&mut self) -> Result<Proven, Fault> {
        self.proven = true;
        let chain = self.tls.peer_certificates().unwrap_or_default();
        let certificate = peer_of(chain).map_err(|fault| fault.fault())?;
        let agreed = self.tls.alpn_protocol().unwrap_or(LATER);
        let muxer = self.muxers.as_ref().and_then(|names| names.position(agreed));
        Ok(Proven { peer: certificate.peer, key: certificate.key, muxer })
    }
}

impl Session for Tlsed {
    fn handshake(&mut self, input: &mut BytesMut) -> Result<Option<Proven>, Fault> {
        if self.proven {
            return Ok(None);
        }
        while self.tls.is_handshaking() {
            if !self.feed(input)? {
                return Ok(None);
            }
        }
        self.proven().map(Some)
    }

    fn put(&mut self, out: &mut BytesMut) {
        let mut out = out.writer();
        // Writing to a buffer cannot fail.
        while self.tls.wants_write() && self.tls.write_tls(&mut out).is_ok() {}
    }

    fn open(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, Fault> {
        loop {
            let text = self.decrypted();
            if !text.is_empty() {
                return Ok(Some(text));
            }
            if !self.feed(input)? {
                return Ok(None);
            }
            if self.left == 0 {
                return Ok(Some(self.decrypted())); // a record is whole, even where it has no text
            }
        }
    }

    fn seal(&mut self, out: &mut BytesMut, fill: &mut dyn FnMut(&mut BytesMut, usize)) {
        fill(&mut self.text, TEXT_MAX);
        if !self.text.is_empty() {
            // Without a limit all is taken.
            let _ = self.tls.writer().write_all(&self.text);
            self.text.clear();
        }
        self.put(out);
    }
}

/// Who is to blame for an error of rustls.
fn blame(error: &Error) -> Fault {
    if let Some(fault) = fault_of(error) {
        return fault.fault();
    }
    match error {
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => WRONG_PEER,
        Error::NoApplicationProtocol => NO_MUXER,
        Error::PeerIncompatible(_) => NOTHING_IN_COMMON,
        Error::AlertReceived(_) => REFUSED,
        Error::DecryptError => BAD_RECORD,
        _ => BROKEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::keypair;
    use crate::tls::CertificateKind;

    fn tls(seed: u8) -> Tls {
        let identity = TlsIdentity::new(&keypair(seed), CertificateKind::P256, [seed; 32]).unwrap();
        let now = UnixTime::from_secs(1_790_000_000);
        Tls::new(&identity, &WallClock::new(now), None, Cipher::default()).unwrap()
    }

    #[test]
    fn a_record_without_text_is_told_from_no_record() {
        let name = ServerName::try_from(server_name(None)).unwrap();
        let mut client = Tlsed::new(ClientConnection::new(tls(1).client, name).unwrap().into(), None);
        let mut server = Tlsed::new(ServerConnection::new(tls(2).server).unwrap().into(), None);
        let (mut there, mut back, mut proven) = (BytesMut::new(), BytesMut::new(), 0);
        while proven < 2 {
            client.put(&mut there);
            proven += usize::from(server.handshake(&mut there).unwrap().is_some());
            server.put(&mut back);
            proven += usize::from(client.handshake(&mut back).unwrap().is_some());
        }
        assert!(server.open(&mut there).unwrap().is_none());
        client.tls.refresh_traffic_keys().unwrap();
        client.put(&mut there);
        client.seal(&mut there, &mut |out, _| out.put_slice(b"hello"));
        let mut texts = Vec::new();
        while let Some(text) = server.open(&mut there).unwrap() {
            texts.push(text);
        }
        assert_eq!(texts, [&b""[..], b"hello"]);
    }
}
