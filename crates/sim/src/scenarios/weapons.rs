//! Calls as weapons: peers call a server for as much as they may and read nothing, or write their requests a byte at a time. Over
//! QUIC, where frames cannot be held back, they ask and then hang. What all calls hold stays within the budget, and an honest
//! caller waits at most twice as long.

use std::time::Duration;

use weir_stack::call;

use super::calls::{self, CALLS, Calling, Counted, LARGEST};
use super::{Measured, Run, RunError};
use crate::flood::Spread;
use crate::host::{Node as _, NodeId};
use crate::misbehave::{Deaf, Trickler};
use crate::network::{Network, Transport};
use crate::report::Percentiles;

const SERVER: NodeId = NodeId(0);
const HONEST: NodeId = NodeId(1);

/// Between two honest calls.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes of an honest answer.
const USUAL: usize = 4 * 1024;

/// Attackers call this many times each second; of these as many as the method takes at once are under way.
const VOLLEY: u32 = 64;

/// What the server held for calls at most, and its budget.
#[derive(Default)]
struct Held {
    most: u64,
    budget: u64,
}

impl Held {
    fn look(&mut self, network: &mut Network) {
        let Some(actor) = network.host.node(SERVER) else { return };
        let (held, budget) = actor.stack().stats().call_memory;
        (self.most, self.budget) = (self.most.max(held), budget);
    }
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let options = run.options;
    let mut calling = Calling::new(calls::setup(run, run.nodes, call::Config::default()))?;
    let hostile: Vec<NodeId> = calling.network.host.ids().skip(2).collect();
    let frames = options.transport == Transport::Frames;
    if frames {
        for id in &hostile {
            let drops = Duration::from_millis(500);
            if id.0 % 2 == 0 {
                calling.network.host.computer(*id).tamper(Box::new(Deaf));
            } else {
                calling.network.host.computer(*id).tamper(Box::new(Trickler::new(
                    CALLS.protocol(0),
                    0,
                    1,
                    drops,
                )));
            }
        }
    }
    let mut problems = Vec::new();
    if !calling.link_all_to(SERVER) {
        problems.push("some links did not come up".into());
    }
    let count = options.seconds * 1000 / u32::try_from(PAUSE.as_millis()).unwrap_or(u32::MAX);
    let mut held = Held::default();
    for _ in 0..count {
        calling.ask(HONEST, SERVER, USUAL, Counted::Yes);
        calling.run(PAUSE, SERVER, |network| held.look(network), |_| false);
    }
    let mut before = std::mem::take(&mut calling.micros);
    for number in 0..count {
        if number % 20 == 0 {
            hostile.iter().for_each(|id| {
                (0..VOLLEY).for_each(|_| calling.ask(*id, SERVER, LARGEST, Counted::No));
            });
        }
        if !frames && number == 1 {
            hostile.iter().for_each(|id| calling.network.host.computer(*id).hang()); // nothing is read from now on
        }
        calling.ask(HONEST, SERVER, USUAL, Counted::Yes);
        calling.run(PAUSE, SERVER, |network| held.look(network), |_| false);
    }
    calling.run(
        Duration::from_secs(5),
        SERVER,
        |network| held.look(network),
        |calling| calling.pending() == 0,
    );
    let answered = calling.micros.len();
    let (before, during) = (Percentiles::of(&mut before, 0), Percentiles::of(&mut calling.micros, 0));
    let p99 = |of: Option<Percentiles>| of.and_then(|of| of.p99).unwrap_or(f64::INFINITY);
    if held.most > held.budget {
        problems.push(format!("calls held {} bytes, of {} allowed", held.most, held.budget));
    }
    let lost = calling.failed + calling.pending() as u64;
    if lost > 0 {
        problems.push(format!("{lost} honest calls brought no answer"));
    }
    if p99(during) > 2.0 * p99(before) {
        problems.push(format!("honest calls took {:.1} ms at p99, {:.1} before", p99(during), p99(before)));
    }
    let blamed =
        calling.network.faults.iter().filter(|seen| seen.whom == HONEST || seen.whom == SERVER).count();
    if blamed > 0 {
        problems.push(format!("honest nodes were blamed {blamed} times"));
    }
    let figures = vec![
        ("call_memory_peak", held.most as f64),
        ("call_memory_budget", held.budget as f64),
        ("honest_calls_answered", answered as f64),
        ("honest_p99_ms_before", p99(before)),
        ("honest_p99_ms_during", p99(during)),
    ];
    Ok(Measured {
        spread: Spread {
            submitted: u64::from(count) * 2,
            missing: lost,
            latency: during,
            ..Spread::default()
        },
        figures,
        problems,
        ..Measured::of(calling.network)
    })
}
