//! One token: a varint length, a text, a newline.

use bytes::{BufMut as _, Bytes, BytesMut};
use weir_base::codec::{Framer, put_varint, varint_len};

/// What both sides say first.
pub const HEADER: &str = "/multistream/1.0.0";
/// Bytes of the longest token, its newline counted. js-libp2p takes as many; names in use have below 100.
pub const TOKEN_MAX: usize = 1_024;

/// The answer to a name that the listener does not speak.
pub(super) const NOT_AVAILABLE: &str = "na";
/// The question for all names.
pub(super) const LIST: &str = "ls";

pub(super) fn put(out: &mut BytesMut, text: &str) {
    put_varint(out, text.len() as u64 + 1);
    out.put_slice(text.as_bytes());
    out.put_u8(b'\n');
}

/// The answer to `ls`: the tokens of all names and a newline, in one token. Names that would not fit into `max` bytes are left
/// out.
pub(super) fn put_list<'a>(out: &mut BytesMut, names: impl Iterator<Item = &'a str>, max: usize) {
    let mut tokens = BytesMut::new();
    for name in names {
        let len = name.len() + 1;
        if tokens.len() + varint_len(len as u64) + len < max {
            put(&mut tokens, name);
        }
    }
    put_varint(out, tokens.len() as u64 + 1);
    out.put_slice(&tokens);
    out.put_u8(b'\n');
}

/// A token that is empty, too long or without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadToken;

/// Cuts input into tokens, however it is fragmented. Holds at most one.
#[derive(Debug)]
pub(super) struct Tokens(Framer);

impl Tokens {
    pub(super) fn new(max: usize) -> Self {
        Self(Framer::new(max))
    }

    /// The next token without its newline; `None` when `input` is empty and none is whole. Call until `None`.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, BadToken> {
        let Some(mut token) = self.0.next(input).map_err(|_| BadToken)? else { return Ok(None) };
        if token.last() != Some(&b'\n') {
            return Err(BadToken);
        }
        token.truncate(token.len() - 1);
        Ok(Some(token))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.0.held()
    }
}
