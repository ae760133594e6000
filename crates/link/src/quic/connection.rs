//! One connection of QUIC's state machine, and where it belongs.

use std::net::SocketAddr;

use bytes::Bytes;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{ConnectionHandle, Dir, EcnCodepoint, Endpoint, ReadError, Side, VarInt};
use rustls::pki_types::CertificateDer;
use weir_base::Instant;
use weir_base::identity::PeerId;
use weir_base::stream::Goodbye;
use weir_libp2p::tls::peer_id_of;

use super::credit::Windows;
use super::phase::Phase;
use super::stream::{code32, id};
use super::stream_limit::StreamLimit;
use super::time::Clock;
use crate::Alpn;
use crate::event::{Ecn, SocketId, Transmit};

/// What is next on a stream.
pub(super) enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// The end.
    End,
    /// The peer's reset.
    Reset(u32),
    /// Nothing now.
    Nothing,
}

/// QUIC's connection, in our time.
pub(crate) struct Connection {
    pub(crate) quic: quinn_proto::Connection,
    pub(super) handle: ConnectionHandle,
    pub(super) socket: SocketId,
    pub(super) clock: Clock,
    pub(super) phase: Phase,
    stream_limit: StreamLimit, // of the peer
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Connection {
    /// One whose handshake begins.
    pub(super) fn new(
        quic: quinn_proto::Connection,
        (socket, handle): (SocketId, ConnectionHandle),
        clock: Clock,
    ) -> Self {
        let (phase, stream_limit) = (Phase::Handshake { early: false }, StreamLimit::new());
        Self { quic, handle, socket, clock, phase, stream_limit }
    }

    pub(super) fn is_client(&self) -> bool {
        self.quic.side() == Side::Client
    }

    /// Whether this side opened the stream.
    pub(super) fn is_ours(&self, stream: u64) -> bool {
        id(stream).initiator() == self.quic.side()
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Who is at the other end: known once the handshake is complete, to a server that knows its session before.
    pub(super) fn peer(&self) -> Option<PeerId> {
        let chain =
            self.quic.crypto_session().peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        peer_id_of(&chain).ok()
    }

    /// The peer said hello: it may have up to `most` streams open from now on.
    pub(super) fn hello_accepted(&mut self, most: u32) {
        let limit = self.stream_limit.after_hello(most);
        self.quic.set_max_concurrent_streams(Dir::Bi, VarInt::from_u32(limit));
    }

    /// The peer has opened streams: its limit grows where it may soon need more.
    pub(super) fn streams_opened(&mut self) {
        let open = self.quic.streams().remote_open_streams(Dir::Bi);
        if let Some(limit) = self.stream_limit.opened(open) {
            self.quic.set_max_concurrent_streams(Dir::Bi, VarInt::from_u32(limit));
        }
    }

    /// Carries messages between connection and endpoint. Returns whether the endpoint has forgotten the connection.
    pub(super) fn exchange(&mut self, endpoint: &mut Endpoint) -> bool {
        while let Some(event) = self.quic.poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(answer) = endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(answer);
            }
            if drained {
                return true;
            }
        }
        self.quic.is_drained()
    }

    /// The next datagrams, appended to `out`.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let transmit = self.quic.poll_transmit(self.clock.to_quic(now), segments.max(1), out)?;
        Some(to_send(self.socket, &transmit))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.quic.handle_timeout(self.clock.to_quic(now));
    }

    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        self.quic.poll_timeout().map(|due| self.clock.to_ours(due))
    }

    /// What is next on a stream, at most `most` bytes.
    pub(super) fn next_piece(&mut self, stream: u64, most: usize) -> Piece {
        let mut quic = self.quic.recv_stream(id(stream));
        let Ok(mut chunks) = quic.read(true) else { return Piece::End };
        let piece = match chunks.next(most) {
            Ok(Some(chunk)) => Piece::Bytes(chunk.bytes),
            Ok(None) => Piece::End,
            Err(ReadError::Reset(code)) => Piece::Reset(code32(code)),
            Err(ReadError::Blocked) => Piece::Nothing,
        };
        let _ = chunks.finalize(); // what is to be sent is asked for when the link is settled
        piece
    }

    /// Whether streams are agreed on by name: libp2p's ALPN. Known once the peer's first flight has come.
    pub(super) fn is_libp2p(&self) -> bool {
        let data = self.quic.crypto_session().handshake_data();
        let data = data.and_then(|data| data.downcast::<HandshakeData>().ok());
        data.and_then(|data| data.protocol).is_some_and(|protocol| protocol == Alpn::Libp2p.as_bytes())
    }

    pub(super) fn set_receive_windows(&mut self, windows: Windows) {
        for window in windows.into_iter().flatten() {
            self.quic.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
        }
    }

    /// Closes it now; the peer is told why.
    pub(super) fn close(&mut self, now: Instant, reason: Goodbye) {
        self.phase = Phase::Closed { by_peer: false };
        let code = VarInt::from_u32(reason.code().into());
        self.quic.close(self.clock.to_quic(now), code, Bytes::new());
    }

    /// The peer should send no more on a stream.
    pub(super) fn stop(&mut self, stream: u64, code: u32) {
        let _ = self.quic.recv_stream(id(stream)).stop(VarInt::from_u32(code)); // fails where the peer has ended it
    }
}

/// What QUIC wants sent, in our words.
pub(super) fn to_send(socket: SocketId, transmit: &quinn_proto::Transmit) -> Transmit {
    Transmit {
        socket,
        remote: transmit.destination,
        local_ip: transmit.src_ip,
        ecn: transmit.ecn.map(|mark| match mark {
            EcnCodepoint::Ect0 => Ecn::Ect0,
            EcnCodepoint::Ect1 => Ecn::Ect1,
            EcnCodepoint::Ce => Ecn::Ce,
        }),
        segment: transmit.segment_size,
        len: transmit.size,
    }
}
