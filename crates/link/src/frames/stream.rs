//! One stream of a frame link: its two halves, and the credit of each.

use weir_base::stream::Class;

use super::STREAM_INITIAL;
use crate::streams::{ReceiveEnd, ReceiveHalf, SendEnd, SendHalf};

/// Both directions. Gone when both have ended.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receive: ReceiveHalf,
    pub(super) send: SendHalf,
    pub(super) credit: Credit,
}

/// What each side may send, in bytes since the stream began.
#[derive(Debug)]
pub(super) struct Credit {
    pub(super) received: u64, // <= advertised
    pub(super) advertised: u64,
    pub(super) due: bool,     // a StreamCredit frame waits
    pub(super) sent: u64,     // with what is queued <= granted
    pub(super) granted: u64,  // by the peer
    pub(super) stopped: bool, // the peer wants no more
}

impl Stream {
    pub(super) fn new(end: SendEnd, class: Class) -> Self {
        let credit = Credit {
            received: 0,
            advertised: STREAM_INITIAL,
            due: false,
            sent: 0,
            granted: STREAM_INITIAL,
            stopped: false,
        };
        Self { receive: ReceiveHalf::default(), send: SendHalf::new(end, class), credit }
    }

    pub(super) fn is_over(&self) -> bool {
        self.receive.end == ReceiveEnd::Over && self.send.end == SendEnd::Over
    }

    /// What the peer may have in flight on this stream.
    fn window(&self, most: u64) -> u64 {
        let wanted = self.receive.raw.as_ref().map_or(self.receive.expected.bytes(), |raw| raw.growth(most));
        wanted.clamp(STREAM_INITIAL, most)
    }

    /// The credit to tell now; `None` while it is too little to be worth a frame.
    pub(super) fn credit_to_tell(&self, most: u64) -> Option<u64> {
        let window = self.window(most);
        let total = self.credit.received - self.receive.unread() + window;
        let open = self.receive.end == ReceiveEnd::Open;
        (open && total >= self.credit.advertised + window / 4).then_some(total)
    }

    /// Bytes that the peer's credit still allows to be written.
    pub(super) fn room(&self) -> u64 {
        let open = self.send.end == SendEnd::Open && !self.credit.stopped;
        let used = self.credit.sent + self.send.queue.len() as u64;
        if open { self.credit.granted.saturating_sub(used) } else { 0 }
    }
}
