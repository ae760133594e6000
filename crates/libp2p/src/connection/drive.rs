//! Bytes in and out.

use bytes::{Bytes, BytesMut};
use weir_base::{Fault, Instant};

use super::select::Select;
use super::{Connection, Event, NO_SECURITY, Secured, Stage};
use crate::multistream;
use crate::noise::{self, NO_MUXER, PLAINTEXT_MAX};
use crate::yamux::{self, Yamux};

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
        if self.input.is_empty() {
            self.input = input;
        } else {
            self.input.unsplit(input);
        }
        self.resume(now);
    }

    /// Goes on with what has arrived: after streams were read, which makes room for more.
    pub fn resume(&mut self, now: Instant) {
        loop {
            match self.step(now) {
                Ok(Step::Again) => {}
                Ok(Step::Wait) => return,
                Err(fault) => return self.fail(fault),
            }
        }
    }

    fn step(&mut self, now: Instant) -> Result<Step, Fault> {
        match &mut self.stage {
            Stage::Failed => Ok(Step::Wait),
            Stage::Handshake(handshake) => {
                if let Some(select) = &mut self.select {
                    let mut bytes = std::mem::take(&mut self.input).freeze();
                    let event = select.received(&mut bytes);
                    self.input = BytesMut::from(bytes);
                    return self.selected(event.as_ref(), NO_SECURITY);
                }
                handshake.received(&mut self.input);
                match handshake.poll_event() {
                    None => Ok(Step::Wait),
                    Some(noise::Event::Faulted(fault)) => Err(fault),
                    Some(noise::Event::Done(done)) => {
                        self.secured(now, *done);
                        Ok(Step::Again)
                    }
                }
            }
            Stage::Secured(secured) => {
                if secured.muxer.room() < yamux::LOW {
                    return Ok(Step::Wait); // what is unread must be read first
                }
                let Some(text) = secured.opener.next(&mut self.input)? else { return Ok(Step::Wait) };
                self.text(now, text.freeze())?;
                Ok(Step::Again)
            }
        }
    }

    /// What a negotiation came to, if it is over.
    fn selected(&mut self, event: Option<&multistream::Event>, without: Fault) -> Result<Step, Fault> {
        match event {
            None => Ok(Step::Wait),
            Some(multistream::Event::Selected(_)) => {
                self.answer_rest();
                Ok(Step::Again)
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
            Stage::Handshake(_) | Stage::Failed => &mut self.answer,
        };
        select.poll_transmit(answer);
    }

    /// What the peer is still told when the connection fails: that its proposal is refused.
    pub(super) fn last_words(&mut self) {
        self.answer_rest();
        if let Stage::Secured(secured) = &mut self.stage {
            let record = secured.sealer.begin(&mut self.answer);
            self.answer.extend_from_slice(&secured.answer);
            secured.sealer.seal(&mut self.answer, &record);
        }
    }

    fn secured(&mut self, now: Instant, done: noise::Secured) {
        if let Stage::Handshake(handshake) = &mut self.stage {
            handshake.poll_transmit(&mut self.answer);
        }
        let setup = &self.setup;
        let muxer = Yamux::new(setup.yamux.clone(), self.side, setup.budget, now);
        if done.muxer.is_none() {
            self.select = Some(Select::new(self.side, setup.muxers.clone(), now));
        }
        let (sealer, opener, peer) = (done.sealer, done.opener, Some((done.peer, done.key)));
        let answer = BytesMut::new();
        self.stage = Stage::Secured(Box::new(Secured { sealer, opener, muxer, answer, peer }));
        self.tell();
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
            self.selected(event.as_ref(), NO_MUXER)?;
            if self.select.is_some() {
                return Ok(());
            }
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
        out.unsplit(std::mem::take(&mut self.answer));
        match &mut self.stage {
            Stage::Handshake(handshake) => {
                if let Some(select) = &mut self.select {
                    select.poll_transmit(out);
                }
                handshake.poll_transmit(out);
            }
            Stage::Secured(secured) => {
                let record = secured.sealer.begin(out);
                let text = out.len();
                out.extend_from_slice(&std::mem::take(&mut secured.answer));
                let mut usable = true;
                if let Some(select) = &mut self.select {
                    select.poll_transmit(out);
                    usable = select.may_write();
                }
                if usable {
                    let room = PLAINTEXT_MAX.saturating_sub(out.len() - text);
                    secured.muxer.poll_transmit(now, out, room);
                }
                secured.sealer.seal(out, &record);
            }
            Stage::Failed => {}
        }
    }
}
