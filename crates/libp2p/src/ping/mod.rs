//! Liveness and round-trip time of links: libp2p's `/ipfs/ping/1.0.0`, both sides of it.
//!
//! - the requester opens a stream, writes 32 random bytes, waits for the same bytes, and ends the stream; then, after a pause,
//!   again on a new one. One ping is in flight at a time;
//! - the responder echoes every 32 bytes of a stream, one ping after another;
//! - either side may end the stream at any time; a peer that refuses the first one does not speak ping, which is no fault.
//!
//! Faults: a wrong echo or bytes that nothing asked for (*misbehaved*), and no echo in time (*unreliable*).
//!
//! Threat: a peer may open many streams, send half a ping and nothing more, or ping without end. Streams of a peer are bounded
//! per link, each holds one payload, and nothing is read before the echo is out and its time has come, on a new stream as on the old.
//!
//! Source: libp2p specs, `ping/ping.md`; here `docs/spec/ping.md`.

mod requester;
mod responder;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use weir_base::stream::{Ask, Class, Incoming, LinkChange, OpenError, Origin, StreamUser};
use weir_base::{Deadlines, Fault, Instant, LimitError, LinkId, ProtocolId, Rng, Rope, StreamKey, units};

use requester::{Outcome, Requester};
use responder::Responder;

/// The protocol's name on libp2p.
pub const NAME: &str = "/ipfs/ping/1.0.0";
/// Bytes of one ping, fixed by the specification.
pub const PAYLOAD: usize = 32;

/// An echo differs from the ping.
pub const WRONG_ECHO: Fault = Fault::misbehaved("an echo that differs from the ping");
/// Bytes on the ping stream while no ping was out.
pub const UNASKED: Fault = Fault::misbehaved("bytes on the ping stream while no ping was out");
/// No echo in time.
pub const SILENT: Fault = Fault::unreliable("no echo within the ping timeout");

/// The code of a stream that ends because of nothing.
const DONE: u32 = 0;
/// The code of a stream that breaks the rules.
const FAULT: u32 = 2;
/// The code of a stream whose echo is late.
const TIMEOUT: u32 = 3;
/// The code of a stream above the limit.
const LIMIT: u32 = 4;

/// When to ping, and how much to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Pause between an echo and the next ping. 0: this node does not ping by itself, it only answers. Default: 0, for control's
    /// keep-alive measures links that speak the pull protocol.
    #[serde(with = "units::duration")]
    pub interval: Duration,
    /// How long a peer may take to echo. Default: 10 s.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Ping streams that one peer may have open at once; further ones are refused. Default: 2, as the specification says.
    pub max_inbound: u32,
    /// Pings of one peer that are read one after the other, on however many streams of its link; above 0. Beyond them there is one for each
    /// `pause`. Default: 10, so that who measures a round trip a few times measures the path.
    pub burst: u32,
    /// The time in which a peer is given one more ping of its `burst`, so that pings cost little. Default: 100 ms.
    #[serde(with = "units::duration")]
    pub pause: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::ZERO,
            timeout: Duration::from_secs(10),
            max_inbound: 2,
            burst: 10,
            pause: Duration::from_millis(100),
        }
    }
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that does not hold, and what would.
    pub fn validate(&self) -> Result<(), LimitError> {
        if self.timeout.is_zero() {
            return Err(LimitError::new("timeout", "must be above zero; 10 s is usual"));
        }
        if self.max_inbound == 0 {
            return Err(LimitError::new("max_inbound", "must be at least 1; 2 is usual"));
        }
        if self.burst == 0 {
            return Err(LimitError::new("burst", "must be at least 1; 10 is usual"));
        }
        Ok(())
    }
}

/// What the machine tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A ping was echoed.
    Rtt {
        /// On which link.
        link: LinkId,
        /// From the first byte written to the last byte read.
        rtt: Duration,
    },
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Request(LinkId),
    Serve(StreamKey),
}

