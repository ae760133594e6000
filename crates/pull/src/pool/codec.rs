//! Messages of a pool's two lanes as bytes (`docs/spec/pool.md`). Plain functions: bytes in, values or an error out.
//!
//! Nothing is allocated by what a length says: entries and indices are read off the message one by one.

use crate::ShortId;
use bytes::{BufMut, BytesMut};
use weir_base::Rope;
use weir_base::codec::{Malformed, Reader, VARINT_MAX, put_varint, varint_len};

use super::types::{MAX_SUMMARY, Summary};

/// Indices of a log are below this.
pub const INDEX_END: u64 = 1 << 62;
/// Indices one offer can cover.
pub const MAX_SPAN: u64 = (1 << 32) - 1;
/// Bytes of the largest `Want`, type included.
pub const MAX_WANT: usize = 64;
/// Bytes of the largest `Offer` or `First`, type included.
pub const MAX_OFFER: usize = 8_192;
/// Indices in one `Get`, `Cancel` or `Gone`.
pub const MAX_INDICES: usize = 1_024;
/// Bytes of the largest `Get`, `Cancel` or `Gone`, type included.
pub const MAX_LIST: usize = 1 + MAX_INDICES * 10;
/// Answers that may be outstanding on one link.
pub const MAX_GETS: usize = 4_096;
/// Bytes of the largest entry.
pub const MAX_ENTRY: usize = 10 + 8 + 5 + MAX_SUMMARY;
/// Bytes before the entries of the largest offer, with the length of the message.
pub const MAX_OFFER_HEAD: usize = 2 + 1 + 10 + 8 + 5 + 10 + 5;
/// Bytes before the body of an item: length, type, index.
pub const MAX_ITEM_HEAD: usize = 5 + 1 + 10;

/// Types on lane 0 from client to server.
pub const WANT: u64 = 0;
/// Types on lane 0 from server to client.
pub const OFFER: u64 = 0;
/// An offer that begins anew.
pub const FIRST: u64 = 2;
/// Types on lane 1 from client to server.
pub const GET: u64 = 0;
/// Takes gets back.
pub const CANCEL: u64 = 2;
/// Types on lane 1 from server to client.
pub const ITEM: u64 = 0;
/// Says which items are not there.
pub const GONE: u64 = 2;

/// What a server shows of its log's life to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(pub [u8; 8]);

/// Moves the server to another place in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Counts up from 1; acted on once.
    pub number: u64,
    /// Whose index it is.
    pub epoch: Epoch,
    /// Where to go on.
    pub index: u64,
}

/// A permit: what may be offered, in all, since the stream opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Entries granted.
    pub entries: u64,
    /// Bytes of offers granted.
    pub bytes: u64,
    /// Everything before this index is decided.
    pub through: u64,
    /// The lowest priority of interest.
    pub floor: u64,
    /// Where to go on.
    pub from: Option<Move>,
}

/// Appends the fields of a `Want`, without length and type.
pub fn encode_want(want: &Want, out: &mut BytesMut) {
    for field in [want.entries, want.bytes, want.through, want.floor] {
        put_varint(out, field);
    }
    if let Some(from) = &want.from {
        put_varint(out, from.number);
        out.put_slice(&from.epoch.0);
        put_varint(out, from.index);
    }
}

/// Reads the fields of a `Want`.
pub fn decode_want(body: &[u8]) -> Result<Want, Malformed> {
    let mut reader = Reader::new(body);
    let (entries, bytes) = (reader.varint(INDEX_END)?, reader.varint(INDEX_END)?);
    let (through, floor) = (reader.varint(INDEX_END)?, reader.varint(u64::MAX)?);
    let mut want = Want { entries, bytes, through, floor, from: None };
    if !reader.is_empty() {
        let number = reader.varint(INDEX_END)?;
        let (epoch, index) = (Epoch(reader.array()?), reader.varint(INDEX_END)?);
        if number == 0 {
            return Err(Malformed::Value);
        }
        want.from = Some(Move { number, epoch, index });
    }
    reader.finish()?;
    Ok(want)
}

/// What stands before the entries of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferHead {
    /// In a `First`: the last move acted on, 0 before any, and the server's epoch.
    pub first: Option<(u64, Epoch)>,
    /// The number of the key of the short ids.
    pub key: u32,
    /// The first index covered.
    pub from: u64,
    /// The index after the last one covered.
    pub to: u64,
}

/// One item offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index in the server's log.
    pub index: u64,
    /// Its short id under the client's key.
    pub short: ShortId,
    /// Bytes of the item, at least 1.
    pub size: u32,
    /// Its summary.
    pub summary: Summary,
}

/// Appends the head of an offer, without length and type.
pub fn encode_offer_head(head: &OfferHead, out: &mut impl BufMut) {
    if let Some((number, epoch)) = &head.first {
        put_varint(out, *number);
        out.put_slice(&epoch.0);
    }
    put_varint(out, u64::from(head.key));
    put_varint(out, head.from);
    put_varint(out, head.to - head.from);
}

/// Appends an entry. `next` is the index after the one before, or the offer's first.
pub fn encode_entry(entry: &Entry, next: u64, out: &mut impl BufMut) {
    let summary = entry.summary.as_slice();
    put_varint(out, (entry.index - next) * 16 + summary.len() as u64);
    out.put_slice(&entry.short.0.to_le_bytes());
    put_varint(out, u64::from(entry.size));
    out.put_slice(summary);
}

