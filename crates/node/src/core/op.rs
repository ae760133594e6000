//! What travels between user threads and the core.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Class;
use weir_base::{Instant, ProtocolId, StreamKey};
use weir_pull::ChannelId;
use weir_pull::pool::{Item, Verdict};
use weir_pull::{Ticket, call, tip};
use weir_stack::{Command, Refused, Target};

use crate::error::{CallError, ConnectError, OpenError, RequestError};
use crate::mailbox::{Cancelled, Promise};
use crate::message::ItemId;
use crate::peer::{Ban, Peer};
use crate::report::ShutdownReport;
use crate::stats::Stats;
use crate::stream::NewStream;

/// A wish of a handle, or the answer to something the core handed out.
#[derive(Debug)]
pub(crate) enum Op {
    /// Something about a pool.
    Pool(ChannelId, PoolOp),
    /// Something about a tip. It goes before everything else that waits.
    Tip(ChannelId, tip::Command),
    /// Calls one peer or several.
    Call(Box<CallOp>),
    /// The future of a call was dropped.
    CancelCall(u64),
    /// The application took a request out of its mailbox then.
    TookRequest(ChannelId, Ticket, Instant),
    /// Answered a request then.
    Answer(ChannelId, Ticket, Instant, Result<Bytes, call::Refusal>),
    /// Asks a peer by name.
    Exchange(Box<ExchangeOp>),
    /// The future of a request by name was dropped.
    CancelExchange(u64),
    /// Answers a request by name, or refuses it with a code.
    Respond(StreamKey, Result<Bytes, u32>),
    /// Opens a raw stream.
    Open(ProtocolId, Class, PeerId, Promise<Result<NewStream, OpenError>>),
    /// Dials, and answers once there is a link.
    Connect(Option<PeerId>, Vec<Multiaddr>, Promise<Result<PeerId, ConnectError>>),
    /// Measures a link, and answers when that is over.
    Measure { peer: PeerId, upload: u64, download: u64, reply: Promise<Result<Option<Duration>, Refused>> },
    /// What the stack does by itself.
    Stack(Box<Command>, Promise<Result<(), Refused>>),
    /// The peers with a link.
    Peers(Promise<Vec<Peer>>),
    /// Who is banned.
    Bans(Promise<Vec<Ban>>),
    /// The counters.
    Stats(Promise<Stats>),
    /// Answers at a time.
    Sleep(u64, Instant, Promise<()>),
    /// The future of a sleep was dropped.
    CancelSleep(u64),
    /// Says goodbye, flushes and stops.
    Shutdown { deadline: Duration, report: Option<Promise<ShutdownReport>> },
    /// Stops at once.
    Abort,
}

/// A call on its way into the stack.
#[derive(Debug)]
pub(crate) struct CallOp {
    pub(crate) id: u64,
    pub(crate) channel: ChannelId,
    pub(crate) target: Target,
    pub(crate) request: Bytes,
    pub(crate) deadline: Instant,
    pub(crate) reply: Replies,
}

/// A request by name on its way into the stack.
#[derive(Debug)]
pub(crate) struct ExchangeOp {
    pub(crate) id: u64,
    pub(crate) peer: PeerId,
    pub(crate) protocol: ProtocolId,
    pub(crate) request: Bytes,
    pub(crate) deadline: Option<Duration>,
    pub(crate) reply: Promise<Result<(ProtocolId, Bytes), RequestError>>,
}

/// The answers to a call to several: who, and what.
pub(crate) type Answers = Vec<(PeerId, Result<Bytes, CallError>)>;

/// Where the answers of a call go.
#[derive(Debug)]
pub(crate) enum Replies {
    /// The first answer is the answer.
    One(Promise<Result<(PeerId, Bytes), CallError>>),
    /// All of them, together.
    Many(Promise<Result<Answers, CallError>>),
}

/// What a pool's handle wants.
#[derive(Debug)]
pub(crate) enum PoolOp {
    Publish(Item),
    Batch { remove: Vec<ItemId>, insert: Vec<Item> },
    Verdict(Ticket, Instant, Verdict),
    Taken(Ticket, Instant),
    Remove(ItemId),
    Pause(bool),
    Reconsider,
    Resync,
    Floor(u64),
}

impl Op {
    /// Which of the inbox's places it takes.
    pub(crate) fn slot(&self) -> Slot {
        match self {
            Self::Pool(_, PoolOp::Verdict(..) | PoolOp::Taken(..))
            | Self::Tip(..)
            | Self::CancelCall(_)
            | Self::CancelExchange(_)
            | Self::Respond(..)
            | Self::Answer(..)
            | Self::TookRequest(..)
            | Self::Sleep(..)
            | Self::CancelSleep(_)
            | Self::Shutdown { .. }
            | Self::Abort => Slot::Own,
            Self::Pool(_, PoolOp::Batch { .. }) => Slot::Batch,
            _ => Slot::Command,
        }
    }
}

/// A place in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// One of `mailboxes.commands`.
    Command,
    /// One of `mailboxes.batches`: what a block changes never waits behind single items.
    Batch,
    /// A place of its own: it answers something handed out, it begins or ends a wait, or the newest replaces the one before.
    Own,
}

/// An item as it lies in its mailbox.
#[derive(Debug)]
pub(crate) struct EncodedCandidate {
    pub(crate) ticket: Ticket,
    pub(crate) peer: PeerId,
    pub(crate) id: ItemId,
    pub(crate) bytes: Bytes,
}

/// A tip as it lies in its mailbox.
#[derive(Debug)]
pub(crate) struct EncodedValue {
    pub(crate) ticket: Ticket,
    pub(crate) peer: PeerId,
    pub(crate) value: Bytes,
}

/// A tip that was taken back.
#[derive(Debug)]
pub(crate) struct EncodedWithdrawal {
    pub(crate) peer: PeerId,
    pub(crate) value: Bytes,
}

/// A request as it lies in its mailbox.
#[derive(Debug)]
pub(crate) struct EncodedRequest {
    pub(crate) peer: PeerId,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: Arc<Cancelled>,
    pub(crate) body: RequestBody,
}

/// A request by name as it lies in its mailbox.
#[derive(Debug)]
pub(crate) struct EncodedInbound {
    pub(crate) key: StreamKey,
    pub(crate) peer: PeerId,
    pub(crate) protocol: &'static str,
    pub(crate) body: Bytes,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: Arc<Cancelled>,
}

/// The request itself.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Of a peer, encoded.
    Remote {
        /// Names it.
        ticket: Ticket,
        /// The request.
        bytes: Bytes,
        /// Whether the network thread should hear at once that it was taken.
        others_wait: bool,
    },
    /// Of this node itself, not encoded: the query, and a promise of `Result<Resp, CallError>`.
    Local { query: Box<dyn Any + Send>, reply: Box<dyn Any + Send> },
}
