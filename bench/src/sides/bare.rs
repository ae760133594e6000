//! A bare loop of quinn-proto, mio and quinn-udp on one thread that does nothing else: the yardstick for `quic`.
//!
//! One connection, one unidirectional upload, a one-byte receipt. No channels, no second thread, no handles.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::{Events, Interest, Poll, Token};
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, StreamId,
};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};

use crate::job::Transfer;
use crate::machine::cpu_seconds;
use crate::process::serve_until_stdin_closes;
use crate::settings;

const RECEIVE: usize = 64 << 10;
/// Receiving system calls before what came is acknowledged: with more, the sender waits for acknowledgements.
const RECEIVES: usize = 4;
/// Datagrams of one sending system call: as many of 1,452 bytes as the kernel takes.
const SEGMENTS: usize = 45;

/// Socket, endpoint and at most one connection.
struct Loop {
    poll: Poll,
    events: Events,
    socket: mio::net::UdpSocket,
    state: UdpSocketState,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    buffers: Vec<u8>,
    out: Vec<u8>,
    blocked: Option<quinn_proto::Transmit>,
}

impl Loop {
    fn new(server: bool) -> Self {
        let socket = settings::socket();
        let state = UdpSocketState::new((&socket).into()).expect("UDP state");
        let mut socket = mio::net::UdpSocket::from_std(socket);
        let poll = Poll::new().expect("a poll");
        poll.registry()
            .register(&mut socket, Token(0), Interest::READABLE | Interest::WRITABLE)
            .expect("registered");
        let server = server.then(|| Arc::new(settings::server_config()));
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), server, true, None);
        Self {
            poll,
            events: Events::with_capacity(16),
            socket,
            buffers: vec![0; RECEIVE * BATCH_SIZE],
            state,
            endpoint,
            connection: None,
            out: Vec::with_capacity(128 << 10),
            blocked: None,
        }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    /// One round: receive, time out, let `work` use the connection, send, and wait if nothing happened.
    fn turn(&mut self, work: &mut impl FnMut(&mut Connection) -> bool) {
        let mut busy = self.receive();
        let now = Instant::now();
        if let Some((handle, connection)) = &mut self.connection {
            if connection.poll_timeout().is_some_and(|due| due <= now) {
                connection.handle_timeout(now);
            }
            busy |= work(connection);
            while let Some(event) = connection.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(*handle, event) {
                    connection.handle_event(event);
                }
            }
        }
        busy |= self.send(now);
        if !busy {
            let due = self.connection.as_mut().and_then(|(_, connection)| connection.poll_timeout());
            let pause = due.map(|due| due.saturating_duration_since(Instant::now()));
            self.poll.poll(&mut self.events, pause.or(Some(Duration::from_millis(100)))).expect("poll");
        }
    }

    fn receive(&mut self) -> bool {
        let mut any = false;
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        for _ in 0..RECEIVES {
            let mut slices: Vec<IoSliceMut<'_>> =
                self.buffers.chunks_mut(RECEIVE).map(IoSliceMut::new).collect();
            let Ok(count) = self.state.recv((&self.socket).into(), &mut slices, &mut metas) else { break };
            any = true;
            for (index, meta) in metas.iter().enumerate().take(count) {
                let mut data = BytesMut::from(&self.buffers[index * RECEIVE..index * RECEIVE + meta.len]);
                while !data.is_empty() {
                    let part = data.split_to(meta.stride.min(data.len()));
                    self.datagram(meta, part);
                }
            }
        }
        any
    }

    fn datagram(&mut self, meta: &RecvMeta, data: BytesMut) {
        let ecn = meta.ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn as u8));
        self.out.clear();
        let now = Instant::now();
        match self.endpoint.handle(now, meta.addr, meta.dst_ip, ecn, data, &mut self.out) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.connection = self.endpoint.accept(incoming, now, &mut self.out, None).ok();
            }
            _ => {}
        }
    }

    fn send(&mut self, now: Instant) -> bool {
        let mut any = false;
        for _ in 0..64 {
            if self.blocked.is_none() {
                let Some((_, connection)) = &mut self.connection else { break };
                self.out.clear();
                self.blocked =
                    connection.poll_transmit(now, SEGMENTS.min(self.state.max_gso_segments()), &mut self.out);
            }
            let Some(transmit) = &self.blocked else { break };
            let sent = self.state.try_send(
                (&self.socket).into(),
                &quinn_udp::Transmit {
                    destination: transmit.destination,
                    ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
                    contents: &self.out[..transmit.size],
                    segment_size: transmit.segment_size,
                    src_ip: transmit.src_ip,
                },
            );
            match sent {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                _ => self.blocked = None,
            }
            any = true;
        }
        any
    }
}

