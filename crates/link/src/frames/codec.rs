//! Frames as bytes, for wires that are byte streams. `docs/spec/frames.md` has the table.

use bytes::{BufMut, Bytes};
use weir_base::ProtocolId;
use weir_base::codec::{Malformed, Reader, put_varint, varint_len};
use weir_base::stream::Goodbye;

use super::{DATA_MAX, Frame, NUMBER_MAX};

/// The longest body of a frame in bytes: its type, a stream number and [`DATA_MAX`] of data.
pub const FRAME_MAX: usize = DATA_MAX + 16;

const OPEN: u64 = 0;
const DATA: u64 = 2;
const END: u64 = 4;
const RESET: u64 = 6;
const STOP: u64 = 8;
const STREAM_CREDIT: u64 = 10;
const LINK_CREDIT: u64 = 12;
const STREAMS_CREDIT: u64 = 14;
const PING: u64 = 16;
const PONG: u64 = 18;
const CLOSE: u64 = 20;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A field is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The type is unknown and even: the peer counts on it.
    #[error("unknown frame type {0}, which must be understood")]
    Unknown(u64),
}

/// Type and fields of a frame but its data: at most three numbers.
struct Head {
    kind: u64,
    fields: [u64; 2],
    count: usize,
}

impl Frame {
    /// Bytes it takes on a wire, its length prefix included. What the simulator counts.
    pub fn wire_len(&self) -> usize {
        let body = self.body_len();
        varint_len(body as u64) + body
    }

    /// Appends length and body.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_varint(out, self.body_len() as u64);
        let head = self.head();
        put_varint(out, head.kind);
        head.fields.iter().take(head.count).for_each(|field| put_varint(out, *field));
        out.put_slice(self.data());
    }

    /// Reads a body (what follows the length; [`Framer`](weir_base::codec::Framer) with [`FRAME_MAX`] cuts them).
    /// `None`: a type this version does not know and may skip. Data stays a slice of `body`.
    ///
    /// # Errors
    /// [`FrameError`] for anything else that is not a frame.
    pub fn decode(body: &Bytes) -> Result<Option<Self>, FrameError> {
        let mut reader = Reader::new(body);
        let kind = reader.varint(u64::MAX)?;
        let mut number = |max: u64| reader.varint(max);
        let frame = match kind {
            OPEN => Self::Open {
                stream: number(NUMBER_MAX)?,
                protocol: ProtocolId(small(number(u32::MAX.into())?)),
            },
            DATA => {
                let stream = number(NUMBER_MAX)?;
                let len = reader.rest().len();
                if len > DATA_MAX {
                    return Err(Malformed::TooLarge.into());
                }
                return Ok(Some(Self::Data { stream, bytes: body.slice(body.len() - len..) }));
            }
            END => Self::End { stream: number(NUMBER_MAX)? },
            RESET => Self::Reset { stream: number(NUMBER_MAX)?, code: small(number(u32::MAX.into())?) },
            STOP => Self::Stop { stream: number(NUMBER_MAX)?, code: small(number(u32::MAX.into())?) },
            STREAM_CREDIT => Self::StreamCredit { stream: number(NUMBER_MAX)?, total: number(NUMBER_MAX)? },
            LINK_CREDIT => Self::LinkCredit { total: number(NUMBER_MAX)? },
            STREAMS_CREDIT => Self::StreamsCredit { total: number(NUMBER_MAX)? },
            PING => Self::Ping { nonce: number(NUMBER_MAX)? },
            PONG => Self::Pong { nonce: number(NUMBER_MAX)? },
            CLOSE => {
                let code = u16::try_from(number(u16::MAX.into())?).map_err(|_| Malformed::TooLarge)?;
                Self::Close { goodbye: Goodbye::from_code(code) }
            }
            odd if odd % 2 == 1 => return Ok(None),
            even => return Err(FrameError::Unknown(even)),
        };
        reader.finish()?;
        Ok(Some(frame))
    }

    fn head(&self) -> Head {
        let one = |kind, field| Head { kind, fields: [field, 0], count: 1 };
        let two = |kind, first, second| Head { kind, fields: [first, second], count: 2 };
        match self {
            Self::Open { stream, protocol } => two(OPEN, *stream, protocol.0.into()),
            Self::Data { stream, .. } => one(DATA, *stream),
            Self::End { stream } => one(END, *stream),
            Self::Reset { stream, code } => two(RESET, *stream, (*code).into()),
            Self::Stop { stream, code } => two(STOP, *stream, (*code).into()),
            Self::StreamCredit { stream, total } => two(STREAM_CREDIT, *stream, *total),
            Self::LinkCredit { total } => one(LINK_CREDIT, *total),
            Self::StreamsCredit { total } => one(STREAMS_CREDIT, *total),
            Self::Ping { nonce } => one(PING, *nonce),
            Self::Pong { nonce } => one(PONG, *nonce),
            Self::Close { goodbye } => one(CLOSE, goodbye.code().into()),
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::Data { bytes, .. } => bytes,
            _ => &[],
        }
    }

    fn body_len(&self) -> usize {
        let head = self.head();
        let fields: usize = head.fields.iter().take(head.count).map(|field| varint_len(*field)).sum();
        varint_len(head.kind) + fields + self.data().len()
    }
}

/// A number that was read with a limit of 32 bits.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
