//! The four streams that a pool has with a link.

use std::collections::VecDeque;
use std::time::Duration;

use weir_base::stream::Ask;
use weir_base::{LinkId, Rope, StreamKey};

use crate::pool::codec::{MAX_LIST, MAX_OFFER, MAX_OFFER_HEAD, MAX_WANT};

/// What a stream is for, seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Lane 0, opened by this node: permits out, offers in.
    Intake,
    /// Lane 0, opened by the peer: permits in, offers out.
    Outlet,
    /// Lane 1, opened by this node: gets out, items in.
    Gets,
    /// Lane 1, opened by the peer: gets in, items out.
    Serving,
}

/// Lanes of a pool: offers, items.
pub(crate) const OFFERS: u8 = 0;
pub(crate) const ITEMS: u8 = 1;

impl Role {
    /// Bytes that its longest message can take, but for items.
    pub(crate) const fn longest(self) -> usize {
        match self {
            Self::Intake => MAX_WANT + 2,
            Self::Outlet => MAX_OFFER + MAX_OFFER_HEAD,
            Self::Gets => MAX_LIST + 2,
            Self::Serving => 1, // looks itself at what fits
        }
    }

    pub(crate) const fn lane(self) -> u8 {
        match self {
            Self::Intake | Self::Outlet => OFFERS,
            Self::Gets | Self::Serving => ITEMS,
        }
    }
}

/// One stream.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// The transport's number, while it is open.
    pub(crate) stream: Option<u64>,
    /// What this node has asked for.
    pub(crate) opening: Opening,
    /// Encoded, and not taken yet: at most one message.
    pub(crate) unsent: Rope,
    /// How often it ended early, since something last came on it.
    ends: u8,
    asked: bool,
}

/// The pause before a stream that ended early is opened again, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// It doubles up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Whether this node opens a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Not asked for yet.
    #[default]
    No,
    /// Asked for, or open.
    Yes,
    /// It ended early: opened again after a pause.
    Paused,
    /// The peer broke the protocol on it, or the link is gone.
    Never,
}

impl Lane {
    /// Asks the pump to come for bytes, once until it found none.
    pub(crate) fn ask_write(&mut self, link: LinkId, asks: &mut VecDeque<Ask>) {
        if let Some(stream) = self.stream.filter(|_| !self.asked) {
            self.asked = true;
            asks.push_back(Ask::Write(StreamKey { link, stream }));
        }
    }

    /// It ended early. How long until it may be opened again.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.ends.min(8)).min(LONGEST_PAUSE);
        self.ends = self.ends.saturating_add(1);
        (self.stream, self.opening, self.unsent, self.asked) = (None, Opening::Paused, Rope::new(), false);
        pause
    }

    /// Something came on it that this node had asked for.
    pub(crate) const fn works(&mut self) {
        self.ends = 0;
    }

    /// The pump found nothing: it must be asked again.
    pub(crate) const fn found_nothing(&mut self) {
        self.asked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_early_waits_longer_each_time_until_something_comes() {
        let mut lane = Lane::default();
        let pauses: Vec<u64> = (0..12).map(|_| lane.pause().as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300, 300, 300, 300, 300]);
        assert_eq!((lane.stream, lane.opening), (None, Opening::Paused));
        lane.works();
        assert_eq!(lane.pause(), FIRST_PAUSE);
    }

    #[test]
    fn the_pump_is_asked_once_until_it_found_nothing() {
        let (mut lane, mut asks, link) = (Lane::default(), VecDeque::new(), LinkId(3));
        lane.ask_write(link, &mut asks);
        assert_eq!(asks, [], "it is not open");
        lane.stream = Some(8);
        lane.ask_write(link, &mut asks);
        lane.ask_write(link, &mut asks);
        assert_eq!(asks, [Ask::Write(StreamKey { link, stream: 8 })]);
        lane.found_nothing();
        lane.ask_write(link, &mut asks);
        assert_eq!(asks.len(), 2);
    }

    #[test]
    fn the_longest_message_of_each_stream_fits_what_is_asked_for_it() {
        let all = [Role::Intake, Role::Outlet, Role::Gets, Role::Serving];
        assert_eq!(all.map(Role::longest), [66, 8_233, 10_243, 1]);
        assert_eq!(all.map(Role::lane), [OFFERS, OFFERS, ITEMS, ITEMS]);
    }
}
