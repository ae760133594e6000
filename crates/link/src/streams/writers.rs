//! Writing where what is written waits in the link until it goes out: over frames and over byte streams alike. QUIC has buffers
//! of its own for that.

use std::collections::VecDeque;

use weir_base::{LinkId, Rope, StreamKey};

use super::{Outbox, SendHalf};
use crate::Event;

/// What the streams of a link have written and not sent, and whose writers wait for room.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) outbox: Outbox,
    blocked: Vec<u64>, // streams whose writers found no room, ascending
}

impl Backlog {
    /// Lets a stream wait for its turn, where it has something to send and does not wait already.
    pub(crate) fn schedule(&mut self, stream: u64, half: &mut SendHalf) {
        if half.has_output() && !half.scheduled {
            half.scheduled = true;
            self.outbox.push(stream, half.class);
        }
    }

    fn block(&mut self, stream: u64) {
        if let Err(at) = self.blocked.binary_search(&stream) {
            self.blocked.insert(at, stream);
        }
    }

    /// A stream's writer waits for room no more.
    pub(crate) fn unblock(&mut self, stream: u64) {
        if let Ok(at) = self.blocked.binary_search(&stream) {
            self.blocked.remove(at);
        }
    }

    /// No writer waits for room any more.
    pub(crate) fn unblock_all(&mut self) {
        self.blocked = Vec::new();
    }
}

/// One stream's direction to the peer, as its writer finds it.
pub(crate) struct Writer<'a> {
    pub(crate) half: &'a mut SendHalf,
    pub(crate) backlog: &'a mut Backlog,
    /// Bytes that the peer takes of this stream beyond those that are queued; 0 where none may be written now.
    pub(crate) credit: u64,
}

impl Writer<'_> {
    /// Bytes that the stream takes now.
    fn room(&self) -> usize {
        let room = self.credit.min(self.backlog.outbox.room(self.half.class));
        usize::try_from(room).unwrap_or(usize::MAX)
    }
}

/// A link that queues what is written on its streams.
pub(crate) trait Writers {
    /// The direction of a stream to the peer.
    fn writer(&mut self, stream: u64) -> Option<Writer<'_>>;

    /// What waits on all streams.
    fn backlog(&mut self) -> &mut Backlog;

    /// Bytes that a stream takes now; 0 makes it wait for [`Event::Writable`], unless it can take no more ever.
    fn room_or_wait(&mut self, stream: u64) -> usize {
        let Some(writer) = self.writer(stream) else { return 0 };
        let room = writer.room();
        if room == 0 && writer.half.may_be_written() {
            writer.backlog.block(stream);
        }
        room
    }

    /// Queues as much of `rope` as there is room for.
    fn queue(&mut self, stream: u64, rope: &mut Rope) {
        let Some(writer) = self.writer(stream) else { return };
        let mut room = writer.room();
        if room == 0 {
            return;
        }
        let Writer { half, backlog, .. } = writer;
        while let Some(part) = rope.pop(room) {
            room -= part.len();
            backlog.outbox.add(half.class, part.len() as u64);
            half.queue.push(part);
        }
        backlog.schedule(stream, half);
    }

    /// Tells of every waiting stream that has room now, in the order of their numbers.
    fn tell_unblocked(&mut self, link: LinkId, events: &mut VecDeque<Event>) {
        if self.backlog().blocked.is_empty() {
            return; // asked after every frame
        }
        let mut blocked = std::mem::take(&mut self.backlog().blocked);
        blocked.retain(|stream| {
            let writer = self.writer(*stream).filter(|writer| writer.half.may_be_written());
            let room = writer.map(|writer| writer.room());
            if room.is_some_and(|room| room > 0) {
                events.push_back(Event::Writable(StreamKey { link, stream: *stream }));
            }
            room == Some(0)
        });
        self.backlog().blocked = blocked;
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
        backlog: Backlog,
    }

    impl Fixed {
        fn with(streams: &[(u64, usize, SendEnd)]) -> Self {
            let half = |end| SendHalf::new(end, Class::Pool);
            let streams = streams.iter().map(|(stream, room, end)| (*stream, (*room, half(*end)))).collect();
            Self { streams, ..Self::default() }
        }
    }

    impl Writers for Fixed {
        fn writer(&mut self, stream: u64) -> Option<Writer<'_>> {
            let (room, half) = self.streams.get_mut(&stream)?;
            Some(Writer { half, backlog: &mut self.backlog, credit: *room as u64 })
        }

        fn backlog(&mut self) -> &mut Backlog {
            &mut self.backlog
        }
    }

    #[test]
    fn what_finds_no_room_stays_with_its_writer() {
        let mut fixed = Fixed::with(&[(4, 3, SendEnd::Open)]);
        let mut rope = Rope::new();
        rope.push(Bytes::from_static(b"abcde"));
        fixed.queue(4, &mut rope);
        assert_eq!((rope.len(), fixed.streams[&4].1.queue.len()), (2, 3));
        assert_eq!((fixed.backlog.outbox.queued(), fixed.backlog.outbox.pop()), (3, Some(4)));
        fixed.queue(8, &mut rope); // there is none
        assert_eq!(rope.len(), 2);
    }

    #[test]
    fn only_who_found_no_room_and_can_still_write_is_told() {
        let ends = [SendEnd::Open, SendEnd::Finishing, SendEnd::Over, SendEnd::Open, SendEnd::Open];
        let streams: Vec<_> = ends.into_iter().zip(0_u64..).map(|(end, stream)| (stream, 0, end)).collect();
        let mut fixed = Fixed::with(&streams);
        (0..4).for_each(|stream| assert_eq!(fixed.room_or_wait(stream), 0));
        assert_eq!(fixed.backlog.blocked, [0, 3], "those that end can take no more");
        let mut events = VecDeque::new();
        fixed.tell_unblocked(LinkId(1), &mut events);
        assert!(events.is_empty(), "there is no room yet");
        fixed.streams.values_mut().for_each(|(room, _)| *room = 1);
        if let Some((_, half)) = fixed.streams.get_mut(&0) {
            half.end = SendEnd::Over;
        }
        fixed.tell_unblocked(LinkId(1), &mut events);
        let told = |event: &Event| matches!(event, Event::Writable(StreamKey { stream: 3, .. }));
        assert!(events.len() == 1 && events.front().is_some_and(told), "{events:?}");
        assert!(fixed.backlog.blocked.is_empty());
    }
}
