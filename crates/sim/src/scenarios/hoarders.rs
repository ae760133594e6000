//! Credit hoarders: a node calls 64 peers for megabytes; each sends the beginning of its answers, so that credit is lent to it, and
//! then nothing, or a byte every five seconds. Over QUIC, where frames cannot be held back, they hang. An honest peer's 59
//! megabytes come nevertheless, and what was advertised never exceeds what there is.

use std::time::Duration;

use weir_stack::call;

use super::calls::{self, CALLS, Calling, Counted, LARGEST};
use super::{Measured, Run, RunError};
use crate::host::{Node as _, NodeId};
use crate::misbehave::Trickler;
use crate::model::{Model, Place, Region};
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

/// Within this time the transfer is to have reached its share.
const SHARE: Duration = Duration::from_secs(30);

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
    let limit = begun + SHARE * 4;
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

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let options = run.options;
    let patient = call::Config { deadline: Duration::from_secs(600), ..call::Config::default() };
    let mut setup = calls::setup(options, run.nodes, patient);
    // so far away that the base window alone would take minutes, and nothing but windows in the way
    setup.place = |number, _| if number == HONEST.0 { FAR } else { Place::NEAR };
    setup.model = Model::calm();
    let mut calling = Calling::new(setup)?;
    let hostile: Vec<NodeId> = calling.network.host.ids().skip(2).collect();
    let frames = options.transport == Transport::Frames;
    if frames {
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
    let mut problems = Vec::new();
    if !calling.link_all_to(READER) {
        problems.push("some links did not come up".into());
    }
    let mut ledger = Ledger::default();
    let (before, _) = transfer(&mut calling, &mut ledger);
    for id in &hostile {
        (0..BEGUN).for_each(|_| calling.ask(READER, *id, LARGEST, Counted::No));
    }
    calling.run(
        Duration::from_millis(if frames { 2_000 } else { 45 }),
        READER,
        |network| ledger.look(network),
        |_| false,
    );
    if !frames {
        hostile.iter().for_each(|id| calling.network.host.computer(*id).hang());
    }
    let hoarded =
        calling.network.host.node(READER).map_or(0, |actor| actor.stack().stats().link.receive.lent);
    let (during, missing) = transfer(&mut calling, &mut ledger);
    if missing > 0 {
        problems.push(format!("{missing} of the honest peer's megabytes never came"));
    }
    if during > SHARE + before * 2 {
        problems.push(format!("the honest transfer took {during:?}, without hoarders {before:?}"));
    }
    if ledger.broken {
        problems.push("more was advertised than there is".into());
    }
    let blamed = calling.network.faults.iter().filter(|seen| seen.whom == HONEST).count();
    if blamed > 0 {
        problems.push(format!("the honest peer was blamed {blamed} times"));
    }
    let figures = vec![
        ("transfer_s_before", before.as_secs_f64()),
        ("transfer_s_during", during.as_secs_f64()),
        ("hoarded_bytes", hoarded as f64),
        ("lent_bytes_peak", ledger.lent as f64),
    ];
    Ok(Measured {
        submitted: u64::from(FEED) * 2,
        missing,
        figures,
        problems,
        ..Measured::of(calling.network)
    })
}
