//! One signer publishes a thousand headers a second for one height, each valid by itself and without a body. Honest nodes relay a header
//! before they have its body, and take it back when no body comes. Of that height no link between honest nodes carries more than
//! two headers, nobody honest is blamed, and all agree on the next block that has a body.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use weir_base::Instant;
use weir_stack::{Command, tip};

use super::tips::{TIPS, channel};
use super::{Measured, Run, RunError};
use crate::actor::Note;
use crate::flood::Spread;
use crate::host::{Node as _, NodeId, Step};
use crate::network::Network;

const SIGNER: NodeId = NodeId(0);

/// Headers of the signer in a second.
const RATE: u32 = 1_000;

/// How long a node looks for a body before it takes the header back.
const BODY: Duration = Duration::from_millis(200);

/// The height that the signer signs again and again, and that of the next block.
const FORKED: u64 = 7;
const NEXT: u64 = 8;

/// Timers from here on say that a body did not come.
const BODIES: u64 = 1 << 32;

/// A header: its first 32 bytes, which are its slot key, name height and signer.
fn header(height: u64, signer: u32, number: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(200);
    bytes.put_u64(height);
    bytes.put_u32(signer);
    bytes.resize(32, 0);
    bytes.put_u64(number);
    bytes.resize(200, 0);
    bytes.freeze()
}

/// What honest nodes saw of the signer's headers.
struct Seen {
    network: Network,
    waiting: Vec<(NodeId, Bytes)>,
    relayed: BTreeMap<(NodeId, NodeId), u64>, // by sender and receiver, both honest
    taken: u64,
    withdrawn: u64,
}

impl Seen {
    fn note(&mut self, id: NodeId, note: Note) {
        let Note::Tip { value, adopted, peer } = note else { return };
        if !value.starts_with(&FORKED.to_be_bytes()) {
            return;
        }
        let from = self.network.of_peer(&peer).unwrap_or(SIGNER);
        if from != SIGNER {
            *self.relayed.entry((from, id)).or_default() += 1;
        }
        if adopted {
            self.taken += 1;
            let number = BODIES + self.waiting.len() as u64;
            self.waiting.push((id, value));
            self.network.host.timer(self.network.host.now() + BODY, number);
        }
    }

    /// No body came: the header is wrong, and taken back where it is still the tip.
    fn give_up(&mut self, number: u64) -> Option<NodeId> {
        let index = usize::try_from(number.checked_sub(BODIES)?).ok()?;
        let (id, value) = self.waiting.get(index)?.clone();
        let held = self.network.host.with(id, |actor, now| {
            let held = *actor.best() == value;
            actor.disprove(now, TIPS, &value);
            held
        });
        self.withdrawn += u64::from(held == Some(true));
        Some(id)
    }

    fn sign(&mut self, number: u64) {
        let value = header(FORKED, SIGNER.0, number);
        // a slot key of its own, so that the signer's own node lets it out
        let mut slot = [0; 32];
        slot[..8].copy_from_slice(&number.to_le_bytes());
        let grounds = tip::Grounds { slot: tip::SlotKey(slot), unvalidated: 0, begins: None };
        let publish = weir_pull::Command::Tip(TIPS, tip::Command::Publish { value, grounds });
        // what its node refuses it does not send: `taken` would tell
        self.network.host.with(SIGNER, |actor, now| drop(actor.stack().command(now, Command::Pull(publish))));
    }

    /// Lets time pass until `done`.
    fn run(&mut self, until: Instant, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while !done(self) {
            let Some(step) = self.network.host.step(until) else { return false };
            let turned = match step {
                Step::Timer(number) if number >= BODIES => self.give_up(number),
                Step::Timer(number) => {
                    self.sign(number);
                    None
                }
                Step::Turned(id) => Some(id),
                Step::Network => None,
            };
            for (id, note) in turned.map(|id| self.network.notes_of(id)).unwrap_or_default() {
                self.note(id, note);
            }
        }
        true
    }

    /// Honest nodes whose tip is not this one.
    fn without(&mut self, value: &Bytes) -> u64 {
        let honest: Vec<NodeId> = self.network.host.ids().filter(|id| *id != SIGNER).collect();
        let lacks = |id: &NodeId| self.network.host.node(*id).is_none_or(|actor| actor.best() != value);
        honest.into_iter().filter(lacks).count() as u64
    }
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let options = run.options;
    let mut network = Network::new(run.setup(run.nodes, options.links, vec![channel()]))?;
    let mut problems = Vec::new();
    network.link_up();
    let begin = network.host.now() + Duration::from_secs(1);
    let count = options.seconds * RATE;
    (0..count)
        .for_each(|number| network.host.timer(begin + Duration::from_millis(1) * number, number.into()));
    let (waiting, relayed) = (Vec::new(), BTreeMap::new());
    let mut seen = Seen { network, waiting, relayed, taken: 0, withdrawn: 0 };
    seen.run(begin + Duration::from_secs(options.seconds.into()), |_| false);
    let next = header(NEXT, 1, 0);
    let author = NodeId(run.nodes - 1);
    let submitted = seen.network.host.now();
    let value = next.clone();
    // its slot is free: `without` would tell
    seen.network.host.with(author, |actor, now| drop(actor.publish(now, TIPS, value)));
    let agreed = seen.run(submitted + options.deadline(), |seen| seen.without(&next) == 0);
    let missing = seen.without(&next);
    let most = seen.relayed.values().copied().max().unwrap_or(0);
    if !agreed {
        problems.push(format!("{missing} nodes do not hold the next block's header"));
    }
    if most > 2 {
        problems.push(format!("a link between honest nodes carried {most} headers of one height and signer"));
    }
    if seen.taken == 0 {
        problems.push("no header of the signer was taken by anybody".into());
    }
    let blamed = seen.network.faults.iter().filter(|fault| fault.whom != SIGNER).count();
    if blamed > 0 {
        problems.push(format!("honest nodes were blamed {blamed} times"));
    }
    let converged = agreed.then(|| seen.network.host.now().since(submitted));
    let figures = vec![
        ("headers_signed", f64::from(count)),
        ("headers_per_link", most as f64),
        ("headers_taken", seen.taken as f64),
        ("headers_withdrawn", seen.withdrawn as f64),
    ];
    let spread = Spread { submitted: 1, converged, missing, ..Spread::default() };
    Ok(Measured { spread, figures, problems, ..Measured::of(seen.network) })
}
