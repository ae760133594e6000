//! Writing where what is written waits in the link until it goes out: over frames and over byte streams alike. QUIC has buffers
//! of its own for that.

use std::collections::{BTreeSet, VecDeque};

use weir_base::{LinkId, Rope, StreamKey};

use super::{Outbox, SendHalf};
use crate::Event;

/// One stream's direction to the peer, and what all streams of its link share.
pub(crate) struct Writer<'a> {
    pub(crate) half: &'a mut SendHalf,
    pub(crate) outbox: &'a mut Outbox,
    /// Streams whose writers found no room.
    pub(crate) blocked: &'a mut BTreeSet<u64>,
}

/// A link that queues what is written on its streams.
pub(crate) trait Writers {
    /// Bytes that a stream takes now.
    fn room_now(&mut self, stream: u64) -> usize;

    /// The direction of a stream to the peer.
    fn writer(&mut self, stream: u64) -> Option<Writer<'_>>;

    /// Streams whose writers found no room.
    fn blocked(&mut self) -> &mut BTreeSet<u64>;

    /// Lets a stream wait for its turn, where it has something that may go out.
    fn schedule(&mut self, stream: u64);

    /// Bytes that a stream takes now; 0 makes it wait for [`Event::Writable`], unless it can take no more ever.
    fn room_or_wait(&mut self, stream: u64) -> usize {
        let room = self.room_now(stream);
        if room == 0
            && let Some(writer) = self.writer(stream)
            && writer.half.may_be_written()
        {
            writer.blocked.insert(stream);
        }
        room
    }

    /// Queues as much of `rope` as there is room for.
    fn queue(&mut self, stream: u64, rope: &mut Rope) {
        let mut room = self.room_now(stream);
        let Some(Writer { half, outbox, .. }) = self.writer(stream) else { return };
        while let Some(part) = rope.pop(room) {
            room -= part.len();
            outbox.add(half.class, part.len() as u64);
            half.queue.push(part);
        }
        self.schedule(stream);
    }

    /// Tells of every waiting stream that has room now, in the order of their numbers.
    fn unblock(&mut self, link: LinkId, events: &mut VecDeque<Event>) {
        let mut from = 0;
        while let Some(stream) = self.blocked().range(from..).next().copied() {
            from = stream + 1;
            let waits = self.writer(stream).is_some_and(|writer| writer.half.may_be_written());
            if !waits {
                self.blocked().remove(&stream);
            } else if self.room_now(stream) > 0 {
                self.blocked().remove(&stream);
                events.push_back(Event::Writable(StreamKey { link, stream }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use weir_base::stream::Class;

    use super::*;
    use crate::streams::SendEnd;

    /// Streams with so much room each.
    #[derive(Default)]
    struct Fixed {
        streams: BTreeMap<u64, (usize, SendHalf)>,
        outbox: Outbox,
        blocked: BTreeSet<u64>,
    }

    impl Fixed {
        fn with(streams: &[(u64, usize, SendEnd)]) -> Self {
            let half = |end| SendHalf::new(end, Class::Pool);
            let streams = streams.iter().map(|(stream, room, end)| (*stream, (*room, half(*end)))).collect();
            Self { streams, ..Self::default() }
        }
    }

    impl Writers for Fixed {
        fn room_now(&mut self, stream: u64) -> usize {
            self.streams.get(&stream).map_or(0, |(room, _)| *room)
        }

        fn writer(&mut self, stream: u64) -> Option<Writer<'_>> {
            let (_, half) = self.streams.get_mut(&stream)?;
            Some(Writer { half, outbox: &mut self.outbox, blocked: &mut self.blocked })
        }

        fn blocked(&mut self) -> &mut BTreeSet<u64> {
            &mut self.blocked
        }

        fn schedule(&mut self, stream: u64) {
            self.outbox.push(stream, Class::Pool);
        }
    }

    #[test]
    fn what_finds_no_room_stays_with_its_writer() {
        let mut fixed = Fixed::with(&[(4, 3, SendEnd::Open)]);
        let mut rope = Rope::new();
        rope.push(Bytes::from_static(b"abcde"));
        fixed.queue(4, &mut rope);
        assert_eq!((rope.len(), fixed.streams[&4].1.queue.len()), (2, 3));
        assert_eq!((fixed.outbox.queued(), fixed.outbox.pop()), (3, Some(4)));
        fixed.queue(8, &mut rope); // there is none
        assert_eq!(rope.len(), 2);
    }

    #[test]
    fn only_who_found_no_room_and_can_still_write_is_told() {
        let ends = [SendEnd::Open, SendEnd::Finishing, SendEnd::Over, SendEnd::Open, SendEnd::Open];
        let streams: Vec<_> = ends.into_iter().zip(0_u64..).map(|(end, stream)| (stream, 0, end)).collect();
        let mut fixed = Fixed::with(&streams);
        (0..4).for_each(|stream| assert_eq!(fixed.room_or_wait(stream), 0));
        assert_eq!(fixed.blocked, BTreeSet::from([0, 3]), "those that end can take no more");
        let mut events = VecDeque::new();
        fixed.unblock(LinkId(1), &mut events);
        assert!(events.is_empty(), "there is no room yet");
        fixed.streams.values_mut().for_each(|(room, _)| *room = 1);
        if let Some((_, half)) = fixed.streams.get_mut(&0) {
            half.end = SendEnd::Over;
        }
        fixed.unblock(LinkId(1), &mut events);
        let told = |event: &Event| matches!(event, Event::Writable(StreamKey { stream: 3, .. }));
        assert!(events.len() == 1 && events.front().is_some_and(told), "{events:?}");
        assert!(fixed.blocked.is_empty());
    }
}
