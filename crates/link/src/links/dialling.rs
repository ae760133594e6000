//! Dials, driven: what the [`Dialler`](crate::dial::Dialler) wants is done or passed on to the host.

use weir_base::{Instant, LinkId};

use super::Links;
use crate::dial::Step;
use crate::event::DownReason;
use crate::{Event, Link};

impl Links {
    /// Does what the dialler wants now.
    pub(super) fn drive_dials(&mut self, now: Instant) {
        while let Some(step) = self.dialler.poll_step() {
            match step {
                Step::Connect { dial, remote, peer } => match self.connect(now, dial, remote, peer) {
                    Ok(link) => self.dialler.attempt_started(dial, link),
                    Err(error) => self.dialler.attempt_failed(now, dial, None, error, &self.config.dial),
                },
                Step::Wire { dial, endpoint } => {
                    self.work.events.push_back(Event::DialWire { dial, endpoint });
                }
                Step::Resolve { query, name, family } => {
                    self.work.events.push_back(Event::Resolve { query, name, family });
                }
                Step::Failed { dial, error, attempts } => {
                    self.give_up(attempts);
                    self.work.events.push_back(Event::DialFailed { dial, error });
                }
            }
        }
        self.stats.dials = self.dialler.len() as u64;
    }

    /// Ends attempts of a dial that is over.
    pub(super) fn give_up(&mut self, attempts: Vec<LinkId>) {
        for id in attempts {
            if let Some(link) = self.links.get_mut(&id) {
                link.origin.dial = None;
                let why = weir_base::stream::Goodbye::Asked;
                link.abort(self.work.now, why, DownReason::Closed(why));
                self.work.touched.mark(id);
            }
        }
    }

    /// An inbound handshake is over, one way or the other.
    pub(super) fn half_open_over(&mut self, link: &mut Link) {
        if std::mem::take(&mut link.origin.half_open) {
            self.admission.end(link.id());
            self.stats.half_open = self.admission.half_open() as u64;
        }
    }
}

#[cfg(target_family = "wasm")]
mod without_sockets {
    use std::net::SocketAddr;

    use weir_base::Instant;
    use weir_base::identity::PeerId;

    use super::{LinkId, Links};
    use crate::event::{DialFailure, DialId};
    use crate::{Datagrams, HostChange, Transmit};

    /// A host without sockets has frames only.
    impl Links {
        pub(in crate::links) fn connect(
            &mut self,
            _now: Instant,
            _dial: DialId,
            _remote: SocketAddr,
            _peer: Option<PeerId>,
        ) -> Result<LinkId, DialFailure> {
            Err(DialFailure::NoRoute)
        }

        pub(in crate::links) fn host_changed(&mut self, _now: Instant, _change: HostChange) {}

        pub(in crate::links) fn datagrams_arrived(&mut self, _now: Instant, _datagrams: Datagrams) {}

        pub(in crate::links) fn datagrams_out(
            &mut self,
            _now: Instant,
            _max_segments: usize,
            _out: &mut Vec<u8>,
        ) -> Option<Transmit> {
            None
        }
    }
}
