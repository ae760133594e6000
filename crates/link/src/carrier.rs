//! What one link needs of whatever transport it runs over. Nobody above this contract names a transport.
//!
//! - [`Streams`] is what the user of a link asks for: open, read, write, finish, reset, stop.
//! - [`Carrier`] is what [`Links`](crate::Links) drives: what the connection reports, its deadline, its end.
//!
//! A carrier never fails towards its caller: what a peer does wrong, and how a connection ends, is a typed [`Report`].

use std::any::Any;
use std::collections::VecDeque;
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::stream::{Class, Goodbye, Group, OpenError};
use weir_base::{Chunk, Fault, Instant, LinkId, ProtocolId, Rope};

use crate::event::{DownReason, Event};
use crate::window::Window;

/// What a read gave.
#[derive(Clone, Debug)]
pub enum Read {
    /// The next bytes, taken off the stream.
    Data(Chunk),
    /// The peer finished its direction, and all its bytes were read. The direction is gone.
    End,
    /// The peer broke off its direction. The direction is gone.
    Reset(u32),
    /// Nothing is there now; [`Event::Readable`](crate::Event::Readable) will tell.
    Blocked,
    /// There is no such stream, or its reading has ended.
    Closed,
}

/// What one link carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Bytes in, as the transport counts them (datagrams or frames).
    pub bytes_in: u64,
    /// Bytes out.
    pub bytes_out: u64,
    /// Datagrams in; 0 over frames.
    pub datagrams_in: u64,
    /// Datagrams out; 0 over frames.
    pub datagrams_out: u64,
    /// Packets of ours that were lost; 0 over frames.
    pub lost: u64,
    /// The path's MTU in bytes of UDP payload; 0 over frames.
    pub mtu: u16,
    /// Receive window now, in bytes: base and lent.
    pub window: u64,
}

/// The streams of one connection. [`Link`](crate::Link) says what each method means to its user.
pub(crate) trait Streams {
    fn open(&mut self, now: Instant, protocol: ProtocolId, class: Class) -> Result<u64, OpenError>;

    fn set_class(&mut self, stream: u64, class: Class);

    fn read(&mut self, now: Instant, window: &mut Window, stream: u64, max: usize) -> Read;

    /// Bytes that can be written; 0 makes the stream wait for [`Event::Writable`].
    fn room(&mut self, stream: u64) -> usize;

    /// Takes as much of `rope` as there is room for.
    fn write(&mut self, stream: u64, rope: &mut Rope);

    fn finish(&mut self, stream: u64);

    fn reset(&mut self, stream: u64, code: u32);

    fn stop(&mut self, now: Instant, window: &mut Window, stream: u64, code: u32);

    fn expect(&mut self, window: &mut Window, stream: u64, bytes: u64);

    fn mark_raw(&mut self, stream: u64);

    /// The peer may open `streams.max_inbound` streams from now on. It takes the end of a stream together with the answer to its name.
    fn hello_accepted(&mut self);

    /// The latest raw stream whose reader leaves bytes unread.
    fn stalled_raw(&self) -> Option<u64>;

    /// Breaks a stalled raw stream off, both ways; its user hears of it.
    fn reset_stalled(&mut self, scope: &mut Scope<'_>, stream: u64, code: u32);
}

/// One connection over one transport.
pub(crate) trait Carrier: Any + std::fmt::Debug + Send {
    /// Its streams.
    fn streams(&mut self) -> &mut dyn Streams;

    /// Grows with whatever comes on any stream.
    fn activity(&self) -> u64;

    /// What happened that the parent must act on. Called until `None`, after every input and every use.
    fn poll(&mut self, scope: &mut Scope<'_>) -> Option<Report>;

    /// Says goodbye: no new streams, and the connection ends once all that was written is delivered.
    fn close(&mut self, reason: Goodbye);

    /// Ends at once: what waits does not go out, but the reason does.
    fn abort(&mut self, reason: Goodbye);

    /// Whether nothing more will go out or be read.
    fn is_over(&self) -> bool;

    /// The round-trip time, estimated.
    fn rtt(&self) -> Duration;

    /// What it carried. The window is the link's to say.
    fn stats(&self) -> LinkStats;

    /// The link was admitted after [`Report::Connected`]: its streams may be used.
    fn confirmed(&mut self, _scope: &mut Scope<'_>) -> Result<Early, Fault> {
        Ok(Early::None)
    }

    /// Whether data may go along with the handshake that runs.
    fn is_early(&self) -> bool {
        false
    }

    /// Whether [`Event::Early`] was told.
    fn was_early(&self) -> bool {
        false
    }

    /// Whether its streams agree on their protocols by name, as libp2p's connections do. Known once it is connected.
    fn is_libp2p(&self) -> bool {
        false
    }

    /// The receive window grew. Whether something waited for that, and goes on at the next [`poll`](Self::poll).
    fn window_grew(&mut self, _window: &Window) -> bool {
        false
    }

    /// Lent credit that the carrier itself accounts for, to be given back when the link ends.
    fn lent(&self) -> Lent {
        Lent::default()
    }

    /// Send memory that it wants to borrow or give back. Asked when its reports are taken.
    fn send_demand(&mut self, _now: Instant) -> SendDemand {
        SendDemand::default()
    }

    /// So many bytes of send memory are lent, on [`SendDemand::more`].
    fn lend_send(&mut self, _scope: &mut Scope<'_>, _bytes: u64) {}

    /// Its deadline passed. Early and repeated calls do nothing.
    fn handle_timeout(&mut self, _now: Instant) {}

    /// When it wants to be called next. Asked when it has nothing more to send.
    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

/// An endpoint's place in the registry of transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndpointId(pub(crate) usize);

/// What a carrier may touch of its link.
pub(crate) struct Scope<'a> {
    pub(crate) now: Instant,
    pub(crate) link: LinkId,
    pub(crate) window: &'a mut Window,
    pub(crate) events: &'a mut VecDeque<Event>,
}

/// What the parent must act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The handshake is complete, and the peer is who it says.
    Connected(Remote),
    /// The connection is gone.
    Lost(DownReason),
    /// The peer broke the transport's rules.
    Fault(Fault),
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) peer: PeerId,
    pub(crate) group: Group,
}

/// What became of data that went along with a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    /// There was none.
    None,
    /// It was taken, by whichever side was the server.
    Accepted,
    /// The peer did not take this side's; it is sent again.
    Refused,
}

/// Credit of the node's ledgers that a carrier holds beside its link's window, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) receive: u64,
    pub(crate) send: u64,
}

/// What a carrier wants of the ledger of send memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendDemand {
    /// So much more, or what is left of it.
    pub(crate) more: u64,
    /// So much is not needed any more.
    pub(crate) back: u64,
}
