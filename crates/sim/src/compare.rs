//! Small networks that run natively as well, simulated: what `cargo xtask compare` sets beside real nodes on one machine.
//!
//! Graph, transactions, channel and limits are the same on both sides, and links are QUIC. The network between real nodes on
//! loopback loses nothing, so that none is lost here either; the processor's constants are those of the case.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_stack::ConfigError;

use crate::dials::Dials;
use crate::flood::{Flood, Load, pool_channel};
use crate::host::Work;
use crate::model::{Model, Place, Processor, Processors};
use crate::network::{Setup, Transport};
use crate::report::Percentiles;

/// How far apart all nodes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Apart {
    /// On one machine. Here: in one local network.
    Loopback,
    /// In one region.
    Region,
}

impl Apart {
    /// The round trip of all links.
    pub fn round_trip(self) -> Duration {
        let place = self.place();
        place.round_trip(place)
    }

    const fn place(self) -> Place {
        match self {
            Self::Loopback => Place { site: Some(0), ..Place::NEAR },
            Self::Region => Place::NEAR,
        }
    }
}

/// One network and its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Nodes.
    pub nodes: u32,
    /// Links per node.
    pub links: u32,
    /// How far apart they are.
    pub apart: Apart,
    /// Transactions a second, over all nodes.
    pub rate: u32,
    /// Seconds of load.
    pub seconds: u32,
    /// Decides graph, transactions, and where they are submitted.
    pub seed: u64,
    /// What simulated nodes' processors take.
    pub processor: Processors,
}

/// Who dials whom, and who submits when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Dialler and listener of each link.
    pub edges: Vec<(u32, u32)>,
    /// For each transaction, by its number: its node, and when after the first.
    pub load: Vec<(u32, Duration)>,
}

/// What came of one side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// From submission to the verdict, over all pairs of a transaction and a node other than its origin.
    pub latency_ms: Percentiles,
    /// Pairs that never came to be.
    pub missing: u64,
    /// Bytes of datagrams received, with the headers of IP and UDP, per transaction and node.
    pub wire_bytes: f64,
    /// What nodes had to do, per transaction and node.
    pub work: Effort,
    /// Processor time of the network thread in microseconds, per transaction and node.
    pub network_cpu_us: Option<f64>,
    /// The same of the whole process, natively: with the threads of the application.
    pub process_cpu_us: Option<f64>,
}

/// What nodes had to do, per transaction and node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Turns of the network thread.
    pub turns: f64,
    /// Datagrams, in and out.
    pub packets: f64,
    /// Their payload in bytes.
    pub bytes: f64,
}

impl Effort {
    /// This work, over so many pairs of a transaction and a node.
    pub fn of(work: Work, pairs: f64) -> Self {
        let Work { turns, packets, bytes } = work;
        Self { turns: turns as f64 / pairs, packets: packets as f64 / pairs, bytes: bytes as f64 / pairs }
    }
}

/// The plan of a case.
///
/// # Errors
/// [`ConfigError`]: none of this configuration.
pub fn plan(case: &Case) -> Result<Plan, ConfigError> {
    let mut flood = flood(case)?;
    let edges = flood.net.edges.iter().map(|(one, other)| (one.0, other.0)).collect();
    let schedule = flood.schedule();
    let first = schedule.first().map(|(_, at)| *at).unwrap_or_default();
    Ok(Plan { edges, load: schedule.into_iter().map(|(origin, at)| (origin.0, at.since(first))).collect() })
}

/// Simulates a case.
///
/// # Errors
/// [`ConfigError`]: none of this configuration.
pub fn simulate(case: &Case) -> Result<Figures, ConfigError> {
    let mut flood = flood(case)?;
    flood.net.link_up();
    flood.start();
    let before = flood.net.host.work();
    while flood.spread_done().is_none() {
        let Some(step) = flood.net.host.step(flood.deadline()) else { break };
        flood.advance(step, &mut |_, _, _| {});
    }
    let work = flood.net.host.work().since(before);
    let spread = flood.spread();
    let pairs = (spread.submitted * u64::from(case.nodes)).max(1) as f64;
    Ok(Figures {
        latency_ms: spread.latency.unwrap_or_default(),
        missing: spread.missing,
        wire_bytes: spread.wire_bytes,
        work: Effort::of(work, pairs),
        network_cpu_us: Some(busy(&case.processor.constants(), work).as_secs_f64() * 1e6 / pairs),
        process_cpu_us: None,
    })
}

fn flood(case: &Case) -> Result<Flood, ConfigError> {
    let mut setup = Setup::new(case.nodes, case.links, case.seed, vec![pool_channel()]);
    (setup.transport, setup.dials) = (Transport::Quic, Dials::OneEnd); // as the plan says
    setup.place = match case.apart {
        Apart::Loopback => |_, _| Apart::Loopback.place(),
        Apart::Region => |_, _| Apart::Region.place(),
    };
    // the application of the other side accepts without a signature to check
    let processor = Processor { verdict: Duration::ZERO, ..case.processor.constants() };
    setup.model = Model { processor, ..Model::calm() };
    Flood::new(setup, Load { rate: case.rate, seconds: case.seconds, ..Load::default() })
}

/// What the model takes this work to take, stalls left out: a processor does something else then.
fn busy(processor: &Processor, work: Work) -> Duration {
    let whole = processor.turn.as_secs_f64() * work.turns as f64
        + processor.packet.as_secs_f64() * work.packets as f64
        + processor.kilobyte.as_secs_f64() * work.bytes as f64 / 1e3;
    Duration::from_secs_f64(whole * (1.0 + f64::from(processor.jitter_percent) / 200.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LAN;

    fn case(apart: Apart) -> Case {
        Case { nodes: 5, links: 4, apart, rate: 20, seconds: 2, seed: 3, processor: Processors::Machines }
    }

    #[test]
    fn a_plan_names_every_link_and_every_transaction_once() {
        let plan = plan(&case(Apart::Loopback)).unwrap();
        assert_eq!((plan.edges.len(), plan.load.len()), (10, 40));
        assert_eq!(plan.load.first().map(|(_, at)| *at), Some(Duration::ZERO));
        assert!(plan.load.iter().all(|(origin, _)| *origin < 5));
        assert!(plan.load.is_sorted_by_key(|(_, at)| *at));
    }

    #[test]
    fn what_is_further_apart_takes_longer_and_the_same_work() {
        let [near, far] = [Apart::Loopback, Apart::Region].map(|apart| simulate(&case(apart)).unwrap());
        assert_eq!((near.missing, far.missing), (0, 0));
        let median = |figures: &Figures| figures.latency_ms.p50.unwrap();
        // an offer, a get and an item: one and a half round trips a hop
        assert!(median(&far) > median(&near) + 25.0, "{near:?} {far:?}");
        assert!(near.network_cpu_us.unwrap() > 10.0 && near.wire_bytes > 300.0, "{near:?}");
        assert_eq!([LAN, Duration::from_millis(20)], [Apart::Loopback, Apart::Region].map(Apart::round_trip));
    }
}
