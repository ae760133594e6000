//! Slow but honest, and slow on purpose. A server with a line of 40 kB/s is never blamed and delivers everything. A peer whose round trip is
//! 40 s, or that delivers 45 bytes a second, and that offers every item first, delays no item of others by more than 2 s. Over QUIC, where
//! what a peer sends cannot be held back, that peer has a line of 8 kB/s.

use std::time::Duration;

use bytes::Bytes;
use weir_base::Instant;

use super::{Measured, Run, RunError};
use crate::actor::Note;
use crate::dials::Dials;
use crate::flood::{Spread, TXS, number_of, pool_channel};
use crate::host::{NodeId, Tamper};
use crate::misbehave::{Late, Trickler};
use crate::model::{Line, Place};
use crate::network::{Network, Setup, Transport};

const READER: NodeId = NodeId(0);
/// The server with the slow line, or the peer that is slow on purpose.
const SLOW: NodeId = NodeId(1);
const HONEST: NodeId = NodeId(2);

/// Bytes a second of the slow line, and of it what items may take.
const RATE: u32 = 40_000;
const ITEM: usize = 2_000;
const ITEMS_IN_A_SECOND: u32 = RATE * 9 / 10 / ITEM as u32;

/// Items a second of the honest peer, where another is slow on purpose.
const OTHERS: u32 = 10;

/// An item may be so much later than without the slow peer, and as much as what came of it takes at 16 kB a second.
const MOST: Duration = Duration::from_secs(2);

/// Bytes of an item where the slow peer has a slow line: several take seconds on it.
const LARGE_ITEM: usize = 10_000;

/// What a peer does that is slow on purpose.
#[derive(Clone, Copy)]
enum Slowness {
    /// Its round trip is longer by this.
    RoundTrip(Duration),
    /// Its items come at 45 bytes a second.
    Items,
    /// Its line carries 8 kB/s.
    Line,
}

impl Slowness {
    fn tamper(self) -> Option<Box<dyn Tamper>> {
        match self {
            Self::RoundTrip(by) => Some(Box::new(Late::new(by))),
            Self::Items => Some(Box::new(Trickler::new(TXS.protocol(1), 0, 45, Duration::from_secs(1)))),
            Self::Line => None,
        }
    }

    /// An item may be so much later than without it. What has come of one counts as progress, at 16 kB a second.
    fn most(self) -> Duration {
        let part = if let Self::Line = self { LARGE_ITEM as u64 } else { 0 };
        MOST + Duration::from_micros(part * 1_000_000 / 16_000)
    }

    /// How long before the honest peer it has each item, so that it offers first.
    fn lead(self) -> Duration {
        let ahead = Duration::from_millis(200);
        if let Self::RoundTrip(by) = self { by + ahead } else { ahead }
    }
}

fn item(number: u32, size: usize) -> Bytes {
    let mut bytes = u64::from(number).to_le_bytes().to_vec();
    bytes.resize(size, 1);
    bytes.into()
}

fn insert(network: &mut Network, id: NodeId, number: u32, size: usize) {
    // a pool has room for all of them: what is missing in the end would tell
    network.host.with(id, |actor, now| actor.insert(now, TXS, item(number, size)));
}

/// Lets time pass until `until`; when which item was accepted by the reader goes into `accepted`.
fn watch(network: &mut Network, until: Instant, all: usize, accepted: &mut Vec<(u32, Instant)>) {
    while accepted.len() < all {
        let Some(step) = network.host.step(until) else { return };
        for (id, note) in network.notes(step) {
            if let (READER, Note::Accepted { bytes, .. }) = (id, note)
                && let Some(number) = number_of(&bytes)
            {
                accepted.push((number, network.host.now()));
            }
        }
    }
}

/// Others dial the reader.
fn linked(setup: Setup) -> Result<Network, RunError> {
    let mut network = Network::new(setup)?;
    network.edges = network.host.ids().skip(1).map(|id| (id, READER)).collect();
    Ok(network)
}

