//! What comes on one stream: messages with their lengths before them, up to its end.

use bytes::Bytes;
use weir_base::codec::Framer;
use weir_base::{Fault, PeerId};

use super::message::{DecodeError, Info, MESSAGE_MAX, MESSAGES_MAX, decode};
use super::{MALFORMED, NOT_ITS_OWN};

/// Collects what a peer says.
#[derive(Debug)]
pub(super) struct Reader {
    framer: Framer,
    messages: usize, // <= MESSAGES_MAX
    info: Info,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { framer: Framer::new(MESSAGE_MAX), messages: 0, info: Info::default() }
    }

    /// Bytes of the peer, split anywhere.
    pub(super) fn take(&mut self, peer: PeerId, mut input: Bytes) -> Result<(), Fault> {
        while let Some(message) = self.framer.next(&mut input).map_err(|_| MALFORMED)? {
            self.messages += 1;
            if self.messages > MESSAGES_MAX {
                return Err(MALFORMED);
            }
            let info = match decode(&message) {
                Ok(info) => info,
                // nobody is to blame for a kind of key that this node does not know; the link has shown who it is
                Err(DecodeError::Key(_)) => continue,
                Err(_) => return Err(MALFORMED),
            };
            let own_key = info.key.as_ref().is_none_or(|key| peer.is_of(key));
            let own_record = info.record.as_ref().is_none_or(|record| record.peer == peer);
            if !own_key || !own_record {
                return Err(NOT_ITS_OWN);
            }
            self.info.append(info).map_err(|_| MALFORMED)?;
        }
        Ok(())
    }

    /// The stream has ended. `None`: without a whole message.
    pub(super) fn end(self) -> Option<Info> {
        (self.messages > 0 && self.framer.held() == 0).then_some(self.info)
    }
}