/// Reads the head of an offer of type `kind` ([`OFFER`] or [`FIRST`]), and gives its entries.
pub fn decode_offer(kind: u64, body: &[u8]) -> Result<(OfferHead, Entries<'_>), Malformed> {
    let mut reader = Reader::new(body);
    let first = match kind {
        FIRST => Some((reader.varint(INDEX_END)?, Epoch(reader.array()?))),
        _ => None,
    };
    let key = u32::try_from(reader.varint(u64::from(u32::MAX))?).map_err(|_| Malformed::TooLarge)?;
    let from = reader.varint(INDEX_END)?;
    let to = from + reader.varint(MAX_SPAN)?;
    if to > INDEX_END {
        return Err(Malformed::TooLarge);
    }
    Ok((OfferHead { first, key, from, to }, Entries { reader, next: from, to }))
}

/// The entries of an offer, read one by one; ends after the first error.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    next: u64,
    to: u64,
}

impl Entries<'_> {
    fn entry(&mut self) -> Result<Entry, Malformed> {
        let head = self.reader.varint(MAX_SPAN * 16 + 15)?;
        let index = self.next + head / 16;
        if index >= self.to {
            return Err(Malformed::Value);
        }
        self.next = index + 1;
        let short = ShortId(u64::from_le_bytes(self.reader.array()?));
        let size =
            u32::try_from(self.reader.varint(u64::from(u32::MAX))?).map_err(|_| Malformed::TooLarge)?;
        if size == 0 {
            return Err(Malformed::Value);
        }
        let summary = Summary::new(self.reader.take(usize::try_from(head % 16).unwrap_or(0))?)?;
        Ok(Entry { index, short, size, summary })
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(entry)
    }
}

/// Appends ascending indices, as in `Get`, `Cancel` and `Gone`, without length and type.
pub fn encode_indices(indices: impl Iterator<Item = u64>, out: &mut impl BufMut) {
    let mut next = 0;
    for index in indices {
        put_varint(out, index - next);
        next = index + 1;
    }
}

/// Reads the indices of a `Get`, `Cancel` or `Gone`.
pub fn decode_indices(body: &[u8]) -> Indices<'_> {
    Indices { reader: Reader::new(body), next: 0, left: MAX_INDICES, begun: false }
}

/// Ascending indices, read one by one; ends after the first error. Empty lists and long ones are errors.
#[derive(Clone, Debug)]
pub struct Indices<'a> {
    reader: Reader<'a>,
    next: u64,
    left: usize,
    begun: bool,
}

impl Iterator for Indices<'_> {
    type Item = Result<u64, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let empty = !std::mem::replace(&mut self.begun, true);
        if self.reader.is_empty() {
            return empty.then_some(Err(Malformed::Truncated));
        }
        let index = self.reader.varint(INDEX_END).map(|gap| self.next.saturating_add(gap));
        match index {
            Ok(index) if index < INDEX_END && self.left > 0 => {
                self.next = index + 1;
                self.left -= 1;
                Some(Ok(index))
            }
            index => {
                self.reader = Reader::new(&[]);
                Some(index.and(Err(Malformed::TooLarge)))
            }
        }
    }
}

/// The head of a message on lane 1 from server to client, as far as it must be known before its body is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerHead {
    /// An item with this index, whose body of `size` bytes follows.
    Item {
        /// The index.
        index: u64,
        /// Bytes of the body.
        size: usize,
    },
    /// Another message of type `kind`, of which `rest` bytes follow.
    Other {
        /// The type.
        kind: u64,
        /// Bytes after the type.
        rest: usize,
    },
}

/// Reads the head of an answer at the front, of a message of at most `max` bytes: the head and its length in bytes;
/// `None` while more bytes are needed.
pub fn peek_answer(input: &[u8], max: usize) -> Result<Option<(AnswerHead, usize)>, Malformed> {
    let mut reader = Reader::new(input);
    let len = match reader.varint(max as u64) {
        Ok(len) => usize::try_from(len).map_err(|_| Malformed::TooLarge)?,
        Err(Malformed::Truncated) => return Ok(None),
        Err(error) => return Err(error),
    };
    let body = reader.rest();
    let mut reader = Reader::new(body.get(..len.min(body.len())).unwrap_or_default());
    let whole = body.len() >= len;
    let short = |error| if whole || error != Malformed::Truncated { Err(error) } else { Ok(None) };
    let kind = match reader.varint(u64::MAX) {
        Ok(kind) => kind,
        Err(error) => return short(error),
    };
    let prefix = input.len() - body.len();
    let used = |reader: Reader<'_>| body.len().min(len) - reader.rest().len();
    if kind != ITEM {
        let used = used(reader);
        return Ok(Some((AnswerHead::Other { kind, rest: len - used }, prefix + used)));
    }
    let index = match reader.varint(INDEX_END) {
        Ok(index) => index,
        Err(error) => return short(error),
    };
    let used = used(reader);
    Ok(Some((AnswerHead::Item { index, size: len - used }, prefix + used)))
}

/// Appends the head of an item with this index and a body of `size` bytes, message length included.
pub fn encode_item_head(index: u64, size: usize, out: &mut impl BufMut) {
    let fields = varint_len(ITEM) + varint_len(index);
    put_varint(out, (fields + size) as u64);
    put_varint(out, ITEM);
    put_varint(out, index);
}

/// Bytes that the head of an item's message takes.
pub(crate) const fn head_len(index: u64, size: usize) -> usize {
    let fields = varint_len(ITEM) + varint_len(index);
    varint_len((fields + size) as u64) + fields
}

/// Appends the length of a message.
pub(crate) fn put_len(len: usize, out: &mut Rope) {
    let mut prefix = [0; VARINT_MAX];
    let mut rest = &mut prefix[..];
    put_varint(&mut rest, len as u64);
    let len = VARINT_MAX - rest.len();
    out.put(prefix.get(..len).unwrap_or_default());
}
