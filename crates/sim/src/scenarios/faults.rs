//! The load of `tx-flood` while something goes wrong: in each second of the load once more. Then everything is as it should be
//! again, and all nodes that run are to hold everything that was submitted.

use std::time::Duration;

use weir_base::UnixTime;

use super::{Measured, Run, RunError};
use crate::dials::Dials;
use crate::flood::{Arrivals, Flood, Load, pool_channel};
use crate::host::{NodeId, NodeTraffic, Path, Step};
use crate::load::Graph;
use crate::misbehave::{Damage, Garbler};
use crate::model::{Line, Place, Processor};
use crate::network::{Setup, Transport};

/// Timers above this number are this scenario's: one at the beginning of each second.
const TICKS: u64 = 1 << 32;

/// What [`Fault::Garblers`] do: enough that QUIC loses much, and that a byte stream lives for a few hundred writes.
const DAMAGE: Damage = Damage { corrupted: 50_000, doubled: 100_000, overtaken: 100_000, flipped: 5_000 };

/// After so long without a datagram from inside, devices forget a flow: less than the 15 s between the pings of a link that carries
/// nothing else. Real ones wait 30 s and more.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Before the load nothing is submitted for so long, in which flows are forgotten several times.
const SILENCE: Duration = Duration::from_secs(40);

/// Bytes of the longest datagram in [`Fault::Mtu`]: IPv6's least MTU less its header and UDP's. QUIC begins with 1,200 and tries more.
const TUNNEL: usize = 1_232;

/// What lines carry in [`Fault::NarrowLines`].
const NARROW: Line = Line { down: 4_000_000, up: 1_000_000 };

/// What they carry in [`Fault::Ecn`]: little more than the default load.
const NARROWER: Line = Line { down: 1_000_000, up: 1_000_000 };

/// Seconds of an hour.
const HOUR: u64 = 3_600;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// From the third second on the second half of the nodes hears nothing from the first.
    OneWay,
    /// All paths of one node in ten are silent, others in each second.
    Silence,
    /// All wires of one node in ten are reset.
    Resets,
    /// One node in twenty loses its power, and is back a second later with what its application kept.
    Power,
    /// One node in twenty crashes, and is back a second later with nothing but its key.
    Crashes,
    /// One node in ten hangs for a second.
    Hangs,
    /// The device before one node in ten gives it another port.
    Rebinding,
    /// Devices before all nodes forget a flow on which the node was silent for [`FORGOTTEN`]; the load comes after [`SILENCE`].
    Mappings,
    /// Clocks are up to 500 parts per million too fast or too slow.
    Clocks,
    /// Two packets of a hundred are lost, in bursts of ten.
    Bursts,
    /// Processors are twenty times slower, and stall often.
    SlowProcessors,
    /// Nodes of ten are in one local network, and most of them in one region.
    Neighbours,
    /// Transactions come in bursts, half of them at few nodes.
    Peaks,
    /// One node in ten moves to another region, and has another address there.
    Moves,
    /// One node in twenty crashes, and somebody else with another key is at its address a second later.
    Strangers,
    /// As `Strangers`, and the newcomer knows nobody who was there but a few nodes by chance: whom it dials.
    Churn,
    /// One node in ten loses its power before the load, for good; the others go on dialling it.
    BlackHoles,
    /// The wall clocks of one node in ten are set, by up to an hour either way.
    Steps,
    /// Datagrams are overtaken, come twice, and have wrong bits.
    Datagrams,
    /// Of one piece in a thousand of byte streams a bit is turned, and no checksum tells.
    Flips,
    /// One node in ten damages what it sends, over QUIC or TCP.
    Garblers,
    /// Lines carry 4 Mbit/s down and 1 up, before which 50 ms wait.
    NarrowLines,
    /// Paths carry datagrams of [`TUNNEL`] bytes at most.
    Mtu,
    /// Lines carry 1 Mbit/s, before which 200 ms wait: what waits for a quarter of that is marked.
    Ecn,
    /// One packet in twenty is late by up to twenty times its latency.
    Tails,
    /// Timers are up to 100 ms late.
    LateTimers,
    /// One node in twenty is a hub.
    Hubs,
    /// Nodes of ten are linked among each other, the tens by few links.
    Clusters,
}

