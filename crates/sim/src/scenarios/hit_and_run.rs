//! Hit and run. Four peers of one network deliver items that everybody rejects, leave before these are checked, and come again as
//! somebody else from another address of their network, each at its own time. Honest nodes agree as if nobody had come, blame nobody
//! else, and ban who it was: each identity, and where links have addresses the whole network.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Measured, Run, RunError};
use crate::actor::Checking;
use crate::flood::{Flood, Load, TXS, invalid, pool_channel, pool_of};
use crate::host::{Node as _, NodeId, Step};
use crate::misbehave::{Again, Leave, Visit, Visitors, Visits};
use crate::model::Place;
use crate::network::{Seen, Transport};

/// Those who come and go.
const VISITORS: u32 = 4;

/// Items that each brings, each time: five times as many as ban an identity.
const BROUGHT: u32 = 50;

/// Long enough to link and to deliver, too short for all that was delivered to be checked.
const STAYS: Duration = Duration::from_secs(1);
const AWAY: Duration = Duration::from_millis(500);

/// What one check takes, one after the other: the honest load takes a tenth of a node's time.
const CHECK: Duration = Duration::from_millis(2);
const RATE: u32 = 50;

/// Latency at p99 may be so many times what it is without them.
const SLOWER: f64 = 3.0;

/// What came of a load.
struct Outcome {
    flood: Flood,
    visits: u32,
}

impl Outcome {
    fn p99(&self) -> f64 {
        self.flood.latency(99).unwrap_or(f64::INFINITY)
    }

    /// Honest nodes that are linked with one of the visitors, and those that have banned a network.
    fn linked_and_banning(&mut self) -> (usize, usize) {
        let hostile = self.flood.hostile.clone();
        let honest: Vec<NodeId> = self.flood.net.host.ids().filter(|id| !hostile.contains(id)).collect();
        let (mut linked, mut banning) = (0, 0);
        for id in honest {
            let banned =
                |actor: &mut crate::actor::Actor| actor.stack().peers().banned_networks().count() > 0;
            banning += usize::from(self.flood.net.host.node(id).is_some_and(banned));
            linked += usize::from(self.flood.net.linked_to(id).iter().any(|peer| hostile.contains(peer)));
        }
        (linked, banning)
    }
}

/// The load, with visitors or without.
fn load(run: &Run<'_>, visited: bool) -> Result<Outcome, RunError> {
    let options = run.options;
    let mut setup = run.setup(run.nodes, options.links, vec![pool_channel()]);
    setup.checking = Checking::After(CHECK);
    if let Some(pool) = pool_of(&mut setup.config) {
        pool.checking = 1;
    }
    let load = Load {
        rate: options.rate.unwrap_or(RATE),
        seconds: options.seconds,
        deadline: options.deadline(),
        ..Load::default()
    };
    let mut flood = Flood::new(setup, load)?;
    let honest: Vec<NodeId> = flood.net.host.ids().collect();
    flood.net.link_up();
    let mut visitors = Visitors::default();
    if visited {
        let (leaves, again) = (Leave::Disconnect, Again::SomebodyElseNearby);
        for _ in 0..VISITORS {
            let first = visitors.ids().next();
            let visits = Visits { whom: honest.clone(), stays: STAYS, away: AWAY, leaves, again };
            let id = visitors.add(&mut flood.net, Place::NEAR, first, visits)?;
            flood.hostile.insert(id);
        }
    }
    flood.start();
    let (limit, mut visits) = (flood.deadline(), 0);
    while flood.spread_done().is_none() {
        let Some(step) = flood.net.host.step(limit) else { break };
        if let Step::Timer(number) = step
            && let Some(visit) = visitors.timer(&mut flood.net, number)?
        {
            if let Visit::Came { id, .. } = visit {
                bring(&mut flood, id, visits * BROUGHT);
                visitors.dial(&mut flood.net, id);
                visits += 1;
            }
            continue;
        }
        flood.advance(step, &mut |_, _, _| {});
    }
    Ok(Outcome { flood, visits })
}

/// A visitor has items that nobody has seen before.
fn bring(flood: &mut Flood, id: NodeId, first: u32) {
    let seed = flood.net.setup().seed;
    for number in first..first + BROUGHT {
        // a pool that is new has room for all
        flood.net.host.with(id, |actor, now| actor.insert(now, TXS, invalid(number, seed)));
    }
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let alone = load(run, false)?;
    let mut problems: Vec<String> =
        alone.flood.problems().into_iter().map(|problem| format!("without them: {problem}")).collect();
    let mut outcome = load(run, true)?;
    problems.extend(outcome.flood.problems());
    let (usual, during) = (alone.p99(), outcome.p99());
    let (linked, banning) = outcome.linked_and_banning();
    let Outcome { mut flood, visits } = outcome;
    let unjust = flood.net.faults_between_honest(&flood.hostile).count();
    let blamed: Vec<&Seen> =
        flood.net.faults.iter().filter(|seen| flood.hostile.contains(&seen.whom)).collect();
    let bans = blamed.iter().filter(|seen| seen.banned).count();
    let blaming: BTreeSet<NodeId> = blamed.iter().map(|seen| seen.by).collect();
    if during > usual * SLOWER {
        problems.push(format!("p99 {during:.1} ms, without them {usual:.1} ms"));
    }
    if unjust > 0 {
        problems.push(format!("honest nodes blamed each other {unjust} times"));
    }
    if blaming.len() < run.nodes as usize || bans == 0 {
        problems.push(format!(
            "{} of {} nodes blamed them, and banned {bans} identities",
            blaming.len(),
            run.nodes
        ));
    }
    // wires have no address, and no network that could be banned
    if run.options.transport != Transport::Frames && (banning < run.nodes as usize || linked > 0) {
        problems.push(format!(
            "{banning} of {} nodes banned their network, {linked} are linked with them",
            run.nodes
        ));
    }
    let figures = vec![
        ("identities", f64::from(visits)),
        ("faults_of_theirs", blamed.len() as f64),
        ("identities_banned", bans as f64),
        ("nodes_that_banned_their_network", banning as f64),
        ("nodes_linked_with_them", linked as f64),
        ("p99_ms", during),
        ("p99_ms_without_them", usual),
    ];
    let spread = flood.spread();
    Ok(Measured { spread, figures, problems, ..Measured::of(flood.net) })
}
