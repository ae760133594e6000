//! One exchange: its two messages.

use std::sync::Arc;

use bytes::Bytes;
use weir_base::{ProtocolId, Rope};
use weir_pull::Ticket;
use weir_pull::framing::code;

use super::framing::{Behind, Reader, Rest};
use super::{Config, Failure};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) config: Arc<Config>,
    pub(super) first: ProtocolId,  // number of the protocol
    pub(super) spoken: ProtocolId, // the number of the name that was agreed on
    pub(super) state: State,
    pub(super) held: u64, // bytes, as they are counted in the node's memory
}

#[derive(Debug)]
pub(super) enum State {
    /// This side asks: until the response is whole.
    Asking {
        ticket: Ticket,
        /// The peer speaks the protocol for sure.
        agreed: bool,
        /// What is not written of the request; `None` once its direction has ended.
        request: Option<Rope>,
        response: Reader,
    },
    /// This side asked and has the response: only the end may come.
    Answered,
    /// The peer asks: until the request is whole.
    Reading(Reader),
    /// The application has the request, of so many bytes.
    Told(u64),
    /// What is not written of the response, which has so many bytes: its parts may be of one allocation.
    Answering(u64, Rope),
}

impl Stream {
    pub(super) const fn is_ours(&self) -> bool {
        matches!(self.state, State::Asking { .. } | State::Answered)
    }

    /// Bytes that the peer makes this node hold: what has come, and what it does not read. Its own request costs the asker.
    pub(super) fn bytes(&self) -> u64 {
        match &self.state {
            State::Asking { response: reader, .. } | State::Reading(reader) => reader.held() as u64,
            State::Told(bytes) | State::Answering(bytes, _) => *bytes,
            State::Answered => 0,
        }
    }

    /// Bytes that may be read now. Behind a message that is whole the first one is a failure.
    pub(super) fn room(&self) -> usize {
        match &self.state {
            State::Asking { response: reader, .. } | State::Reading(reader) => reader.room(),
            State::Answered | State::Told(_) | State::Answering(..) => 1,
        }
    }

    /// More has come, or the end has. Returns the message once it is whole.
    pub(super) fn came(&mut self, bytes: &[u8], rest: Rest) -> Result<Option<Bytes>, Failure> {
        let limits = &self.config.limits;
        let (reader, max) = match &mut self.state {
            State::Asking { response, .. } => (response, limits.max_response),
            State::Reading(request) => (request, limits.max_request),
            State::Answered | State::Told(_) | State::Answering(..) if bytes.is_empty() => return Ok(None),
            State::Answered | State::Told(_) | State::Answering(..) => return Err(Failure::Excess),
        };
        match reader.push(bytes, rest, (self.config.framing.as_ref(), max as usize))? {
            Some((_, Behind::More)) => Err(Failure::Excess),
            Some((message, Behind::Nothing)) => Ok(Some(message)),
            None if rest == Rest::Nothing => Err(Failure::Unfinished),
            None => Ok(None),
        }
    }

    /// The peer broke its direction off. Why the exchange comes to nothing.
    pub(super) const fn reset(&self, code: u32) -> Failure {
        match self.state {
            State::Asking { agreed: false, .. } if code == code::UNKNOWN_CHANNEL => Failure::Unsupported,
            _ => Failure::Reset(code),
        }
    }

    /// The peer wants no more of this side's direction. Why the exchange comes to nothing, if it does: a request that is not wanted whole
    /// may still be answered.
    pub(super) fn stopped(&mut self, code: u32) -> Option<Failure> {
        let failure = self.reset(code);
        match &mut self.state {
            State::Asking { request, .. } if failure != Failure::Unsupported => {
                *request = None;
                None
            }
            State::Answered => None,
            _ => Some(failure),
        }
    }

    /// Writes as much as there is room for. Whether that was the last of it.
    pub(super) fn write(&mut self, mut room: usize, to: &mut Rope) -> bool {
        let (State::Asking { request: Some(out), .. } | State::Answering(_, out)) = &mut self.state else {
            return false;
        };
        while let Some(part) = out.pop(room) {
            room -= part.len();
            to.push(part);
        }
        if !out.is_empty() {
            return false;
        }
        if let State::Asking { request, .. } = &mut self.state {
            *request = None;
        }
        true
    }
}