pub(super) fn run(run: &Run<'_>, fault: Fault) -> Result<Measured, RunError> {
    let options = run.options;
    let mut setup = run.setup(run.nodes, options.links, vec![pool_channel()]);
    prepare(&mut setup, fault);
    let load = Load {
        rate: options.rate.unwrap_or(Load::default().rate),
        seconds: options.seconds,
        deadline: options.deadline(),
        arrivals: if fault == Fault::Peaks { Arrivals::Bursts } else { Arrivals::Even },
    };
    let mut flood = Flood::new(setup, load)?;
    let mut problems = Vec::new();
    flood.net.name_edges();
    if fault == Fault::BlackHoles {
        for id in chosen(&flood, 3, 10) {
            flood.net.host.computer(id).power_off();
            flood.hostile.insert(id); // nobody waits for it
        }
    }
    if fault == Fault::Garblers {
        for id in chosen(&flood, 3, 10) {
            let rng = flood.net.rng.child("garbler");
            flood.net.host.computer(id).tamper(Box::new(Garbler::new(DAMAGE, rng)));
            flood.hostile.insert(id);
        }
    }
    if fault == Fault::Mappings {
        flood.net.run(SILENCE, |_, _, _| {});
    }
    flood.start();
    let begin = flood.net.host.now() + Duration::from_secs(1);
    for second in 0..=options.seconds {
        flood.net.host.timer(begin + Duration::from_secs(second.into()), TICKS + u64::from(second));
    }
    let limit = begin + Duration::from_secs(options.seconds.into()) + options.deadline();
    let mut troubled = Vec::new();
    while flood.spread_done().is_none() {
        let Some(step) = flood.net.host.step(limit) else { break };
        match step {
            Step::Timer(number) if number >= TICKS => {
                mend(&mut flood, fault, &std::mem::take(&mut troubled))?;
                let second = u32::try_from(number - TICKS).unwrap_or(u32::MAX);
                if second < options.seconds {
                    troubled = trouble(&mut flood, fault, second);
                }
            }
            other => flood.advance(other, &mut |_, _, _| {}),
        }
    }
    let spread = flood.spread();
    problems.extend(flood.problems());
    let unjust = flood.net.faults_between_honest(&flood.hostile).count();
    if fault == Fault::Garblers && unjust > 0 {
        problems.push(format!("honest nodes blamed each other {unjust} times"));
    }
    let figures = match fault {
        Fault::Mappings => forgotten(&flood, &mut problems),
        Fault::Mtu => figure(&flood, "too_long_datagrams", |traffic| traffic.too_long, &mut problems),
        Fault::Ecn => figure(&flood, "marked_datagrams", |traffic| traffic.marked, &mut problems),
        _ => Vec::new(),
    };
    Ok(Measured { spread, figures, problems, ..Measured::of(flood.net) })
}

/// What all nodes counted of what goes wrong here, which must have happened.
fn figure(
    flood: &Flood,
    name: &'static str,
    of: impl Fn(&NodeTraffic) -> u64,
    problems: &mut Vec<String>,
) -> Vec<(&'static str, f64)> {
    let count = flood.net.host.ids().map(|id| of(&flood.net.host.traffic(id))).sum::<u64>();
    if count == 0 {
        problems.push(format!("nothing went wrong: `{name}` is 0"));
    }
    vec![(name, count as f64)]
}

