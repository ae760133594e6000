//! Cuts one direction of a stream into messages, without keeping bodies of items.

use weir_base::codec::{Malformed, Reader, peek_varint};

/// The longest message that is kept whole while its parts arrive; offers are at most 8 KiB.
const LONGEST: u64 = 1 << 16;

/// `Item` on lane 1 (`docs/spec/pool.md`).
const ITEM: u64 = 0;

/// A part of what a lane of items carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// An item begins.
    Begins { index: u64, size: u64 },
    /// So many bytes of its body came.
    Bytes(u64),
    /// It is complete.
    Ends,
    /// Another message.
    Other { kind: u64, body: &'a [u8] },
}

/// The state of one direction.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    held: Vec<u8>,  // the beginning of a message, at most LONGEST
    body_left: u64, // of the item under way; then nothing is held
    broken: bool,
}

/// The beginning of a message on a lane of items.
enum Head<'a> {
    Item { index: u64, size: u64, begins: usize },
    Other { kind: u64, body: &'a [u8], ends: usize },
}

impl Cutter {
    /// Calls `on` with type, fields and encoded length of each whole message.
    pub(super) fn messages(
        &mut self,
        bytes: &[u8],
        mut on: impl FnMut(u64, &[u8], u64) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.feed(bytes, |_, mut input| {
            while let Some((kind, body, whole)) = message(input)? {
                on(kind, body, whole as u64)?;
                input = input.get(whole..).unwrap_or_default();
            }
            Ok(input)
        })
    }

    /// Calls `on` with the length of each message, when it begins; none is kept.
    pub(super) fn lengths(&mut self, bytes: &[u8], mut on: impl FnMut(u64)) -> Result<(), Malformed> {
        self.feed(bytes, |left, mut input| {
            loop {
                let taken = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                input = input.get(taken..).unwrap_or_default();
                if *left > 0 {
                    return Ok(input);
                }
                let Some((len, head)) = peek_varint(input, u64::MAX)? else { return Ok(input) };
                on(len);
                *left = len;
                input = input.get(head..).unwrap_or_default();
            }
        })
    }

    /// Calls `on` with each part of a lane of items.
    pub(super) fn items(
        &mut self,
        bytes: &[u8],
        mut on: impl FnMut(Part<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.feed(bytes, |body_left, mut input| {
            loop {
                if *body_left > 0 {
                    let (taken, rest) =
                        input.split_at(input.len().min(usize::try_from(*body_left).unwrap_or(usize::MAX)));
                    *body_left -= taken.len() as u64;
                    input = rest;
                    on(Part::Bytes(taken.len() as u64))?;
                    if *body_left > 0 {
                        return Ok(input);
                    }
                    on(Part::Ends)?;
                }
                match head(input)? {
                    None => return Ok(input),
                    Some(Head::Item { index, size, begins }) => {
                        on(Part::Begins { index, size })?;
                        *body_left = size;
                        input = input.get(begins..).unwrap_or_default();
                    }
                    Some(Head::Other { kind, body, ends }) => {
                        on(Part::Other { kind, body })?;
                        input = input.get(ends..).unwrap_or_default();
                    }
                }
            }
        })
    }

    /// Hands `walk` what was held and what came; it returns what it leaves.
    fn feed(
        &mut self,
        bytes: &[u8],
        mut walk: impl for<'a> FnMut(&mut u64, &'a [u8]) -> Result<&'a [u8], Malformed>,
    ) -> Result<(), Malformed> {
        if self.broken {
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.held);
        let input = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        match walk(&mut self.body_left, input) {
            Ok([]) => Ok(()),
            Ok(rest) => {
                self.held = rest.to_vec();
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                Err(error)
            }
        }
    }
}

/// Type, fields and encoded length of a message.
type Whole<'a> = (u64, &'a [u8], usize);

/// The first message; `None` while it is not whole.
fn message(input: &[u8]) -> Result<Option<Whole<'_>>, Malformed> {
    let Some((len, head)) = peek_varint(input, LONGEST)? else { return Ok(None) };
    let whole = head + usize::try_from(len).map_err(|_| Malformed::TooLarge)?;
    let Some(message) = input.get(head..whole) else { return Ok(None) };
    let mut reader = Reader::new(message);
    Ok(Some((reader.varint(u64::MAX)?, reader.rest(), whole)))
}

fn head(input: &[u8]) -> Result<Option<Head<'_>>, Malformed> {
    let Some((len, head)) = peek_varint(input, u64::MAX)? else { return Ok(None) };
    let inside = input.get(head..).unwrap_or_default();
    let Some((kind, kind_len)) = peek_varint(inside, u64::MAX)? else { return Ok(None) };
    if kind != ITEM {
        return Ok(message(input)?.map(|(kind, body, ends)| Head::Other { kind, body, ends }));
    }
    let Some((index, index_len)) = peek_varint(inside.get(kind_len..).unwrap_or_default(), u64::MAX)? else {
        return Ok(None);
    };
    let fields = kind_len + index_len;
    let size = len.checked_sub(fields as u64).filter(|size| *size > 0).ok_or(Malformed::Truncated)?;
    Ok(Some(Head::Item { index, size, begins: head + fields }))
}
