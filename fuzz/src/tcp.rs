//! Machines that libp2p stacks on a TCP connection.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use weir_base::{Instant, Keypair, Rng, UnixTime};
use weir_libp2p::Cipher;
use weir_libp2p::connection::{self, Connection, INPUT_MAX, Setup};
use weir_libp2p::mplex::{self, Mplex};
use weir_libp2p::multistream::{self, Dialer, Listener, Names};
use weir_libp2p::noise::{self, Handshake, Identity, MESSAGE_MAX};
use weir_libp2p::tls::{CertificateKind, Tls, TlsIdentity, WallClock};
use weir_libp2p::yamux::{self, Read, Side, Yamux};

/// Bytes of the pieces in which the same input comes once more.
const PIECE: usize = 7;
/// 2026-01-01, for certificates.
const DAY: UnixTime = UnixTime::from_secs(1_767_225_600);
/// What a transport asks for at once.
const ROOM: usize = 65_519;

/// Both sides of a negotiation come to the same in any pieces. Taken: the listener agreed.
pub(crate) fn multistream(data: &[u8]) -> bool {
    let Ok(names) = Names::new(["/noise", "/yamux/1.0.0"]) else { return false };
    let run = |piece: usize| {
        let mut listener = Listener::new(names.clone(), Instant::ZERO);
        let mut dialer = Dialer::new(names.clone(), Instant::ZERO);
        for part in data.chunks(piece) {
            listener.received(&mut Bytes::copy_from_slice(part));
            dialer.received(&mut Bytes::copy_from_slice(part));
        }
        let mut out = BytesMut::new();
        while listener.poll_transmit(&mut out) || dialer.poll_transmit(&mut out) {}
        assert!(out.len() <= 2 * multistream::LIST_MAX);
        (listener.poll_event(), dialer.poll_event(), out)
    };
    let whole = run(data.len().max(1));
    assert_eq!(run(PIECE), whole);
    matches!(whole.0, Some(multistream::Event::Selected(_)))
}

/// A connection stays within its limits, whatever comes, and gives every byte it took. Taken: a stream was opened, and no
/// fault seen.
pub(crate) fn yamux(data: &[u8]) -> bool {
    let run = |piece: usize| {
        let config = yamux::Config::default();
        let mut yamux = Yamux::new(config.clone(), Side::Listener, 1 << 20, Instant::ZERO);
        let (mut told, mut read, mut out) = (Vec::new(), 0, BytesMut::new());
        for part in data.chunks(piece) {
            yamux.received(Instant::ZERO, Bytes::copy_from_slice(part));
            assert!(yamux.unread() <= data.len());
            assert!(yamux.open_streams() <= yamux::ACK_BACKLOG);
        }
        while let Some(event) = yamux.poll_event() {
            if let yamux::Event::Readable(id) = event {
                while let Read::Data(chunk) = yamux.read(id, 3) {
                    read += chunk.len();
                }
            }
            told.push(event);
        }
        assert_eq!(yamux.unread(), 0);
        while yamux.poll_transmit(Instant::ZERO, &mut out, ROOM) {}
        (told, read, out)
    };
    let whole = run(data.len().max(1));
    assert_eq!(run(PIECE), whole);
    let opened = whole.0.iter().any(|event| matches!(event, yamux::Event::Opened(_)));
    opened && !whole.0.iter().any(|event| matches!(event, yamux::Event::Faulted(_)))
}

/// Nobody completes a handshake without a key, and no side keeps more than a message. Taken: the listener answered.
pub(crate) fn noise(data: &[u8]) -> bool {
    let identity = || Arc::new(Identity::new(&Keypair::ed25519_from_seed([1; 32]), &mut Rng::from_number(1)));
    let listener = Handshake::listener(identity(), None, Rng::from_number(2), Instant::ZERO);
    let dialer = Handshake::dialer(identity(), None, None, Rng::from_number(3), Instant::ZERO);
    let mut answered = false;
    for (side, handshake) in [listener, dialer].into_iter().enumerate() {
        let Ok(mut handshake) = handshake else { return false };
        let mut out = BytesMut::new();
        while handshake.poll_transmit(&mut out) {}
        let sent = out.len();
        let mut input = BytesMut::new();
        for part in data.chunks(PIECE) {
            input.extend_from_slice(part);
            handshake.received(&mut input);
        }
        while handshake.poll_transmit(&mut out) {}
        answered |= side == 0 && out.len() > sent;
        let event = handshake.poll_event();
        assert!(!matches!(event, Some(noise::Event::Done(_))));
        assert!(event.is_some() || input.len() < MESSAGE_MAX + 2);
    }
    answered
}

