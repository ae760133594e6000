//! Machines that libp2p stacks on a TCP connection.

use bytes::{Bytes, BytesMut};
use weir_base::Instant;
use weir_libp2p::multistream::{self, Dialer, Listener, Names};
use weir_libp2p::yamux::{self, Read, Side, Yamux};

/// Bytes of the pieces in which the same input comes once more.
const PIECE: usize = 7;
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
