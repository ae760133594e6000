//! How a message lies in a stream: a trait, and the two framings that are in wide use.

use bytes::{Bytes, BytesMut};
use weir_base::codec::{peek_varint, put_varint};

/// Bytes of the longest unsigned varint in front of a message.
const PREFIX_MAX: usize = 10;

/// Bytes that are read at once, at most, of a message whose length only its end tells.
const AT_ONCE: usize = 64 << 10;

/// How the requests and responses of a protocol lie in its streams: one message in each direction. A framing may compress, too.
///
/// [`measure`](Self::measure) sees what a peer sends as it comes, so that a message that is too large is refused by its first bytes. At most
/// [`most`](Self::most) bytes of a frame are ever gathered, whatever a framing answers.
pub trait Framing: std::fmt::Debug + Send + Sync {
    /// A message as it goes out: what comes before it, and the message itself. Either may be empty.
    ///
    /// # Errors
    /// [`BadFrame`]: the protocol has no such message.
    fn frame(&self, message: Bytes) -> Result<(Bytes, Bytes), BadFrame>;

    /// Bytes of the largest frame of a message of `max` bytes.
    fn most(&self, max: usize) -> usize;

    /// How far a frame has come. `received` is all of it so far: nothing at first, and at most 64 bytes more than were asked for.
    /// It should look at the first few bytes alone, for it is called again and again.
    ///
    /// # Errors
    /// [`BadFrame`]: the message has more than `max` bytes, or is none.
    fn measure(&self, received: &[u8], max: usize, rest: Rest) -> Result<Measure, BadFrame>;

    /// The message in a whole frame.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    fn unframe(&self, frame: Bytes, max: usize) -> Result<Bytes, BadFrame>;
}

/// Whether more of a direction may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It may.
    ToCome,
    /// The peer has ended it.
    Nothing,
}

/// How far a frame has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// At least so many more bytes are needed to say more; 0 counts as 1.
    More(usize),
    /// So many bytes from the beginning are the frame.
    Whole(usize),
}

/// What a peer sent, or what this side is to send, is no message of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// It is too large.
    #[error("the message is too large")]
    TooLarge,
    /// It is not framed as the protocol says.
    #[error("the message is malformed")]
    Malformed,
}

/// An unsigned varint with the message's length, and the message: what most protocols over libp2p do.
#[derive(Clone, Copy, Debug, Default)]
pub struct LengthPrefix;

impl Framing for LengthPrefix {
    fn frame(&self, message: Bytes) -> Result<(Bytes, Bytes), BadFrame> {
        let mut prefix = BytesMut::with_capacity(PREFIX_MAX);
        put_varint(&mut prefix, message.len() as u64);
        Ok((prefix.freeze(), message))
    }

    fn most(&self, max: usize) -> usize {
        max.saturating_add(PREFIX_MAX)
    }

    fn measure(&self, received: &[u8], max: usize, _: Rest) -> Result<Measure, BadFrame> {
        let read = peek_varint(received, u64::MAX).map_err(|_| BadFrame::Malformed)?;
        let Some((len, prefix)) = read else { return Ok(Measure::More(1)) };
        let len = usize::try_from(len).ok().filter(|len| *len <= max).ok_or(BadFrame::TooLarge)?;
        let whole = prefix + len;
        Ok(match whole.checked_sub(received.len()) {
            Some(missing) if missing > 0 => Measure::More(missing),
            _ => Measure::Whole(whole),
        })
    }

    fn unframe(&self, frame: Bytes, _: usize) -> Result<Bytes, BadFrame> {
        let read = peek_varint(&frame, u64::MAX).map_err(|_| BadFrame::Malformed)?;
        let prefix = read.map(|(_, prefix)| prefix).filter(|prefix| *prefix <= frame.len());
        prefix.map(|prefix| frame.slice(prefix..)).ok_or(BadFrame::Malformed)
    }
}

/// The message alone: it ends with its direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilEnd;

impl Framing for UntilEnd {
    fn frame(&self, message: Bytes) -> Result<(Bytes, Bytes), BadFrame> {
        Ok((Bytes::new(), message))
    }