/// Receives uploads and answers each with one byte, one connection after the other.
pub fn serve() {
    let (address, bound) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut host = Loop::new(true);
        let _ = address.send(host.address());
        loop {
            let mut gone = false;
            host.turn(&mut |connection| {
                let mut any = false;
                while let Some(event) = connection.poll() {
                    gone |= matches!(event, Event::ConnectionLost { .. });
                    any = true;
                }
                while let Some(stream) = connection.streams().accept(Dir::Bi) {
                    any |= drain(connection, stream);
                }
                any |= drain(connection, StreamId::new(quinn_proto::Side::Client, Dir::Bi, 0));
                any
            });
            if gone {
                host.connection = None;
            }
        }
    });
    serve_until_stdin_closes(&bound.recv().expect("a socket").to_string());
}

fn drain(connection: &mut Connection, stream: StreamId) -> bool {
    let mut receive = connection.recv_stream(stream);
    let Ok(mut chunks) = receive.read(true) else { return false };
    let (mut any, mut ended) = (false, false);
    loop {
        match chunks.next(usize::MAX) {
            Ok(Some(_)) => any = true,
            Ok(None) => {
                ended = true;
                break;
            }
            Err(_) => break,
        }
    }
    let _ = chunks.finalize();
    if ended {
        let _ = connection.send_stream(stream).write(&[1]);
        let _ = connection.send_stream(stream).finish();
    }
    any || ended
}

/// Uploads `bytes` in writes of `write` and waits for the receipt.
pub fn run(to: &str, bytes: u64, write: usize) -> Transfer {
    let mut host = Loop::new(false);
    let to: SocketAddr = to.parse().expect("an address");
    let now = Instant::now();
    host.connection = host.endpoint.connect(now, settings::client_config(), to, "bench").ok();
    let buffer = vec![7_u8; write];
    let (mut stream, mut begun, mut sent, mut received) = (None, None, 0_u64, false);
    while !received {
        host.turn(&mut |connection| {
            let mut any = false;
            while connection.poll().is_some() {
                any = true;
            }
            if connection.is_handshaking() {
                return any;
            }
            let id = *stream.get_or_insert_with(|| connection.streams().open(Dir::Bi).expect("a stream"));
            begun.get_or_insert_with(|| (Instant::now(), cpu_seconds()));
            let mut send = connection.send_stream(id);
            for _ in 0..1024 {
                if sent == bytes {
                    break;
                }
                let len = usize::try_from(bytes - sent).unwrap_or(write).min(write);
                let Ok(written) = send.write(&buffer[..len]) else { break };
                sent += written as u64;
                any = true;
                if sent == bytes {
                    let _ = send.finish();
                }
            }
            let mut receive = connection.recv_stream(id);
            if let Ok(mut chunks) = receive.read(true) {
                received |= matches!(chunks.next(1), Ok(Some(_)));
                let _ = chunks.finalize();
            }
            any
        });
    }
    let (begun, cpu) = begun.expect("written before the receipt");
    Transfer { seconds: begun.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }
}
