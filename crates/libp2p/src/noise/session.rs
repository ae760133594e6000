//! Noise as the security of a connection.

use std::sync::Arc;

use bytes::BytesMut;
use weir_base::{Fault, Instant, PeerId, Rng};

use super::record::record_len;
use super::{Event, Handshake, Identity, NAME, Opener, PLAINTEXT_MAX, Sealer};
use crate::connection::{CannotBegin, Proven, Security, Session};
use crate::multistream::Names;

/// Noise, with which all connections of a node show the same identity.
#[derive(Clone, Debug)]
pub struct Noise(pub Arc<Identity>);

impl Security for Noise {
    fn name(&self) -> &str {
        NAME
    }

    fn dial(
        &self,
        expected: Option<PeerId>,
        muxers: Option<Names>,
        rng: Rng,
        now: Instant,
    ) -> Result<Box<dyn Session>, CannotBegin> {
        let handshake = Handshake::dialer(Arc::clone(&self.0), expected, muxers, rng, now);
        Ok(Box::new(Noised::Handshake(Box::new(handshake.map_err(|_| CannotBegin)?))))
    }

    fn accept(&self, muxers: Option<Names>, rng: Rng, now: Instant) -> Result<Box<dyn Session>, CannotBegin> {
        let handshake = Handshake::listener(Arc::clone(&self.0), muxers, rng, now);
        Ok(Box::new(Noised::Handshake(Box::new(handshake.map_err(|_| CannotBegin)?))))
    }
}

/// One connection's.
enum Noised {
    Handshake(Box<Handshake>),
    Open(Box<Records>),
}

struct Records {
    last: BytesMut, // the last message of the handshake, until it is sent
    sealer: Sealer,
    opener: Opener,
}

impl Session for Noised {
    fn handshake(&mut self, input: &mut BytesMut) -> Result<Option<Proven>, Fault> {
        let Self::Handshake(handshake) = self else { return Ok(None) };
        handshake.received(input);
        match handshake.poll_event() {
            None => Ok(None),
            Some(Event::Faulted(fault)) => Err(fault),
            Some(Event::Done(done)) => {
                let mut last = BytesMut::new();
                handshake.poll_transmit(&mut last);
                let proven = Proven { peer: done.peer, key: done.key, muxer: done.muxer };
                *self = Self::Open(Box::new(Records { last, sealer: done.sealer, opener: done.opener }));
                Ok(Some(proven))
            }
        }
    }

    fn put(&mut self, out: &mut BytesMut) {
        match self {
            Self::Handshake(handshake) => drop(handshake.poll_transmit(out)),
            Self::Open(records) => out.extend_from_slice(&std::mem::take(&mut records.last)),
        }
    }

    fn record_len(&self, input: &[u8]) -> Option<usize> {
        match self {
            Self::Handshake(_) => None,
            Self::Open(_) => record_len(input),
        }
    }

    fn open(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, Fault> {
        match self {
            Self::Handshake(_) => Ok(None),
            Self::Open(records) => records.opener.next(input),
        }
    }

    fn seal(&mut self, out: &mut BytesMut, fill: &mut dyn FnMut(&mut BytesMut, usize)) {
        let Self::Open(records) = self else { return };
        let record = records.sealer.begin(out);
        fill(out, PLAINTEXT_MAX);
        records.sealer.seal(out, &record);
    }
}
