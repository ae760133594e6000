//! The lanes of one pool channel on all wires of a node: which stream is which, and its messages one by one.

use std::collections::BTreeMap;

use weir_base::codec::{Reader, peek_varint, put_varint, varint_len};
use weir_pull::ChannelId;
use weir_stack::{Frame, WireId};

/// The most bytes of one frame of data (`docs/spec/frames.md`).
pub(super) const DATA_MAX: usize = 16 * 1024;

/// Credit of a stream at its birth (`docs/spec/frames.md`).
const INITIAL: u64 = 64 * 1024;

/// What a stream that a peer opened is for: this node is the server there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Wants come in, offers go out.
    Offers,
    /// Gets come in, items go out.
    Items,
}

#[derive(Debug)]
struct Served {
    lane: Lane,
    sent: u64,
    credit: u64,
    held: Vec<u8>, // the beginning of a message
}

/// Streams of the channel that peers opened.
#[derive(Debug)]
pub(super) struct Lanes {
    pool: ChannelId,
    served: BTreeMap<(WireId, u64), Served>,
    links: BTreeMap<WireId, (u64, u64)>, // bytes sent, and credit
}

/// One whole message, its length in front.
#[derive(Debug)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Lanes {
    pub(super) fn new(pool: ChannelId) -> Self {
        Self { pool, served: BTreeMap::new(), links: BTreeMap::new() }
    }

    /// A frame of the stack. The lane it is on, where this node serves it.
    pub(super) fn sent(&mut self, wire: WireId, frame: &Frame) -> Option<Lane> {
        let Frame::Data { stream, bytes } = frame else { return None };
        self.links.entry(wire).or_insert((0, INITIAL)).0 += bytes.len() as u64;
        let served = self.served.get_mut(&(wire, *stream))?;
        served.sent += bytes.len() as u64;
        Some(served.lane)
    }

    /// A frame of the peer. The lane it is on, where this node serves it.
    pub(super) fn received(&mut self, wire: WireId, frame: &Frame) -> Option<Lane> {
        match frame {
            Frame::Open { stream, protocol } => {
                let (_, lane) = ChannelId::of(*protocol).filter(|(channel, _)| *channel == self.pool)?;
                let lane = if lane == 0 { Lane::Offers } else { Lane::Items };
                let served = Served { lane, sent: 0, credit: INITIAL, held: Vec::new() };
                self.served.insert((wire, *stream), served);
                None
            }
            Frame::StreamCredit { stream, total } => {
                let served = self.served.get_mut(&(wire, *stream))?;
                served.credit = served.credit.max(*total);
                None
            }
            Frame::LinkCredit { total } => {
                let link = self.links.entry(wire).or_insert((0, INITIAL));
                link.1 = link.1.max(*total);
                None
            }
            Frame::Data { stream, .. } => Some(self.served.get(&(wire, *stream))?.lane),
            _ => None,
        }
    }

    /// Bytes that may still be sent on a stream: its own credit and the link's.
    pub(super) fn left(&self, wire: WireId, stream: u64) -> u64 {
        let stream =
            self.served.get(&(wire, stream)).map_or(0, |served| served.credit.saturating_sub(served.sent));
        let link = self.links.get(&wire).map_or(INITIAL, |(sent, credit)| credit.saturating_sub(*sent));
        stream.min(link)
    }

    /// The messages that are whole now; what is left is held. One direction of a stream only.
    pub(super) fn messages(&mut self, wire: WireId, stream: u64, bytes: &[u8]) -> Vec<Message> {
        let Some(served) = self.served.get_mut(&(wire, stream)) else { return Vec::new() };
        served.held.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Ok(Some((len, head))) = peek_varint(&served.held, u64::from(u32::MAX)) {
            let end = head + usize::try_from(len).unwrap_or(usize::MAX);
            if served.held.len() < end {
                break;
            }
            let rest = served.held.split_off(end);
            whole.push(Message(std::mem::replace(&mut served.held, rest)));
        }
        whole
    }
}

impl Message {
    fn start(&self) -> usize {
        peek_varint(&self.0, u64::MAX).ok().flatten().map_or(0, |(_, head)| head)
    }

    /// Its type, where that takes one byte.
    pub(super) fn kind(&mut self) -> Option<&mut u8> {
        let start = self.start();
        self.0.get_mut(start)
    }

    /// Of an `Item`: hands its bytes to `change`.
    pub(super) fn body(&mut self, change: impl FnOnce(&mut [u8])) {
        let start = self.start();
        if self.0.get(start) != Some(&0) {
            return;
        }
        let index = self.0.get(start + 1..).and_then(|rest| peek_varint(rest, u64::MAX).ok().flatten());
        if let Some((_, len)) = index
            && let Some(body) = self.0.get_mut(start + 1 + len..)
        {
            change(body);
        }
    }

    /// Of an `Offer` or `First`: hands size and summary of each entry to `change`, which keeps their lengths.
    pub(super) fn entries(&mut self, mut change: impl FnMut(&mut u64, &mut [u8])) {
        let start = self.start();
        let whole = std::mem::take(&mut self.0);
        let mut reader = Reader::new(whole.get(start..).unwrap_or_default());
        let mut fields = || -> Option<()> {
            let kind = reader.varint(u64::MAX).ok()?;
            if kind == 2 {
                reader.varint(u64::MAX).ok()?;
                reader.take(8).ok()?;
            }
            (0..3).try_for_each(|_| reader.varint(u64::MAX).ok().map(drop))
        };
        if fields().is_none() {
            self.0 = whole;
            return;
        }
        let mut out = whole.get(..whole.len() - reader.rest().len()).unwrap_or_default().to_vec();
        while !reader.is_empty() {
            let before = reader.rest();
            let mut entry = || {
                let head = reader.varint(u64::MAX).ok()?;
                reader.take(8).ok()?;
                let front = before.len() - reader.rest().len();
                let size = reader.varint(u64::MAX).ok()?;
                let summary = reader.take(usize::try_from(head % 16).ok()?).ok()?;
                Some((front, size, summary.to_vec()))
            };
            let Some((front, size, mut summary)) = entry() else { break };
            let mut told = size;
            change(&mut told, &mut summary);
            out.extend_from_slice(before.get(..front).unwrap_or_default());
            put_varint(&mut out, if varint_len(told) == varint_len(size) && told > 0 { told } else { size });
            out.extend_from_slice(&summary);
        }
        out.extend_from_slice(reader.rest());
        self.0 = out;
    }
}
