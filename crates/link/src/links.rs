//! All links of a node.

use std::net::IpAddr;
use std::sync::Arc;

use weir_base::identity::Keypair;
use weir_base::{Instant, LinkId};

use crate::{
    Config, ConfigError, Datagrams, Dial, DialError, DialId, Event, Frame, HostChange, Link, Start, Stats, Transmit,
    WireChange, WireId,
};

/// All links of a node, and what routes between them, the host and the stack. See the crate's documentation for how it is
/// driven.
pub struct Links {
    stats: Stats,
}

impl Links {
    /// No links yet. `seed` decides every random choice; `start` says what the host's origin of time is on other clocks.
    ///
    /// # Errors
    /// [`ConfigError`], where limits do not fit together.
    pub fn new(config: Config, keypair: Arc<Keypair>, seed: [u8; 32], start: Start) -> Result<Self, ConfigError> {
        config.check()?;
        let _ = (keypair, seed, start);
        Ok(Self { stats: Stats::default() })
    }

    /// The host's sockets or wall clock changed.
    pub fn handle_host(&mut self, _now: Instant, _change: HostChange) {}

    /// Datagrams arrived.
    pub fn handle_datagrams(&mut self, _now: Instant, _datagrams: Datagrams) {}

    /// A frame wire opened, closed, or could not be connected.
    pub fn handle_wire(&mut self, _now: Instant, _wire: WireId, _change: WireChange) {}

    /// A frame arrived.
    pub fn handle_frame(&mut self, _now: Instant, _wire: WireId, _frame: Frame) {}

    /// A name was resolved ([`Event::Resolve`]); no addresses where it has none.
    pub fn handle_resolved(&mut self, _now: Instant, _query: u64, _addresses: &[IpAddr]) {}

    /// The next datagrams to send: appended to `out`, at most `max_segments` of equal length.
    pub fn poll_datagrams(&mut self, _now: Instant, _max_segments: usize, _out: &mut Vec<u8>) -> Option<Transmit> {
        None
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self, _now: Instant) -> Option<(WireId, Frame)> {
        None
    }

    /// Sets up a link. [`Event::Up`] or [`Event::DialFailed`] follows.
    ///
    /// # Errors
    /// [`DialError`], where it cannot even begin.
    pub fn dial(&mut self, _now: Instant, _dial: Dial) -> Result<DialId, DialError> {
        Err(DialError::Full)
    }

    /// Gives a dial up. No event follows.
    pub fn cancel(&mut self, _dial: DialId) {}

    /// A link that is up. Marks it ready for output.
    pub fn link(&mut self, _link: LinkId) -> Option<&mut Link> {
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Advances what is due. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next time [`handle_timeout`](Self::handle_timeout) has work, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}