/// Ping of all links of a node. See [`StreamUser`] for when to call what; after any call drain
/// [`poll_ask`](StreamUser::poll_ask) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Ping {
    config: Config,
    protocol: ProtocolId,
    rng: Rng,
    requesters: LiteMap<LinkId, Box<Requester>>, // one per link that is up
    responders: BTreeMap<StreamKey, Responder>,  // <= config.max_inbound per link
    rested: BTreeMap<LinkId, Instant>, // when the peer may have its whole burst again; one per link that is up
    asks: VecDeque<Ask>,               // a few per input
    events: VecDeque<Event>,           // at most one per input
    deadlines: Deadlines<Timer>,
}

impl Ping {
    /// `protocol` is the number under which streams of ping are opened and come. `rng` must be unpredictable to peers.
    #[must_use]
    pub fn new(config: Config, protocol: ProtocolId, rng: Rng) -> Self {
        Self {
            config,
            protocol,
            rng,
            requesters: LiteMap::new(),
            responders: BTreeMap::new(),
            rested: BTreeMap::new(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
            deadlines: Deadlines::default(),
        }
    }

    /// The next thing to tell; `None` when there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Carries out what a requester's step came to.
    fn request(
        &mut self,
        now: Instant,
        link: LinkId,
        step: impl FnOnce(&mut Requester, &Config, &mut Rng) -> Outcome,
    ) {
        let Some(requester) = self.requesters.get_mut(&link) else { return };
        match step(requester, &self.config, &mut self.rng) {
            Outcome::Nothing => {}
            Outcome::Open => self.asks.push_back(Ask::Open {
                link,
                protocol: self.protocol,
                class: Class::Control,
                tag: link.0,
            }),
            Outcome::Write(key) => self.asks.push_back(Ask::Write(key)),
            Outcome::Measured(sent, key) => {
                self.events.push_back(Event::Rtt { link, rtt: now.since(sent) });
                self.asks.extend([Ask::Finish(key), Ask::Stop(key, DONE)]);
            }
            Outcome::Close(key, code) => self.asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]),
            Outcome::Faulted(key, fault) => {
                let code = if fault == SILENT { TIMEOUT } else { FAULT };
                self.asks.extend([Ask::Blame(link, fault), Ask::Reset(key, code), Ask::Stop(key, code)]);
            }
        }
        let due = self.requesters.get(&link).and_then(|requester| requester.due(&self.config));
        self.deadlines.set(Timer::Request(link), due);
    }

    fn is_request(&self, key: StreamKey) -> bool {
        self.requesters.get(&key.link).is_some_and(|requester| requester.stream() == Some(key))
    }

    /// When the next ping of a link's peer may be read, where it must wait.
    fn next(&self, now: Instant, link: LinkId) -> Option<Instant> {
        let owed = self.rested.get(&link)?.since(now);
        let wait = owed.saturating_sub(self.config.pause.saturating_mul(self.config.burst.saturating_sub(1)));
        (!wait.is_zero()).then(|| now + wait)
    }

    /// A peer's stream, if it may have another. Its first ping waits as the next one of a stream before it would.
    fn serve(&mut self, now: Instant, key: StreamKey) {
        let open = self.responders.range(keys_of(key.link)).count();
        if open >= self.config.max_inbound as usize || !self.requesters.contains_key(&key.link) {
            return self.asks.extend([Ask::Reset(key, LIMIT), Ask::Stop(key, LIMIT)]);
        }
        let next = self.next(now, key.link);
        self.responders.insert(key, Responder::new(next.is_some()));
        self.deadlines.set(Timer::Serve(key), next);
    }

    fn forget(&mut self, key: StreamKey) {
        self.responders.remove(&key);
        self.deadlines.set(Timer::Serve(key), None);
    }

    /// Something arrived on a stream of the peer.
    fn serve_incoming(&mut self, key: StreamKey, input: &Incoming) {
        let Some(responder) = self.responders.get_mut(&key) else { return };
        match input {
            Incoming::Data(chunk) => {
                if responder.take(chunk) {
                    self.asks.push_back(Ask::Write(key));
                }
            }
            Incoming::End => {
                self.asks.push_back(Ask::Finish(key)); // after the echo that is on its way
                if !responder.end() {
                    self.forget(key);
                }
            }
            Incoming::Reset(_) => {
                self.asks.push_back(Ask::Reset(key, DONE));
                self.forget(key);
            }
            Incoming::Stopped(_) => {
                self.asks.push_back(Ask::Stop(key, DONE));
                self.forget(key);
            }
        }
    }
}