/// A connection takes what a peer without a key sends, and does not come up. What it told, and what it answered.
fn refused(connection: &mut Connection, data: &[u8], piece: usize) -> (Vec<connection::Event>, BytesMut) {
    let mut out = BytesMut::new();
    for part in data.chunks(piece) {
        connection.received(Instant::ZERO, BytesMut::from(part));
        assert!(connection.room() + data.len() >= INPUT_MAX);
    }
    while connection.poll_transmit(Instant::ZERO, &mut out) {}
    let told: Vec<connection::Event> = std::iter::from_fn(|| connection.poll_event()).collect();
    assert!(told.iter().all(|event| matches!(event, connection::Event::Faulted(_))) && told.len() <= 1);
    assert!(!connection.is_up());
    (told, out)
}

/// A whole connection, either side: nobody gets in without a key, whatever the pieces, and little is kept. Taken: the listener
/// answered.
pub(crate) fn connection(data: &[u8]) -> bool {
    let setup = |seed: u8| {
        let keypair = Keypair::ed25519_from_seed([seed; 32]);
        Setup::new(Arc::new(Identity::new(&keypair, &mut Rng::from_number(seed.into())))).map(Arc::new)
    };
    let (Ok(one), Ok(other)) = (setup(1), setup(2)) else { return false };
    let run = |piece: usize, dialled: bool| {
        let rng = Rng::from_number(3);
        let made = if dialled {
            Connection::dial(Arc::clone(&one), None, rng, Instant::ZERO)
        } else {
            Connection::accept(Arc::clone(&other), rng, Instant::ZERO)
        };
        let mut connection = made.ok()?;
        Some(refused(&mut connection, data, piece))
    };
    for dialled in [true, false] {
        assert_eq!(run(PIECE, dialled), run(data.len().max(1), dialled));
    }
    run(PIECE, false).is_some_and(|(_, out)| !out.is_empty())
}

/// A connection without windows stays within its limits, whatever comes, and gives every byte it took. Taken: a stream was
/// opened, and no fault seen.
pub(crate) fn mplex(data: &[u8]) -> bool {
    let run = |piece: usize| {
        let mut mplex = Mplex::new(mplex::Config::default(), Instant::ZERO);
        let (mut told, mut read, mut out) = (Vec::new(), 0, BytesMut::new());
        for part in data.chunks(piece) {
            mplex.received(Instant::ZERO, Bytes::copy_from_slice(part));
            assert!(mplex.unread() <= data.len() && mplex.open_streams() <= 256);
        }
        while let Some(event) = mplex.poll_event() {
            if let mplex::Event::Readable(id) = event {
                while let mplex::Read::Data(chunk) = mplex.read(Instant::ZERO, id, 3) {
                    read += chunk.len();
                }
            }
            told.push(event);
        }
        assert_eq!(mplex.unread(), 0);
        while mplex.poll_transmit(&mut out, ROOM) {}
        (told, read, out)
    };
    let whole = run(data.len().max(1));
    assert_eq!(run(PIECE), whole);
    let opened = whole.0.iter().any(|event| matches!(event, mplex::Event::Opened(_)));
    opened && !whole.0.iter().any(|event| matches!(event, mplex::Event::Faulted(_)))
}

/// TLS in its place, either side: a stranger without a key gets no further than a handshake, and little is kept. Taken: the listener
/// answered with its own messages, of which the certificate alone has more than so many bytes, whatever came behind the first flight.
pub(crate) fn tls(data: &[u8]) -> bool {
    const FLIGHT: usize = 500;
    let setup = |seed: u8| {
        let keypair = Keypair::ed25519_from_seed([seed; 32]);
        let mut rng = Rng::from_number(seed.into());
        let identity = TlsIdentity::new(&keypair, CertificateKind::Ed25519, [seed; 32]).ok()?;
        let mut setup = Setup::new(Arc::new(Identity::new(&keypair, &mut rng))).ok()?;
        let tls =
            Tls::new(&identity, &WallClock::new(DAY), Some(&setup.muxer_names()), Cipher::default()).ok()?;
        setup.security = vec![Arc::new(tls)];
        Some(Arc::new(setup))
    };
    let (Some(one), Some(other)) = (setup(1), setup(2)) else { return false };
    let mut answered = false;
    for piece in [PIECE, data.len().max(1)] {
        let dialler = Connection::dial(Arc::clone(&one), None, Rng::from_number(3), Instant::ZERO);
        let listener = Connection::accept(Arc::clone(&other), Rng::from_number(4), Instant::ZERO);
        for (side, connection) in [listener, dialler].into_iter().enumerate() {
            let Ok(mut connection) = connection else { return false };
            let (_, out) = refused(&mut connection, data, piece);
            answered |= side == 0 && out.len() > FLIGHT;
        }
    }
    answered
}
