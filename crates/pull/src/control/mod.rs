//! Control: hello, keep-alive, services, short-id keys, goodbye (`docs/spec/control.md`, protocol §1).

mod hello;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir_base::stream::{Ask, Class, Goodbye, Incoming, LinkInfo, OpenError};
use weir_base::{Instant, LinkId, Rng, Rope, ShortKey, StreamKey};

pub use hello::{
    Keys, MAX_AGENT, MAX_CHANNELS, MAX_NAME, MAX_SERVICE_PAYLOAD, MAX_SERVICES, NumberedKey, PeerHello,
    Service, is_name, services_hold,
};

use crate::machine::{Counters, Machine, Negotiated, Opened, Refused, Ticket};

/// Keep-alive, deadlines and key rotation.
#[derive(Clone, Debug)]
pub struct Config {
    /// Pause between a pong and the next ping. Default: 15 s.
    pub interval: Duration,
    /// A link on which nothing was heard on control for so long is closed. Default: 45 s.
    pub idle_timeout: Duration,
    /// How long the peer's hello may take. Default: 5 s.
    pub hello_timeout: Duration,
    /// How long a short-id key is current. Default: 1 h.
    pub key_life: Duration,
    /// How long the key before it stays valid. Default: 60 s.
    pub key_grace: Duration,
    /// Streams that the peer may have open at once on a link, told in hello. Default: 256.
    pub max_streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(45),
            hello_timeout: Duration::from_secs(5),
            key_life: Duration::from_secs(3600),
            key_grace: Duration::from_secs(60),
            max_streams: 256,
        }
    }
}

impl Config {
    /// Checks every field; names the field and the remedy.
    pub(crate) fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        if self.interval.is_zero() {
            return Err(("interval", "must be above zero; 15 s is usual"));
        }
        if self.idle_timeout <= self.interval {
            return Err(("idle_timeout", "must be longer than `interval`"));
        }
        if self.hello_timeout.is_zero() {
            return Err(("hello_timeout", "must be above zero; 5 s is usual"));
        }
        if self.key_life <= self.key_grace {
            return Err(("key_life", "must be longer than `key_grace`"));
        }
        Ok(())
    }
}

/// What the user wants of control.
#[derive(Clone, Debug)]
pub enum Command {
    /// This node's services from now on; told to all peers.
    Services(Vec<Service>),
    /// Says goodbye and closes the link.
    Goodbye {
        /// Which.
        link: LinkId,
        /// Why.
        reason: Goodbye,
    },
}

/// What control tells its parent.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Ready { link: LinkId, hello: Arc<PeerHello> },
    Rtt { link: LinkId, rtt: Duration },
    Services { link: LinkId, services: Vec<Service> },
    PeerKey { link: LinkId, key: NumberedKey },
    OwnKeys(Keys),
    Closing { link: LinkId, heard: Option<Goodbye> },
}

/// Control of all links.
#[derive(Debug)]
pub(crate) struct Control {
    keys: Keys,
    notices: VecDeque<Notice>,
}

impl Control {
    pub(crate) fn new(_config: &crate::Config, mut rng: Rng) -> Self {
        let current = NumberedKey { number: 1, key: ShortKey::random(&mut rng) };
        Self { keys: Keys { current, previous: None }, notices: VecDeque::new() }
    }
    pub(crate) fn keys(&self) -> Keys {
        self.keys
    }
    pub(crate) fn command(&mut self, _now: Instant, _command: Command) -> Result<Ticket, Refused> {
        Ok(Ticket(0))
    }
    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }
}

impl Machine for Control {
    fn link_up(&mut self, _: Instant, _: LinkId, _: &LinkInfo) {}
    fn link_ready(&mut self, _: Instant, _: LinkId, _: &Negotiated) {}
    fn link_down(&mut self, _: Instant, _: LinkId) {}
    fn handle_opened(&mut self, _: Instant, _: StreamKey, _: Opened) {}
    fn handle_refused(&mut self, _: Instant, _: u64, _: OpenError) {}
    fn class(&self, _: u8) -> Class {
        Class::Control
    }
    fn room(&self, _: StreamKey) -> usize {
        0
    }
    fn handle_incoming(&mut self, _: Instant, _: StreamKey, _: Incoming) {}
    fn poll_write(&mut self, _: Instant, _: StreamKey, _: usize, _: &mut Rope) {}
    fn poll_ask(&mut self) -> Option<Ask> {
        None
    }
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}
