//! Bytes in and out.

use bytes::{Bytes, BytesMut};
use weir_base::{Fault, Instant};

use super::select::Select;
use super::{Connection, EMPTY, Event, Muxer, NO_SECURITY, Proven, Secured, Stage};
use crate::multistream;
use crate::noise::NO_MUXER;
use crate::storm::Storm;
use crate::yamux;

/// Whether there is more to do with what has arrived.
enum Step {
    Again,
    Wait,
}

impl Connection {
    /// Bytes of the peer, split anywhere; at most [`room`](Self::room) of them, where memory is to stay within its limit. They
    /// are decrypted in place.
    pub fn received(&mut self, now: Instant, mut input: BytesMut) {
        if matches!(self.stage, Stage::Failed) {
            return;
        }
        if let Some(Err(fault)) = self.private.as_mut().map(|private| private.received(&mut input)) {
            return self.fail(fault);
        }
        self.input.append(input);
        self.resume(now);
    }

    /// Has `read` fill in what has arrived, from the front of the memory that it is given, at most `most` bytes; how many it
    /// filled. While the peer sends long records the memory is the record's own buffer, so that nothing is copied; else it is `lent`.
    pub fn read(
        &mut self,
        now: Instant,
        most: usize,
        lent: &mut [u8],
        read: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        if let Stage::Secured(secured) = &self.stage
            && self.private.is_none()
        {
            let len = |input: &[u8]| secured.session.record_len(input);
            if self.input.begin(len) {
                let filled = self.input.fill(most, len, read);
                self.resume(now);
                return filled;
            }
        }
        let room = most.min(lent.len());
        let memory = lent.get_mut(..room).unwrap_or_default();
        let filled = read(memory).min(room);
        if let Some(bytes) = memory.get(..filled).filter(|bytes| !bytes.is_empty()) {
            self.received(now, BytesMut::from(bytes));
        }
        filled
    }

    /// Goes on with what has arrived: after streams were read, which makes room for more.
    pub fn resume(&mut self, now: Instant) {
        loop {
            match self.step(now) {
                Ok(Step::Again) => {}
                Ok(Step::Wait) => break,
                Err(fault) => return self.fail(fault),
            }
        }
        self.input.release();
    }

    fn step(&mut self, now: Instant) -> Result<Step, Fault> {
        let Some(input) = self.input.get() else { return Ok(Step::Wait) };
        match &mut self.stage {
            Stage::Failed => Ok(Step::Wait),
            Stage::Choice(_) => {
                let Some(select) = &mut self.select else { return Ok(Step::Wait) };
                let mut bytes = std::mem::take(input).freeze();
                let event = select.received(&mut bytes);
                *input = BytesMut::from(bytes);
                let Some(index) = self.selected(event.as_ref(), NO_SECURITY)? else { return Ok(Step::Wait) };
                self.begin(now, index)?;
                Ok(Step::Again)
            }
            Stage::Handshake(session) => {
                let Some(proven) = session.handshake(input)? else { return Ok(Step::Wait) };
                self.secured(now, proven);
                Ok(Step::Again)
            }
            Stage::Secured(secured) => {
                if secured.muxer.room() < yamux::LOW {
                    return Ok(Step::Wait); // what is unread must be read first
                }
                let record = secured.session.record_len(input);
                let Some(text) = secured.session.open(input)? else { return Ok(Step::Wait) };
                if text.is_empty() && !secured.empty.take(now) {
                    return Err(EMPTY);
                }
                self.input.was_whole(record.unwrap_or_default());
                self.text(now, text.freeze())?;
                Ok(Step::Again)
            }
        }
    }

    /// What a negotiation came to, if it is over: the index of the name.
    fn selected(
        &mut self,
        event: Option<&multistream::Event>,
        without: Fault,
    ) -> Result<Option<usize>, Fault> {
        match event {
            None => Ok(None),
            Some(multistream::Event::Selected(index)) => {
                self.answer_rest();
                Ok(Some(*index))
            }
            Some(multistream::Event::Faulted(fault)) => Err(*fault),
            Some(multistream::Event::Refused | multistream::Event::Listed(_)) => Err(without),
        }
    }

    /// The negotiation is over; its last answer goes out with what comes next.
    fn answer_rest(&mut self) {
        let Some(mut select) = self.select.take() else { return };
        let answer = match &mut self.stage {
            Stage::Secured(secured) => &mut secured.answer,
            Stage::Choice(_) | Stage::Handshake(_) | Stage::Failed => &mut self.answer,
        };
        select.poll_transmit(answer);
    }