/// What devices forgot, and what was lost of it.
fn forgotten(flood: &Flood, problems: &mut Vec<String>) -> Vec<(&'static str, f64)> {
    let traffic: Vec<_> = flood.net.host.ids().map(|id| flood.net.host.traffic(id)).collect();
    let remapped = traffic.iter().map(|traffic| traffic.device.remapped).sum::<u64>();
    let unmapped = traffic.iter().map(|traffic| traffic.device.unmapped).sum::<u64>();
    if remapped == 0 || unmapped == 0 {
        problems
            .push(format!("{remapped} flows got another port, {unmapped} datagrams came to forgotten ones"));
    }
    vec![("remapped_flows", remapped as f64), ("unmapped_datagrams", unmapped as f64)]
}

/// What is other from the beginning.
fn prepare(setup: &mut Setup, fault: Fault) {
    match fault {
        // two nodes that dial each other have one flow for a device, which both began: who listens would answer from another port
        Fault::Rebinding => (setup.transport, setup.dials) = (Transport::Quic, Dials::OneEnd),
        Fault::Mappings => {
            (setup.transport, setup.dials) = (Transport::Quic, Dials::OneEnd);
            setup.model.mapping = Some(FORGOTTEN);
        }
        Fault::Bursts => (setup.model.loss_per_million, setup.model.burst) = (20_000, 10),
        Fault::SlowProcessors => {
            let usual = setup.model.processor;
            setup.model.processor = Processor {
                turn: usual.turn * 20,
                packet: usual.packet * 20,
                kilobyte: usual.kilobyte * 20,
                verdict: usual.verdict * 20,
                stalls_per_million: 5_000,
                ..usual
            };
        }
        Fault::Neighbours => {
            setup.place =
                |number, rng| Place { site: Some(number / 10), ..Place::weighted(rng, [1, 2, 10, 1, 1]) };
        }
        Fault::Datagrams => {
            setup.transport = Transport::Quic;
            setup.model.reordered_per_million = 100_000;
            setup.model.duplicated_per_million = 20_000;
            setup.model.corrupted_per_million = 2_000;
        }
        Fault::Flips => {
            setup.transport = Transport::Tcp;
            setup.model.flipped_per_million = 1_000;
        }
        Fault::Garblers if setup.transport == Transport::Frames => setup.transport = Transport::Quic,
        Fault::NarrowLines => {
            setup.model.queue = Duration::from_millis(50);
            setup.place = |_, rng| Place { line: NARROW, ..Place::random(rng) };
        }
        Fault::Mtu => (setup.transport, setup.model.mtu) = (Transport::Quic, TUNNEL),
        Fault::Ecn => {
            (setup.transport, setup.model.queue) = (Transport::Quic, Duration::from_millis(200));
            setup.place = |_, rng| Place { line: NARROWER, ..Place::random(rng) };
        }
        Fault::Tails => (setup.model.jitter_percent, setup.model.tail_per_million) = (20, 50_000),
        Fault::LateTimers => setup.model.processor.timer = Duration::from_millis(100),
        Fault::Hubs => setup.graph = Graph::Hubs,
        Fault::Clusters => setup.graph = Graph::Clusters,
        _ => {}
    }
}

/// Who is hit in this second: one node in `one_of`, others each time.
fn chosen(flood: &Flood, second: u32, one_of: u32) -> Vec<NodeId> {
    flood.net.host.ids().filter(|id| id.0 % one_of == second % one_of).collect()
}

