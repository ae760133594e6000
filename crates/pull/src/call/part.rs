//! A part of the memory for calls, and what of it each call channel is guaranteed (`docs/spec/call.md`, "Memory").
//!
//! A method that never answers holds all it was given. So that it cannot take what others need, a channel gets room only where
//! what all others have not used of their guarantees stays free. Where the part does not hold all guarantees, there are none.

use std::collections::BTreeMap;

/// Bytes of one kind, of all call channels. A channel is known by the number of its machine.
#[derive(Debug)]
pub(super) struct Part {
    size: u64,
    used: u64,
    guaranteed: u64, // all guarantees
    unused: u64,     // of all guarantees
    channels: BTreeMap<u16, Channel>,
}

#[derive(Debug, Default)]
struct Channel {
    guarantee: u64,
    held: u64,
}

impl Channel {
    const fn unused(&self) -> u64 {
        self.guarantee.saturating_sub(self.held)
    }
}

impl Part {
    pub(super) const fn new(size: u64) -> Self {
        Self { size, used: 0, guaranteed: 0, unused: 0, channels: BTreeMap::new() }
    }

    /// A channel is guaranteed so many bytes, which is what it needs for one request.
    pub(super) fn guarantee(&mut self, channel: u16, bytes: u64) {
        self.guaranteed = self.guaranteed.saturating_add(bytes);
        self.change(channel, |channel| channel.guarantee = bytes);
    }

    /// Whether there is room for so many bytes of a channel more.
    pub(super) fn has_room(&self, channel: u16, bytes: u64) -> bool {
        let own = self.channels.get(&channel).map_or(0, Channel::unused);
        let kept = if self.is_guaranteed() { self.unused.saturating_sub(own) } else { 0 };
        self.used.saturating_add(kept).saturating_add(bytes) <= self.size
    }

    /// Whether what a channel gives back can be had by another one: it holds more than its guarantee.
    pub(super) fn can_lend(&self, channel: u16) -> bool {
        let above = |channel: &Channel| channel.held > channel.guarantee;
        !self.is_guaranteed() || self.channels.get(&channel).is_some_and(above)
    }

    pub(super) fn take(&mut self, channel: u16, bytes: u64) {
        self.used += bytes;
        self.change(channel, |channel| channel.held += bytes);
    }

    pub(super) fn give_back(&mut self, channel: u16, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        self.change(channel, |channel| channel.held = channel.held.saturating_sub(bytes));
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    const fn is_guaranteed(&self) -> bool {
        self.guaranteed <= self.size
    }

    fn change(&mut self, channel: u16, change: impl FnOnce(&mut Channel)) {
        let channel = self.channels.entry(channel).or_default();
        let before = channel.unused();
        change(channel);
        self.unused = (self.unused - before).saturating_add(channel.unused());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_leaves_room_for_what_others_are_guaranteed() {
        let mut part = Part::new(1_000);
        part.guarantee(1, 100);
        part.guarantee(2, 300);
        assert!(part.has_room(1, 700) && !part.has_room(1, 701));
        part.take(1, 700);
        assert!(!part.has_room(1, 1), "the rest is of channel 2");
        assert!(part.has_room(2, 300) && !part.has_room(2, 301));
        assert!(part.can_lend(1) && !part.can_lend(2));
        part.take(2, 300);
        assert!(!part.can_lend(2), "what it gives back would be kept for it");
        part.give_back(1, 650);
        assert!(part.has_room(2, 600) && !part.has_room(2, 601), "channel 1 has used half of its guarantee");
        assert_eq!(part.used(), 350);
    }

    #[test]
    fn where_the_guarantees_do_not_fit_there_are_none() {
        let mut part = Part::new(1_000);
        part.guarantee(1, 600);
        part.guarantee(2, 600);
        assert!(part.has_room(1, 1_000));
        part.take(1, 600);
        assert!(!part.has_room(2, 600) && part.has_room(2, 400) && part.can_lend(1));
    }
}
