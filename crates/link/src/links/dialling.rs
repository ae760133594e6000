//! Dials, driven: what the [`Dialler`](crate::dial::Dialler) wants is done or passed on to the host.

use weir_base::stream::Goodbye;
use weir_base::{Instant, LinkId};

use super::Links;
use crate::Event;
use crate::dial::Step;
use crate::event::{DialFailure, DownReason};

impl Links {
    /// Does what the dialler wants now.
    pub(super) fn drive_dials(&mut self, now: Instant) {
        while let Some(step) = self.dialler.poll_step() {
            match step {
                Step::Connect { transport, attempt } => {
                    let (dial, peer) = (attempt.dial.0, attempt.peer.map(tracing::field::display));
                    tracing::debug!(dial, peer, pinned = attempt.pinned, "attempt begins");
                    tracing::trace!(dial, remote = %attempt.remote, "its address");
                    let (endpoints, mut context) = self.endpoints(now);
                    let begun = context
                        .may_dial(transport, &attempt)
                        .and_then(|()| endpoints.dialling(transport).ok_or(DialFailure::NoRoute))
                        .and_then(|endpoint| endpoint.dial(&mut context, attempt));
                    match begun {
                        Ok(link) => self.dialler.attempt_started(attempt.dial, link),
                        Err(error) => {
                            self.dialler.attempt_failed(now, attempt.dial, None, error, &self.config.dial);
                        }
                    }
                }
                Step::Wire { dial, endpoint } => {
                    self.events.push_back(Event::DialWire { dial, endpoint });
                }
                Step::Resolve { query, name, family } => {
                    self.events.push_back(Event::Resolve { query, name, family });
                }
                Step::Failed { dial, error, attempts } => {
                    self.give_up(attempts);
                    self.events.push_back(Event::DialFailed { dial, error });
                }
            }
        }
        self.stats.dials = self.dialler.len() as u64;
    }

    /// Ends attempts of a dial that is over.
    pub(super) fn give_up(&mut self, attempts: Vec<LinkId>) {
        for id in attempts {
            if let Some(link) = self.table.get_mut(id) {
                link.origin.dial = None;
                link.abort(self.now, Goodbye::Asked, DownReason::Closed(Goodbye::Asked));
                self.table.touch(id);
            }
        }
    }
}