/// Lets it go wrong; which nodes are to be mended when the second is over.
fn trouble(flood: &mut Flood, fault: Fault, second: u32) -> Vec<NodeId> {
    let all: Vec<NodeId> = flood.net.host.ids().collect();
    let host = &mut flood.net.host;
    match fault {
        Fault::OneWay => {
            if second >= 2 {
                each_pair(&all, |one, other| host.set_path(one, other, Path::Silent));
            }
            return all;
        }
        Fault::Silence | Fault::Resets => {
            let path = if fault == Fault::Silence { Path::Silent } else { Path::Resetting };
            let hit = chosen(flood, second, 10);
            for one in &hit {
                for other in all.iter().filter(|other| *other != one) {
                    flood.net.host.set_path(*one, *other, path);
                    flood.net.host.set_path(*other, *one, path);
                }
            }
            return hit;
        }
        Fault::Power | Fault::Crashes | Fault::Strangers | Fault::Churn => {
            let hit = chosen(flood, second, 20);
            for id in &hit {
                if fault == Fault::Power {
                    flood.net.host.computer(*id).power_off();
                } else {
                    flood.net.host.computer(*id).crash();
                    flood.lost(*id);
                }
            }
            return hit;
        }
        Fault::Hangs => {
            let hit = chosen(flood, second, 10);
            hit.iter().for_each(|id| flood.net.host.computer(*id).hang());
            return hit;
        }
        Fault::Rebinding => {
            chosen(flood, second, 10).into_iter().for_each(|id| flood.net.host.computer(id).rebind());
        }
        Fault::Clocks => {
            for id in chosen(flood, second, 10) {
                let drift = i32::try_from(flood.net.rng.below(1001)).unwrap_or(0) - 500;
                flood.net.host.computer(id).set_drift(drift);
            }
        }
        Fault::Moves => {
            for id in chosen(flood, second, 10) {
                let place = Place::random(&mut flood.net.rng);
                flood.net.host.computer(id).relocate(place);
            }
        }
        Fault::Steps => {
            for id in chosen(flood, second, 10) {
                let now = flood.net.host.wall().as_secs();
                let wall = UnixTime::from_secs(now + flood.net.rng.below(2 * HOUR) - HOUR);
                flood.net.host.computer(id).set_wall(wall);
            }
        }
        Fault::Mappings
        | Fault::Bursts
        | Fault::SlowProcessors
        | Fault::Neighbours
        | Fault::Peaks
        | Fault::BlackHoles
        | Fault::Datagrams
        | Fault::Flips
        | Fault::Garblers
        | Fault::NarrowLines
        | Fault::Mtu
        | Fault::Ecn
        | Fault::Tails
        | Fault::LateTimers
        | Fault::Hubs
        | Fault::Clusters => {}
    }
    Vec::new()
}

/// The second is over.
fn mend(flood: &mut Flood, fault: Fault, hit: &[NodeId]) -> Result<(), RunError> {
    let all: Vec<NodeId> = flood.net.host.ids().collect();
    match fault {
        Fault::OneWay => each_pair(&all, |one, other| flood.net.host.heal(one, other)),
        Fault::Silence | Fault::Resets => {
            for one in hit {
                for other in all.iter().filter(|other| *other != one) {
                    flood.net.host.heal(*one, *other);
                    flood.net.host.heal(*other, *one);
                }
            }
        }
        Fault::Power | Fault::Crashes => {
            for id in hit {
                let kept = if fault == Fault::Power { flood.held(*id) } else { Vec::new() };
                flood.net.restart_with(*id, crate::flood::TXS, kept)?;
                flood.net.name_of(*id);
            }
        }
        Fault::Strangers => {
            for id in hit {
                flood.net.replace(*id)?;
                flood.net.name_of(*id);
            }
        }
        Fault::Churn => {
            for id in hit {
                flood.net.replace(*id)?;
                let others: Vec<NodeId> = all.iter().filter(|other| *other != id).copied().collect();
                let known = (flood.net.setup().links / 2).max(1);
                let known: Vec<NodeId> =
                    (0..known).map(|_| others[flood.net.rng.index(others.len())]).collect();
                drop(flood.net.name(*id, &known)); // its book is empty
            }
        }
        Fault::Hangs => hit.iter().for_each(|id| flood.net.host.computer(*id).go_on()),
        _ => {}
    }
    Ok(())
}

/// From each of the first half to each of the second.
fn each_pair(all: &[NodeId], mut act: impl FnMut(NodeId, NodeId)) {
    let (first, second) = all.split_at(all.len() / 2);
    for one in first {
        second.iter().for_each(|other| act(*one, *other));
    }
}