    fn most(&self, max: usize) -> usize {
        max
    }

    fn measure(&self, received: &[u8], max: usize, rest: Rest) -> Result<Measure, BadFrame> {
        match rest {
            _ if received.len() > max => Err(BadFrame::TooLarge),
            // As much again as has come: who sends little makes nobody expect much.
            Rest::ToCome => {
                let again = received.len().clamp(1, AT_ONCE);
                Ok(Measure::More(again.min((max - received.len()).saturating_add(1))))
            }
            Rest::Nothing => Ok(Measure::Whole(received.len())),
        }
    }

    fn unframe(&self, frame: Bytes, _: usize) -> Result<Bytes, BadFrame> {
        Ok(frame)
    }
}

/// Gathers one framed message as it comes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    received: Vec<u8>, // <= Framing::most and READ_AHEAD
    needed: usize,     // more bytes, before anything new can be said
}

/// Bytes that may be read beyond those that are known to be needed: so a length is not read byte by byte, and it is seen where a peer
/// goes on after its message.
pub(super) const READ_AHEAD: usize = 64;

impl Reader {
    /// Bytes that it takes now.
    pub(super) fn room(&self) -> usize {
        self.needed.max(READ_AHEAD)
    }

    /// Bytes of memory that it has.
    pub(super) fn held(&self) -> usize {
        self.received.capacity()
    }

    /// More has come, or the end has. The message, once it is whole, and whether more came behind it.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        rest: Rest,
        (framing, max): (&dyn Framing, usize),
    ) -> Result<Option<(Bytes, Behind)>, BadFrame> {
        self.keep(bytes);
        if self.needed > 0 && rest == Rest::ToCome {
            return Ok(None);
        }
        let len = match framing.measure(&self.received, max, rest)? {
            Measure::More(more) => {
                let more = more.max(1);
                // The one byte more shows that a message is too large where only its end says how large it is.
                if self.received.len().saturating_add(more) > framing.most(max).saturating_add(1) {
                    return Err(BadFrame::TooLarge);
                }
                self.needed = more;
                return Ok(None);
            }
            Measure::Whole(len) if len > self.received.len() => return Err(BadFrame::Malformed),
            Measure::Whole(len) => len,
        };
        let mut frame = std::mem::take(&mut self.received);
        let behind = if len < frame.len() { Behind::More } else { Behind::Nothing };
        frame.truncate(len);
        let message = framing.unframe(frame.into(), max)?;
        if message.len() > max { Err(BadFrame::TooLarge) } else { Ok(Some((message, behind))) }
    }

    /// The buffer doubles, and never grows beyond what is known to come: memory follows what was sent, not what was announced.
    fn keep(&mut self, bytes: &[u8]) {
        if bytes.len() > self.received.capacity() - self.received.len() {
            self.received.reserve_exact(bytes.len().max(self.received.len().min(self.needed)));
        }
        self.received.extend_from_slice(bytes);
        self.needed = self.needed.saturating_sub(bytes.len());
    }
}