/// A server at 40 kB/s: what is missing of what it had, and how long the last item took.
fn honest_server(run: &Run<'_>, problems: &mut Vec<String>) -> Result<(Network, u64), RunError> {
    let options = run.options;
    let mut setup = run.setup(2, 0, vec![pool_channel()]);
    setup.place = |number, _| {
        let up = if number == SLOW.0 { u64::from(RATE) * 8 } else { Line::CENTRE.up };
        Place { line: Line { up, ..Line::CENTRE }, ..Place::NEAR }
    };
    let mut network = linked(setup)?;
    network.link_up();
    let count = options.seconds * ITEMS_IN_A_SECOND;
    (0..count).for_each(|number| insert(&mut network, SLOW, number, ITEM));
    let until = network.host.now() + Duration::from_secs(u64::from(options.seconds) * 2) + options.deadline();
    let mut accepted = Vec::new();
    watch(&mut network, until, count as usize, &mut accepted);
    let missing = u64::from(count) - accepted.len() as u64;
    if missing > 0 {
        problems.push(format!("{missing} items of the slow server never came"));
    }
    if let Some(first) = network.faults.first() {
        problems.push(format!("the slow server was blamed {} times: {}", network.faults.len(), first.fault));
    }
    Ok((network, missing))
}

/// The longest that an item of the honest peer took, alone or beside a peer that offers it first.
fn beside(
    run: &Run<'_>,
    slowness: Option<Slowness>,
    problems: &mut Vec<String>,
) -> Result<Option<Duration>, RunError> {
    let mut setup = run.setup(3, 0, vec![pool_channel()]);
    setup.place = |_, _| Place::NEAR;
    setup.dials = Dials::OneEnd; // who is slow on purpose comes by itself
    if let Some(Slowness::Line) = slowness {
        setup.place = |number, _| {
            let up = if number == SLOW.0 { 64_000 } else { Line::CENTRE.up };
            Place { line: Line { up, ..Line::CENTRE }, ..Place::NEAR }
        };
        setup.model.queue = Duration::from_secs(10); // a slow line that drops nothing
    }
    let mut network = linked(setup)?;
    if let Some(tamper) = slowness.and_then(Slowness::tamper) {
        crate::misbehave::tamper(&mut network, SLOW, tamper);
    }
    if !network.link_up() {
        return Ok(None);
    }
    let begin = network.host.now() + Duration::from_secs(1);
    let lead = slowness.map_or(Duration::ZERO, Slowness::lead);
    let count = run.options.seconds * OTHERS;
    let pause = Duration::from_secs(1) / OTHERS;
    let mut due: Vec<(Instant, NodeId, u32)> = (0..count)
        .flat_map(|number| {
            let at = begin + pause * number;
            let slow = slowness.map(|_| (at, SLOW, number));
            slow.into_iter().chain([(at + lead, HONEST, number)])
        })
        .collect();
    due.sort_unstable();
    let mut accepted = Vec::new();
    let size = if run.options.transport == Transport::Quic { LARGE_ITEM } else { 200 };
    for (at, id, number) in due {
        watch(&mut network, at, usize::MAX, &mut accepted);
        insert(&mut network, id, number, size);
    }
    let end = network.host.now() + Duration::from_secs(20);
    watch(&mut network, end, count as usize, &mut accepted);
    problems.extend(network.problems());
    let since = |number: u32| begin + pause * number + lead;
    let longest = accepted.iter().map(|(number, at)| at.since(since(*number))).max();
    Ok(longest.filter(|_| accepted.len() == count as usize))
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let mut problems = Vec::new();
    let (network, missing) = honest_server(run, &mut problems)?;
    let mut figures = vec![("slow_server_faults", network.faults.len() as f64)];
    let usual = beside(run, None, &mut problems)?;
    figures.push(("longest_s_alone", usual.map_or(f64::INFINITY, |usual| usual.as_secs_f64())));
    let slow = if run.options.transport == Transport::Quic {
        vec![("longest_s_beside_slow_line", Slowness::Line)]
    } else {
        let trip = Slowness::RoundTrip(Duration::from_secs(40));
        vec![("longest_s_beside_trip_40_s", trip), ("longest_s_beside_45_bytes_s", Slowness::Items)]
    };
    for (name, slowness) in slow {
        let beside = beside(run, Some(slowness), &mut problems)?;
        match usual.zip(beside) {
            Some((usual, beside)) => {
                figures.push((name, beside.as_secs_f64()));
                if beside > usual + slowness.most() {
                    problems
                        .push(format!("{name}: an item took {beside:?}, without the slow peer {usual:?}"));
                }
            }
            None => problems.push(format!("{name}: not every item came")),
        }
    }
    let spread = Spread { missing, ..Spread::default() };
    Ok(Measured { spread, figures, problems, ..Measured::of(network) })
}
