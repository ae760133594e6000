//! Frames: streams over a wire that is reliable and ordered already, and whose host vouches for the peer.
//!
//! Memory links and foreign hosts use them. Cryptography is all they leave out: flow control, limits and ends are those of
//! QUIC. Source: `docs/spec/frames.md`, RFC 9000 §2–4 for the meaning.
//!
//! Threat: the peer may send any frame at any time. What breaks the rules is a [`Fault`](weir_base::Fault) and ends the link.

mod codec;
#[cfg(test)]
mod codec_tests;
mod input;
mod link;
mod output;
mod stream;
mod wires;

use bytes::Bytes;
use weir_base::ProtocolId;
use weir_base::stream::Goodbye;

pub use codec::{FRAME_MAX, FrameError};
pub(crate) use link::FrameLink;
pub(crate) use wires::Wires;

/// Bytes that either side may send in all, before any [`Frame::LinkCredit`].
pub const LINK_INITIAL: u64 = 64 * 1024;

/// Bytes that either side may send on a stream, before any [`Frame::StreamCredit`].
pub const STREAM_INITIAL: u64 = 64 * 1024;

/// Streams that either side may open, before any [`Frame::StreamsCredit`].
pub const STREAMS_INITIAL: u64 = crate::streams::BEFORE_HELLO as u64;

/// The most bytes of one [`Frame::Data`]: small enough that control never waits long behind one.
pub const DATA_MAX: usize = 16 * 1024;

/// The largest credit total and stream number (62 bits, as QUIC).
pub const NUMBER_MAX: u64 = (1 << 62) - 1;

/// One frame. Streams are numbered as in QUIC: 0, 4, 8, … by the dialler and 1, 5, 9, … by the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream. Numbers of one side come in order, without gaps.
    Open {
        /// Its number.
        stream: u64,
        /// What it speaks.
        protocol: ProtocolId,
    },
    /// The next bytes of a stream, at most [`DATA_MAX`].
    Data {
        /// Which stream.
        stream: u64,
        /// The bytes, by reference.
        bytes: Bytes,
    },
    /// The sender's direction of a stream ends here.
    End {
        /// Which stream.
        stream: u64,
    },
    /// The sender breaks off its direction of a stream.
    Reset {
        /// Which stream.
        stream: u64,
        /// The application's reason.
        code: u32,
    },
    /// The receiver of this should send no more on a stream; it answers by `Reset` unless it ended already.
    Stop {
        /// Which stream.
        stream: u64,
        /// The application's reason.
        code: u32,
    },
    /// The receiver of this may send so many bytes on a stream, counted from its beginning.
    StreamCredit {
        /// Which stream.
        stream: u64,
        /// Bytes since the stream was opened; a total that is not larger than the last says nothing.
        total: u64,
    },
    /// The receiver of this may send so many bytes on all streams together, counted from the beginning.
    LinkCredit {
        /// Bytes since the link began.
        total: u64,
    },
    /// The receiver of this may open so many streams, counted from the beginning.
    StreamsCredit {
        /// Streams since the link began.
        total: u64,
    },
    /// Asks for a [`Frame::Pong`]: measures the round trip. At most one is unanswered.
    Ping {
        /// Any number.
        nonce: u64,
    },
    /// Answers a [`Frame::Ping`].
    Pong {
        /// The ping's number.
        nonce: u64,
    },
    /// The link ends; no frame follows.
    Close {
        /// Why.
        goodbye: Goodbye,
    },
}