/// What came behind a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Nothing,
    More,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(
        framing: &dyn Framing,
        max: usize,
        bytes: &[u8],
        step: usize,
    ) -> Result<Option<(Bytes, Behind)>, BadFrame> {
        let mut reader = Reader::default();
        let mut left = bytes;
        while !left.is_empty() {
            let (part, rest) = left.split_at(step.min(reader.room()).min(left.len()));
            left = rest;
            if let Some(whole) = reader.push(part, Rest::ToCome, (framing, max))? {
                return Ok(Some(whole));
            }
            let most = framing.most(max) + READ_AHEAD;
            assert!(reader.received.capacity() <= most.min(2 * (bytes.len() - left.len())), "memory");
        }
        reader.push(&[], Rest::Nothing, (framing, max))
    }

    #[test]
    fn messages_come_through_both_framings_in_pieces_of_any_size() {
        for len in [0, 1, 63, 64, 127, 128, 5_000] {
            let message = Bytes::from(vec![7; len]);
            for framing in [&LengthPrefix as &dyn Framing, &UntilEnd] {
                let (head, body) = framing.frame(message.clone()).unwrap();
                let frame = [&head[..], &body[..]].concat();
                for step in [1, 3, 64, usize::MAX] {
                    let came = feed(framing, len, &frame, step);
                    assert_eq!(
                        came,
                        Ok(Some((message.clone(), Behind::Nothing))),
                        "{framing:?} {len} {step}"
                    );
                }
                if len > 0 {
                    assert_eq!(feed(framing, len - 1, &frame, 64), Err(BadFrame::TooLarge), "{framing:?}");
                }
            }
        }
    }

    #[test]
    fn of_a_message_without_a_length_as_much_is_read_as_has_come() {
        let (mut reader, max) = (Reader::default(), 1 << 20);
        let mut rooms = Vec::new();
        let end = loop {
            rooms.push(reader.room());
            match reader.push(&vec![7; reader.room()], Rest::ToCome, (&UntilEnd, max)) {
                Ok(came) => assert_eq!(came, None),
                Err(bad) => break bad,
            }
        };
        let doubling = (0..=10).map(|power| 64 << power); // up to AT_ONCE
        let expected: Vec<usize> =
            [64].into_iter().chain(doubling).chain([AT_ONCE; 14]).chain([READ_AHEAD]).collect();
        assert_eq!((rooms, end), (expected, BadFrame::TooLarge));
    }

    #[test]
    fn a_length_above_the_limit_is_refused_by_itself() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(feed(&LengthPrefix, 1 << 20, &huge, 64), Err(BadFrame::TooLarge));
        assert_eq!(feed(&LengthPrefix, 10, &[11], 64), Err(BadFrame::TooLarge));
        assert_eq!(
            feed(&LengthPrefix, 10, &[0x80, 0x00], 64),
            Err(BadFrame::Malformed),
            "not the shortest form"
        );
        assert_eq!(feed(&LengthPrefix, 10, &[5, 1, 2], 64), Ok(None), "it ended before");
    }

    /// Teku: memory was allocated for a length that a peer had only announced.
    #[test]
    fn teku_cl_2020_07_nothing_is_allocated_for_a_length_alone() {
        let (mut reader, max) = (Reader::default(), 1 << 30);
        let announced = [0x80, 0x80, 0x80, 0x80, 0x04, 7, 7, 7]; // 2^30 bytes, of which three come
        assert_eq!(reader.push(&announced, Rest::ToCome, (&LengthPrefix, max)), Ok(None));
        assert_eq!(reader.needed, max - 3);
        assert!(reader.held() <= 2 * announced.len(), "{} bytes for {}", reader.held(), announced.len());
    }

    #[test]
    fn what_comes_behind_a_message_is_seen() {
        let whole = Some((Bytes::from_static(b"a"), Behind::More));
        assert_eq!(feed(&LengthPrefix, 10, b"\x01abc", 64), Ok(whole));
    }

    /// A framing that answers what it likes.
    #[derive(Debug)]
    struct Greedy(Measure, usize);

    impl Framing for Greedy {
        fn frame(&self, _: Bytes) -> Result<(Bytes, Bytes), BadFrame> {
            Err(BadFrame::Malformed)
        }
        fn most(&self, max: usize) -> usize {
            max
        }
        fn measure(&self, _: &[u8], _: usize, _: Rest) -> Result<Measure, BadFrame> {
            Ok(self.0)
        }
        fn unframe(&self, _: Bytes, _: usize) -> Result<Bytes, BadFrame> {
            Ok(vec![0; self.1].into())
        }
    }

    #[test]
    fn a_framing_is_held_to_what_it_said_itself() {
        assert_eq!(feed(&Greedy(Measure::More(usize::MAX), 0), 100, &[1], 1), Err(BadFrame::TooLarge));
        assert_eq!(feed(&Greedy(Measure::More(0), 0), 100, &[1; 200], 1), Err(BadFrame::TooLarge));
        assert_eq!(feed(&Greedy(Measure::Whole(2), 0), 100, &[1], 1), Err(BadFrame::Malformed));
        assert_eq!(feed(&Greedy(Measure::Whole(1), 101), 100, &[1], 1), Err(BadFrame::TooLarge), "unpacked");
    }
}