    /// What the peer is still told when the connection fails: that its proposal is refused, or why the handshake ends.
    pub(super) fn last_words(&mut self) {
        self.answer_rest();
        match &mut self.stage {
            Stage::Choice(_) | Stage::Failed => {}
            Stage::Handshake(session) => session.put(&mut self.answer),
            Stage::Secured(secured) => {
                let Secured { session, answer, .. } = &mut **secured;
                session.seal(&mut self.answer, &mut |out, _| out.extend_from_slice(answer));
            }
        }
    }

    /// The security at `index` is agreed on.
    fn begin(&mut self, now: Instant, index: usize) -> Result<(), Fault> {
        let Stage::Choice(choice) = &mut self.stage else { return Ok(()) };
        let begun = match choice.session.take() {
            Some(session) => Ok(session),
            None => choice.begin(index, &self.setup, self.side, now),
        };
        let session = begun.map_err(|_| NO_SECURITY)?;
        self.stage = Stage::Handshake(session);
        Ok(())
    }

    fn secured(&mut self, now: Instant, proven: Proven) {
        let Stage::Handshake(mut session) = std::mem::replace(&mut self.stage, Stage::Failed) else { return };
        session.put(&mut self.answer);
        let setup = &self.setup;
        // Until another one is agreed on it is the preferred one, which a dialler that proposes no other uses at once.
        let muxer = setup.muxer(proven.muxer.unwrap_or(0), self.side, now);
        if proven.muxer.is_none() {
            self.select = Some(Select::new(self.side, setup.muxer_names(), now));
        }
        let peer = Some((proven.peer, proven.key));
        let (answer, empty) = (BytesMut::new(), Storm::new(now));
        self.stage = Stage::Secured(Box::new(Secured { session, muxer, answer, peer, empty }));
        self.tell();
    }

    /// The muxer at `index` is agreed on. Whoever has used one already had proposed yamux alone.
    fn choose(&mut self, now: Instant, index: usize) {
        let Stage::Secured(secured) = &mut self.stage else { return };
        let chosen = self.setup.muxer(index, self.side, now);
        if let Muxer::Mplex(_) = chosen {
            secured.muxer = chosen;
        }
    }

    /// Tells who is there, once streams can be opened.
    fn tell(&mut self) {
        let usable = self.select.as_ref().is_none_or(Select::may_write);
        if let Stage::Secured(secured) = &mut self.stage
            && usable
            && let Some((peer, key)) = secured.peer.take()
        {
            self.events.push_back(Event::Up { peer, key: Box::new(key) });
        }
    }

    /// Decrypted bytes.
    fn text(&mut self, now: Instant, mut text: Bytes) -> Result<(), Fault> {
        if let Some(select) = &mut self.select {
            let event = select.received(&mut text);
            let Some(index) = self.selected(event.as_ref(), NO_MUXER)? else { return Ok(()) };
            self.choose(now, index);
            self.tell();
        }
        if let Stage::Secured(secured) = &mut self.stage {
            secured.muxer.received(now, text);
        }
        Ok(())
    }

    /// Appends the next bytes for the peer to `out`: what belongs to the set-up, and one record with as much of the streams as
    /// fits. `false`: there is nothing to send.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> bool {
        let start = out.len();
        if let Some(private) = &mut self.private {
            private.begin(out);
        }
        let plain = out.len();
        self.put(now, out);
        if let Some(private) = &mut self.private {
            private.encrypt(out.get_mut(plain..).unwrap_or_default());
        }
        out.len() > start
    }

    fn put(&mut self, now: Instant, out: &mut BytesMut) {
        out.extend_from_slice(&std::mem::take(&mut self.answer)); // not `unsplit`, which drops an empty buffer with its memory
        match &mut self.stage {
            Stage::Choice(choice) => {
                if let Some(select) = &mut self.select {
                    select.poll_transmit(out);
                }
                if let Some(session) = &mut choice.session {
                    session.put(out);
                }
            }
            Stage::Handshake(session) => session.put(out),
            Stage::Secured(secured) => {
                let Secured { session, muxer, answer, .. } = &mut **secured;
                let select = &mut self.select;
                session.put(out);
                session.seal(out, &mut |out, room| {
                    let text = out.len();
                    out.extend_from_slice(&std::mem::take(answer));
                    let mut usable = true;
                    if let Some(select) = select {
                        select.poll_transmit(out);
                        usable = select.may_write();
                    }
                    if usable {
                        muxer.poll_transmit(now, out, room.saturating_sub(out.len() - text));
                    }
                });
            }
            Stage::Failed => {}
        }
    }
}