/// All streams of a link.
fn keys_of(link: LinkId) -> std::ops::RangeInclusive<StreamKey> {
    StreamKey { link, stream: 0 }..=StreamKey { link, stream: u64::MAX }
}

impl StreamUser for Ping {
    fn protocols(&self) -> Vec<ProtocolId> {
        vec![self.protocol]
    }

    fn handle_link(&mut self, now: Instant, link: LinkId, change: &LinkChange) {
        match change {
            LinkChange::Early(_) => {} // a round trip is measured once there is a link
            LinkChange::Up(_) => {
                self.requesters.insert(link, Box::new(Requester::new(now, &self.config)));
                self.request(now, link, |_, _, _| Outcome::Nothing);
            }
            LinkChange::Down => {
                self.requesters.remove(&link);
                self.rested.remove(&link);
                self.deadlines.set(Timer::Request(link), None);
                let streams: Vec<StreamKey> =
                    self.responders.range(keys_of(link)).map(|(key, _)| *key).collect();
                streams.into_iter().for_each(|key| self.forget(key));
            }
        }
    }

    fn handle_opened(&mut self, now: Instant, key: StreamKey, origin: Origin) {
        match origin {
            Origin::Peer(_) => self.serve(now, key),
            Origin::Local { .. } => {
                self.request(now, key.link, |requester, _, _| requester.handle_opened(now, key));
            }
        }
    }

    fn handle_refused(&mut self, now: Instant, tag: u64, _: OpenError) {
        self.request(now, LinkId(tag), |requester, config, _| requester.handle_refused(now, config));
    }

    fn class(&self, _: ProtocolId) -> Class {
        Class::Control
    }

    fn room(&self, key: StreamKey) -> usize {
        match self.responders.get(&key) {
            Some(responder) => responder.room(),
            None if self.is_request(key) => PAYLOAD + 1, // what nothing asked for is seen, too
            None => 0,
        }
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        if !self.is_request(key) {
            return self.serve_incoming(key, &input);
        }
        self.request(now, key.link, |requester, config, _| match &input {
            Incoming::Data(chunk) => requester.handle_echo(now, config, chunk),
            Incoming::End | Incoming::Reset(_) | Incoming::Stopped(_) => requester.handle_end(now, config),
        });
    }

    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        if self.is_request(key) {
            return self.request(now, key.link, |requester, _, _| {
                out.put(requester.write(now, room));
                Outcome::Nothing
            });
        }
        let Some(responder) = self.responders.get_mut(&key) else { return };
        out.put(responder.echo(room));
        let echoed = responder.echoed();
        if echoed == responder::Echoed::Partly {
            return;
        }
        let rested = self.rested.entry(key.link).or_insert(now);
        *rested = now.max(*rested) + self.config.pause;
        if echoed == responder::Echoed::Last {
            return self.forget(key);
        }
        let next = self.next(now, key.link).unwrap_or(now);
        self.deadlines.set(Timer::Serve(key), Some(next));
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.deadlines.pop_due(now) {
            match timer {
                Timer::Request(link) => {
                    self.request(now, link, |requester, config, rng| {
                        requester.handle_timeout(now, config, rng)
                    });
                }
                Timer::Serve(key) => {
                    if let Some(responder) = self.responders.get_mut(&key) {
                        responder.resume();
                        self.asks.push_back(Ask::Resume(key));
                    }
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (due, timer) = self.deadlines.next()?;
        let reason = match timer {
            Timer::Request(_) => "ping, or an echo is late",
            Timer::Serve(_) => "read the next ping",
        };
        Some((due, reason))
    }
}

#[cfg(test)]
mod tests;
