//! What streams other than a pool's may carry, by their channel's rules: tips, calls, control.

use std::collections::{BTreeMap, BTreeSet};

use weir_base::codec::Malformed;
use weir_base::{Instant, ProtocolId};
use weir_pull::ChannelId;
use weir_stack::{Channel, Config, Shape};

use super::INITIAL;
use super::cut::Cutter;

/// `Want` of a tip's client (`docs/spec/tip.md`).
const WANT: u64 = 0;

/// Bytes of a call's message beside its request or response, and messages of a direction that are skipped (`docs/spec/call.md`).
const CALL_HEAD: u64 = 16;
const CALL_SKIPPED: u32 = 4;

/// Messages of control, and their bytes, in a second and at once (`docs/spec/control.md`).
const CONTROL_MESSAGES: u64 = 64;
const CONTROL_BYTES: u64 = 16_000;

/// Streams that may be opened before any credit for them (`docs/spec/frames.md`).
const STREAMS: u64 = 32;

/// What is declared on a network, as far as the checker reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    channels: BTreeMap<ChannelId, Reads>,
    pub(super) limits: Limits,
}

/// Bounds of one node over all its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of windows that its peers have and did not use.
    pub(super) windows: u64,
    /// Bytes that it may advertise beyond base windows: what those of all links that may exist leave of its budget.
    pub(super) lendable: u64,
    /// The base window of a link.
    pub(super) base: u64,
    /// Bytes of items that it has asked for and not got.
    pub(super) asked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { windows: u64::MAX, lendable: u64::MAX, base: INITIAL, asked: u64::MAX }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Pool,
    Tip { largest: u64 },
    Call(Call),
}

/// The bounds of a call channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    request: u64,
    response: u64,
    at_once: u32,
}

impl Declared {
    pub(super) fn pools(pools: impl IntoIterator<Item = ChannelId>) -> Self {
        let channels = pools.into_iter().map(|channel| (channel, Reads::Pool)).collect();
        Self { channels, limits: Limits::default() }
    }

    pub(super) fn of(config: &Config) -> Self {
        let declared = &config.profile.channels;
        let channels = declared.iter().filter_map(|channel| Some((channel.id, reads(channel)?))).collect();
        let pools = declared.iter().filter_map(|channel| match &channel.shape {
            Shape::Pool(pool) => Some(pool.in_flight.saturating_add(pool.max_item.into())),
            _ => None,
        });
        let asked = pools.fold(0_u64, u64::saturating_add);
        let (windows, base) = (config.budget.receive_total, config.budget.base_window);
        let lendable = windows.saturating_sub(links(config).saturating_mul(base));
        Self { channels, limits: Limits { windows, lendable, base, asked } }
    }

    /// The pool channel that a protocol belongs to, and its lane.
    pub(super) fn pool(&self, protocol: ProtocolId) -> Option<(ChannelId, u8)> {
        let (channel, lane) = ChannelId::of(protocol)?;
        (self.channels.get(&channel) == Some(&Reads::Pool) && lane < 2).then_some((channel, lane))
    }

    /// What a stream of this protocol carries from the side that opened it, and from the other.
    pub(super) fn rules(&self, protocol: ProtocolId) -> Option<(Rule, Rule)> {
        let (channel, lane) = ChannelId::of(protocol)?;
        if channel == ChannelId::CONTROL {
            return Some((Rule::Control, Rule::Control));
        }
        match self.channels.get(&channel)? {
            Reads::Tip { largest } if lane == 0 => {
                Some((Rule::Wants, Rule::Tips { permits: 0, most: *largest }))
            }
            Reads::Call(call) if lane == 0 => {
                let messages = CALL_SKIPPED + 1;
                let request = Rule::Message { most: call.request + CALL_HEAD, messages };
                Some((request, Rule::Message { most: call.response + CALL_HEAD, messages }))
            }
            _ => None,
        }
    }

    pub(super) fn call(&self, protocol: ProtocolId) -> Option<(ChannelId, Call)> {
        let (channel, _) = ChannelId::of(protocol)?;
        match self.channels.get(&channel)? {
            Reads::Call(call) => Some((channel, *call)),
            _ => None,
        }
    }
}

/// Links that may exist at once (`docs/spec/links.md`, "Windows"): those that are up, half-open ones, and dials.
fn links(config: &Config) -> u64 {
    let up = u64::from(config.admission.max_links) + u64::from(config.admission.max_half_open);
    up + config.dial.max_dials as u64
}

fn reads(channel: &Channel) -> Option<Reads> {
    match &channel.shape {
        Shape::Pool(_) => Some(Reads::Pool),
        Shape::Tip(tip) => Some(Reads::Tip { largest: tip.max_value.into() }),
        Shape::Call(call) => Some(Reads::Call(Call {
            request: call.max_request.into(),
            response: call.max_response.into(),
            at_once: call.concurrency,
        })),
        Shape::Raw => None,
    }
}

