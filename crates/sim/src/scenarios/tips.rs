//! Random nodes publish higher and higher tips until every node holds the last.
//!
//! Between two tips there is time for a tip to spread; a node that hears of a higher one first never holds the lower: such
//! pairs are missing without harm. Agreement is on the last.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use weir_base::Instant;
use weir_pull::ChannelId;
use weir_stack::{Channel, Shape, tip};

use super::{Measured, RunError};
use crate::actor::Note;
use crate::flood::Spread;
use crate::host::{NodeId, Step};
use crate::network::Network;
use crate::report::Percentiles;

/// The tip channel.
pub(super) const TIPS: ChannelId = ChannelId(1);

/// Bytes of a tip: what a header takes.
const SIZE: usize = 200;

/// Tips per second where the options do not say.
const RATE: u32 = 1;

struct Run {
    network: Network,
    published: Vec<(NodeId, Instant)>,
    micros: Vec<u32>,
    last_at: u64, // nodes that hold the last
}

/// A channel of tips with the default limits.
pub(super) fn channel() -> Channel {
    let shape = Shape::Tip(tip::Config::default());
    Channel { id: TIPS, name: "tip".into(), version: 1, oldest: 1, shape }
}

pub(super) fn run(asked: &super::Run<'_>) -> Result<Measured, RunError> {
    let (options, nodes) = (asked.options, asked.nodes);
    let setup = asked.setup(nodes, options.links, vec![channel()]);
    let mut run =
        Run { network: Network::new(setup)?, published: Vec::new(), micros: Vec::new(), last_at: 0 };
    let mut problems = Vec::new();
    run.network.link_up();
    let rate = options.rate.unwrap_or(RATE);
    let count = rate * options.seconds;
    let begin = run.network.host.now() + Duration::from_secs(1);
    let pause = Duration::from_secs(1) / rate;
    (0..count).for_each(|number| run.network.host.timer(begin + pause * number, number.into()));
    let last = begin + pause * (count - 1);
    let wire_in =
        |network: &Network| -> u64 { network.host.ids().map(|id| network.host.traffic(id).wire_in()).sum() };
    let before = wire_in(&run.network);
    let mut converged = None;
    while converged.is_none() {
        let Some(step) = run.network.host.step(last + options.deadline()) else { break };
        run.step(step);
        if run.published.len() == count as usize && run.last_at == u64::from(nodes) {
            converged = Some(run.network.host.now().since(last));
        }
    }
    let pairs = u64::from(count) * u64::from(nodes - 1);
    if converged.is_none() {
        problems.push("the nodes did not agree by the deadline".into());
    }
    Ok(Measured {
        spread: Spread {
            submitted: run.published.len() as u64,
            wire_bytes: (wire_in(&run.network) - before) as f64
                / (u64::from(count) * u64::from(nodes)) as f64,
            converged,
            missing: pairs - run.micros.len() as u64,
            latency: Percentiles::of(&mut run.micros, 0), // of those that are: the others heard of a higher one
            ..Spread::default()
        },
        problems,
        ..Measured::of(run.network)
    })
}

impl Run {
    fn step(&mut self, step: Step) {
        let id = match step {
            Step::Timer(number) => self.publish(number),
            Step::Turned(id) => id,
            Step::Network => return,
        };
        let now = self.network.host.now();
        for (_, note) in self.network.notes_of(id) {
            let Note::Tip { value, adopted: true, .. } = note else { continue };
            let Some((number, _)) = value.split_first_chunk::<8>() else { continue };
            let number = usize::try_from(u64::from_be_bytes(*number)).unwrap_or(usize::MAX);
            let Some((_, at)) = self.published.get(number) else { continue };
            self.micros.push(u32::try_from(now.since(*at).as_micros()).unwrap_or(u32::MAX));
            self.last_at += u64::from(number + 1 == self.published.len());
        }
    }

    fn publish(&mut self, number: u64) -> NodeId {
        let id = NodeId(u32::try_from(self.network.rng.index(self.network.host.len())).unwrap_or(0));
        let mut value = BytesMut::with_capacity(SIZE);
        value.put_u64(number);
        value.resize(SIZE, 0);
        if let Some(rest) = value.get_mut(8..) {
            self.network.rng.fill(rest);
        }
        let value: Bytes = value.freeze();
        self.network.host.computer(id).trace_driver(&value);
        self.network.host.with(id, |actor, now| {
            // refused only where the slot is taken: every value has its own
            drop(actor.publish(now, TIPS, value));
        });
        self.published.push((id, self.network.host.now()));
        self.last_at = 1;
        id
    }
}
