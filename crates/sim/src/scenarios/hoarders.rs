//! Credit hoarders: a node calls 64 peers for megabytes; each sends the beginning of its answers, so that credit is lent to it, and
//! then nothing, or a byte every five seconds. Over QUIC, where frames cannot be held back, they hang, or have lines of 8 kB/s. An honest
//! peer's 59 megabytes come nevertheless, and what was advertised never exceeds what there is.

use std::time::Duration;

use weir_stack::call;

use super::calls::{self, CALLS, Calling, Counted, LARGEST};
use super::{Measured, Run, RunError};
use crate::flood::Spread;
use crate::host::{Node as _, NodeId};
use crate::misbehave::Trickler;
use crate::model::{Line, Model, Place, Region};
use crate::network::{Network, Transport};

const READER: NodeId = NodeId(0);
const HONEST: NodeId = NodeId(1);

/// Where the honest peer is.
const FAR: Place = Place { region: Region::Asia, ..Place::NEAR };

/// The honest transfer, in answers of a megabyte, so many asked for at once.
const FEED: u32 = 59;
const AT_ONCE: usize = 4;

/// Answers of each hoarder that are begun.
const BEGUN: u32 = 4;

/// For so long the hoarders may hold the transfer up: their credit comes back after one or two times of the budget's patience of 10 s.
const HELD_UP: Duration = Duration::from_secs(20);

/// A transfer that takes longer than this does not come to an end.
const ENOUGH: Duration = Duration::from_secs(120);

/// How peers keep what was lent to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hoarding {
    /// What they send is held back (over frames).
    HeldBack,
    /// They hang.
    Hang,
    /// Their lines are so slow that what they were lent for takes minutes.
    SlowLines,
}

/// What became of the honest transfer, alone and beside hoarders.
struct Outcome {
    network: Network,
    before: Duration,
    during: Duration,
    missing: u64,
    hoarded: u64,
    lent: u64,
}

/// What was lent at most, and whether the ledger of windows held after every step.
#[derive(Default)]
struct Ledger {
    lent: u64,
    broken: bool,
}

impl Ledger {
    fn look(&mut self, network: &mut Network) {
        let Some(actor) = network.host.node(READER) else { return };
        let stats = actor.stack().stats();
        self.lent = self.lent.max(stats.link.receive.lent);
        self.broken |= !stats.windows_hold();
    }
}

/// The honest transfer; how long it took, and how many answers are missing.
fn transfer(calling: &mut Calling, ledger: &mut Ledger) -> (Duration, u64) {
    let begun = calling.network.host.now();
    let limit = begun + ENOUGH;
    calling.micros.clear();
    let mut asked = 0;
    while calling.micros.len() < FEED as usize && calling.network.host.now() < limit {
        while asked < FEED && calling.pending() < AT_ONCE {
            calling.ask(READER, HONEST, LARGEST, Counted::Yes);
            asked += 1;
        }
        let ended = calling.micros.len();
        let left = limit.since(calling.network.host.now());
        calling.run(left, READER, |network| ledger.look(network), |calling| calling.micros.len() > ended);
    }
    let missing = u64::from(FEED) - calling.micros.len() as u64;
    (calling.network.host.now().since(begun), missing)
}

/// Where the nodes are: the honest peer so far away that the base window alone would take minutes.
fn place(number: u32, _: &mut weir_base::Rng) -> Place {
    if number == HONEST.0 { FAR } else { Place::NEAR }
}

/// As [`place`], and the hoarders' lines carry 8 kB/s.
fn slow_lines(number: u32, rng: &mut weir_base::Rng) -> Place {
    let usual = place(number, rng);
    let up = if number > HONEST.0 { 64_000 } else { usual.line.up };
    Place { line: Line { up, ..usual.line }, ..usual }
}

/// The honest transfer alone and then beside hoarders.
fn beside(run: &Run<'_>, how: Hoarding, problems: &mut Vec<String>) -> Result<Outcome, RunError> {
    let patient = call::Config { deadline: Duration::from_secs(600), ..call::Config::default() };
    let mut setup = calls::setup(run, run.nodes, patient);
    setup.place = if how == Hoarding::SlowLines { slow_lines } else { place };
    // nothing but windows is in the way, and no line drops what has to wait
    setup.model = Model { queue: Duration::from_secs(10), ..Model::calm() };
    let mut calling = Calling::new(setup)?;
    let hostile: Vec<NodeId> = calling.network.host.ids().skip(2).collect();
    if how == Hoarding::HeldBack {
        for id in &hostile {
            // half of them: a byte so seldom that none comes
            let every = Duration::from_secs(if id.0 % 2 == 0 { 5 } else { 100_000 });
            calling.network.host.computer(*id).tamper(Box::new(Trickler::new(
                CALLS.protocol(0),
                16 * 1024,
                1,
                every,
            )));
        }
    }
    if !calling.link_all_to(READER) {
        problems.push(format!("{how:?}: some links did not come up"));
    }
    let mut ledger = Ledger::default();
    let (before, _) = transfer(&mut calling, &mut ledger);
    for id in &hostile {
        (0..BEGUN).for_each(|_| calling.ask(READER, *id, LARGEST, Counted::No));
    }
    calling.run(
        Duration::from_millis(if how == Hoarding::Hang { 45 } else { 2_000 }),
        READER,
        |network| ledger.look(network),
        |_| false,
    );
    if how == Hoarding::Hang {
        hostile.iter().for_each(|id| calling.network.host.computer(*id).hang());
    }
    let hoarded =
        calling.network.host.node(READER).map_or(0, |actor| actor.stack().stats().link.receive.lent);
    let (during, missing) = transfer(&mut calling, &mut ledger);
    if missing > 0 {
        problems.push(format!("{how:?}: {missing} of the honest peer's megabytes never came"));
    }
    if during > HELD_UP + before {
        problems.push(format!("{how:?}: the honest transfer took {during:?}, without hoarders {before:?}"));
    }
    if ledger.broken {
        problems.push(format!("{how:?}: more was advertised than there is"));
    }
    let blamed = calling.network.faults.iter().filter(|seen| seen.whom == HONEST).count();
    if blamed > 0 {
        problems.push(format!("{how:?}: the honest peer was blamed {blamed} times"));
    }
    Ok(Outcome { network: calling.network, before, during, missing, hoarded, lent: ledger.lent })
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let mut problems = Vec::new();
    let frames = run.options.transport == Transport::Frames;
    let how = if frames { Hoarding::HeldBack } else { Hoarding::Hang };
    let outcome = beside(run, how, &mut problems)?;
    let mut figures = vec![
        ("transfer_s_before", outcome.before.as_secs_f64()),
        ("transfer_s_during", outcome.during.as_secs_f64()),
        ("hoarded_bytes", outcome.hoarded as f64),
        ("lent_bytes_peak", outcome.lent as f64),
    ];
    let mut missing = outcome.missing;
    if !frames {
        let slow = beside(run, Hoarding::SlowLines, &mut problems)?;
        problems.extend(slow.network.problems());
        figures.push(("transfer_s_beside_slow_lines", slow.during.as_secs_f64()));
        figures.push(("hoarded_bytes_by_slow_lines", slow.hoarded as f64));
        missing += slow.missing;
    }
    Ok(Measured {
        spread: Spread { submitted: u64::from(FEED) * 2, missing, ..Spread::default() },
        figures,
        problems,
        ..Measured::of(outcome.network)
    })
}