/// What one direction of a stream may carry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Messages at the rate of control.
    Control,
    /// Permits of a tip's client.
    Wants,
    /// A message for each permit, with a value no longer than this.
    Tips { permits: u64, most: u64 },
    /// Messages no longer than this, and so many yet.
    Message { most: u64, messages: u32 },
}

/// What one end of a link sends beside pools, and what it may.
#[derive(Debug)]
pub(super) struct Rules {
    sends: BTreeMap<u64, (Rule, Cutter)>,
    wants: BTreeMap<u64, Cutter>,              // that come, by stream
    calls: BTreeMap<ChannelId, BTreeSet<u64>>, // under way, opened by this end
    opened: u64,
    may_open: u64,
    messages: Bucket,
    bytes: Bucket,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            sends: BTreeMap::new(),
            wants: BTreeMap::new(),
            calls: BTreeMap::new(),
            opened: 0,
            may_open: STREAMS,
            messages: Bucket::new(CONTROL_MESSAGES),
            bytes: Bucket::new(CONTROL_BYTES),
        }
    }
}

impl Rules {
    /// This end opens a stream; how many streams or calls are too many.
    pub(super) fn open(&mut self, declared: &Declared, stream: u64, protocol: ProtocolId) -> u64 {
        self.opened += 1;
        if let Some((rule, _)) = declared.rules(protocol) {
            self.sends.insert(stream, (rule, Cutter::default()));
        }
        let mut over = self.opened.saturating_sub(self.may_open);
        if let Some((channel, call)) = declared.call(protocol) {
            let under_way = self.calls.entry(channel).or_default();
            under_way.insert(stream);
            over = over.max((under_way.len() as u64).saturating_sub(call.at_once.into()));
        }
        over
    }

    /// The other end has opened a stream.
    pub(super) fn opened(&mut self, declared: &Declared, stream: u64, protocol: ProtocolId) {
        let Some((theirs, ours)) = declared.rules(protocol) else { return };
        self.sends.insert(stream, (ours, Cutter::default()));
        if matches!(theirs, Rule::Wants) {
            self.wants.insert(stream, Cutter::default());
        }
    }

    /// The other end lets this one open so many streams in all.
    pub(super) fn may_open(&mut self, total: u64) {
        self.may_open = self.may_open.max(total);
    }

    /// A direction ends, or is not wanted any more: a call is over when its answer is.
    pub(super) fn answered(&mut self, stream: u64) {
        self.wants.remove(&stream);
        for under_way in self.calls.values_mut() {
            under_way.remove(&stream);
        }
    }

    pub(super) fn ended(&mut self, stream: u64) {
        self.sends.remove(&stream);
    }

    /// This end sends bytes: how many, or how many messages, are too many.
    pub(super) fn send(&mut self, now: Instant, stream: u64, bytes: &[u8]) -> Result<u64, Malformed> {
        let Self { sends, messages, bytes: rate, .. } = self;
        let Some((rule, cutter)) = sends.get_mut(&stream) else { return Ok(0) };
        let mut over = 0;
        match rule {
            Rule::Wants => {}
            Rule::Control => cutter.messages(bytes, |_, _, len| {
                over += messages.take(now, 1).max(rate.take(now, len));
                Ok(())
            })?,
            Rule::Tips { permits, most } => cutter.messages(bytes, |kind, value, len| {
                if kind % 2 == 0 {
                    over += (value.len() as u64).saturating_sub(*most);
                    match permits.checked_sub(1) {
                        Some(left) => *permits = left,
                        None => over += len,
                    }
                }
                Ok(())
            })?,
            Rule::Message { most, messages } => cutter.lengths(bytes, |len| {
                over += match messages.checked_sub(1) {
                    Some(left) => {
                        *messages = left;
                        len.saturating_sub(*most)
                    }
                    None => len,
                };
            })?,
        }
        Ok(over)
    }

    /// Bytes of the other end arrive: its permits count.
    pub(super) fn receive(&mut self, stream: u64, bytes: &[u8]) -> Result<(), Malformed> {
        let Self { sends, wants, .. } = self;
        let Some(cutter) = wants.get_mut(&stream) else { return Ok(()) };
        let Some((Rule::Tips { permits, .. }, _)) = sends.get_mut(&stream) else { return Ok(()) };
        cutter.messages(bytes, |kind, _, _| {
            *permits += u64::from(kind == WANT);
            Ok(())
        })
    }
}

/// A token bucket that holds one second's worth.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    level: u64, // in billionths
    at: Instant,
}

const BILLION: u64 = 1_000_000_000;

impl Bucket {
    const fn new(rate: u64) -> Self {
        Self { rate, level: rate * BILLION, at: Instant::ZERO }
    }

    /// Takes so many; how many of them it does not hold.
    fn take(&mut self, now: Instant, count: u64) -> u64 {
        let passed = u64::try_from(now.since(self.at).as_nanos()).unwrap_or(u64::MAX).min(BILLION);
        self.level = (self.level + passed * self.rate).min(self.rate * BILLION);
        self.at = now;
        let taken = (count * BILLION).min(self.level);
        self.level -= taken;
        (count * BILLION - taken).div_ceil(BILLION)
    }
}
