//! Header and length.

use bytes::{Buf as _, Bytes, BytesMut};
use weir_base::Fault;
use weir_base::codec::{Malformed, peek_varint, put_varint};

use super::{BAD_HEADER, FLAG, MESSAGE_MAX, StreamId, TOO_LONG};

/// The largest header: 60 bits of number and three of flag.
const HEADER_MAX: u64 = (1 << 63) - 1;
/// Bytes of header and length together, at most.
const HEAD: usize = 9 + 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    New,
    Data,
    Close,
    Reset,
}

/// What stands before a message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) stream: StreamId,
    pub(super) len: usize, // <= MESSAGE_MAX
}

impl Head {
    /// As the peer sent it: whose stream it is, is said from its side.
    fn decode(header: u64, len: u64) -> Result<Self, Fault> {
        let (kind, ours) = match header & 7 {
            0 => (Kind::New, false),
            1 => (Kind::Data, true),
            2 => (Kind::Data, false),
            3 => (Kind::Close, true),
            4 => (Kind::Close, false),
            5 => (Kind::Reset, true),
            6 => (Kind::Reset, false),
            _ => return Err(FLAG),
        };
        let len = usize::try_from(len).map_err(|_| TOO_LONG)?;
        Ok(Self { kind, stream: StreamId { number: header >> 3, ours }, len })
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        put_varint(out, self.header());
        put_varint(out, self.len as u64);
    }

    fn header(&self) -> u64 {
        let flag = match (self.kind, self.stream.ours) {
            (Kind::New, _) => 0,
            (Kind::Data, false) => 1,
            (Kind::Data, true) => 2,
            (Kind::Close, false) => 3,
            (Kind::Close, true) => 4,
            (Kind::Reset, false) => 5,
            (Kind::Reset, true) => 6,
        };
        self.stream.number << 3 | flag
    }
}

/// What has come of a head that is not whole.
#[derive(Debug, Default)]
pub(super) struct Heads {
    held: Vec<u8>, // < HEAD
}

impl Heads {
    /// Takes a head off `input`; `None` where it is not whole.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Head>, Fault> {
        while input.has_remaining() && self.held.len() < HEAD {
            self.held.push(input.get_u8());
            if let Some(head) = self.whole()? {
                self.held.clear();
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn whole(&self) -> Result<Option<Head>, Fault> {
        let Some((header, taken)) = peek_varint(&self.held, HEADER_MAX).map_err(|_| BAD_HEADER)? else {
            return Ok(None);
        };
        let rest = self.held.get(taken..).unwrap_or_default();
        let len = peek_varint(rest, MESSAGE_MAX).map_err(|error| match error {
            Malformed::TooLarge => TOO_LONG,
            _ => BAD_HEADER,
        })?;
        len.map(|(len, _)| Head::decode(header, len)).transpose()
    }
}
