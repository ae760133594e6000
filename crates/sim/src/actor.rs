//! A node of a simulated network: a bare stack and the simplest application that can use it.
//!
//! The application accepts what its [`Checking`] says, rejects what is [invalid](crate::flood::invalid), adopts the highest tip, and
//! notes everything else for the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::{Keypair, PeerId};
use weir_base::{Instant, Rng};
use weir_pull::ChannelId;
use weir_stack::{Command, Config, ConfigError, Event, Shape, Stack, Ticket, pool, tip};

use crate::bodies::Bodies;
use crate::host::{Birth, Node, NodeId};
use crate::load::{is_invalid, number_of, transaction};

/// Numbers of planned commands; those of transactions are below.
const INTENDED: u64 = 1 << 32;

/// How long an application takes to decide on a candidate, and what it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checking {
    /// Accepts at once.
    AtOnce,
    /// Accepts after this time.
    After(Duration),
    /// Accepts transactions whose number `of` divides after `slow`, the others at once.
    SomeSlow {
        /// One in so many.
        of: u32,
        /// How long these take.
        slow: Duration,
    },
    /// Half is accepted at once; the other half deferred for this time, again and again.
    Deferring(Duration),
    /// Takes candidates and never decides.
    Never,
}

/// What happened at a node.
#[derive(Clone, Debug)]
pub enum Note {
    /// It accepted an item.
    Accepted {
        /// SHA-256 of its bytes.
        id: [u8; 32],
        /// Its bytes.
        bytes: Bytes,
    },
    /// A planned transaction was due.
    Planned {
        /// Its number.
        number: u64,
        /// Whether its pool took it.
        inserted: bool,
    },
    /// An item left its pool.
    Evicted {
        /// SHA-256 of its bytes.
        id: [u8; 32],
    },
    /// It adopted a tip, or was given the one it has already.
    Tip {
        /// The value.
        value: Bytes,
        /// Whether it is new here.
        adopted: bool,
        /// Who sent it.
        peer: PeerId,
    },
    /// Anything else its stack told.
    Told(Event),
}

/// Candidates that an application has and did not decide on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecided {
    /// How many.
    pub items: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// What a node has to tell, and when each of it happened.
pub type Told = Vec<(Instant, Note)>;

/// A stack and its application.
pub struct Actor {
    stack: Stack,
    id: NodeId,
    rng: Rng,
    checking: Checking,
    decisions: Decisions,
    shared: Shared,
    best: Bytes,
    wrong: BTreeSet<Bytes>,                // tips that proved wrong
    notes: Vec<(Instant, Note)>,           // with the time on its clock
    load: Option<(ChannelId, u64)>,        // where planned transactions go, and their seed
    intended: BTreeMap<u64, Box<Command>>, // by the number of what its computer planned
    counts: Counts,
}

/// What it shares with other nodes.
struct Shared {
    bodies: Option<Arc<Bodies>>, // of all nodes
    rules: BTreeMap<ChannelId, pool::Rules>,
}

/// What it counts.
#[derive(Default)]
struct Counts {
    verdicts: u64, // since the host last asked
    undecided: Undecided,
    looks: u32, // at its tables
}

/// Decisions to come, by their time and in the order in which they were planned.
#[derive(Default)]
struct Decisions {
    list: BTreeMap<(Instant, u64), Decision>,
    serial: u64,
}

struct Decision {
    channel: ChannelId,
    ticket: Ticket,
    id: [u8; 32],
    bytes: Bytes,
    verdict: pool::Verdict,
}

impl Actor {
    /// A node as `config` says, with the key that belongs to its number.
    ///
    /// # Errors
    /// Those of `Stack::new`.
    pub fn new(
        birth: &Birth,
        config: Arc<Config>,
        checking: Checking,
    ) -> Result<(Self, PeerId), ConfigError> {
        Self::with_key(birth, config, checking, keypair(birth.id))
    }

    /// As [`new`](Self::new), with another key.
    ///
    /// # Errors
    /// Those of `Stack::new`.
    pub fn with_key(
        birth: &Birth,
        config: Arc<Config>,
        checking: Checking,
        keypair: Keypair,
    ) -> Result<(Self, PeerId), ConfigError> {
        let peer = keypair.peer_id();
        let mut rng = Rng::new(birth.seed);
        let seed = rng.bytes();
        let pools = config.profile.channels.iter().filter_map(|channel| match &channel.shape {
            Shape::Pool(pool) => Some((channel.id, pool.rules)),
            _ => None,
        });
        let shared = Shared { bodies: None, rules: pools.collect() };
        let actor = Self {
            stack: Stack::new(config, keypair, seed, birth.start)?,
            id: birth.id,
            rng: rng.child("application"),
            checking,
            decisions: Decisions::default(),
            shared,
            best: Bytes::new(),
            wrong: BTreeSet::new(),
            notes: Vec::new(),
            load: None,
            intended: BTreeMap::new(),
            counts: Counts::default(),
        };
        Ok((actor, peer))
    }

    /// It has the bodies of items in the memory that is common to all nodes from now on.
    pub(crate) fn set_bodies(&mut self, bodies: Arc<Bodies>) {
        self.shared.bodies = Some(bodies);
    }

    /// Its number.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What its application decides from now on.
    pub fn set_checking(&mut self, checking: Checking) {
        self.checking = checking;
    }

    /// The tip it holds for the best.
    pub fn best(&self) -> &Bytes {
        &self.best
    }

    /// What it was given and did not decide on. What an application that never decides was given is not counted: the stack
    /// defers it.
    pub fn undecided(&self) -> Undecided {
        self.counts.undecided
    }

    /// Somebody looks at it; whether it is one in so many times, the first among them.
    pub(crate) const fn looked(&mut self, one_in: u32) -> bool {
        self.counts.looks = (self.counts.looks + 1) % one_in;
        self.counts.looks == 1
    }

    /// What happened since the last call, in order, each with the time on this node's clock.
    pub fn take_notes(&mut self) -> Vec<(Instant, Note)> {
        std::mem::take(&mut self.notes)
    }

    /// Transactions that are planned for this node go into this pool; `seed` is that of
    /// [`transaction`](crate::flood::transaction).
    pub fn set_load(&mut self, channel: ChannelId, seed: u64) {
        self.load = Some((channel, seed));
    }

    /// Its stack gets this command when its computer has what it planned under the number returned: once, and dropped where the stack
    /// refuses it.
    pub(crate) fn intend(&mut self, command: Command) -> u64 {
        let number = self.intended.last_key_value().map_or(INTENDED, |(last, _)| last + 1);
        self.intended.insert(number, Box::new(command));
        number
    }

    /// Puts an item into its pool; whether the pool took it.
    pub fn insert(&mut self, now: Instant, channel: ChannelId, bytes: Bytes) -> bool {
        let command = Command::Pull(weir_pull::Command::Pool(channel, pool::Command::Insert { bytes }));
        self.stack.command(now, command).is_ok()
    }

    /// Publishes a tip of its own.
    ///
    /// # Errors
    /// Those of the stack.
    pub fn publish(
        &mut self,
        now: Instant,
        channel: ChannelId,
        value: Bytes,
    ) -> Result<Ticket, weir_stack::Refused> {
        self.best = value.clone();
        let command = tip::Command::Publish { grounds: grounds(&value), value };
        self.stack.command(now, Command::Pull(weir_pull::Command::Tip(channel, command)))
    }

    fn pool(&mut self, now: Instant, channel: ChannelId, command: pool::Command) {
        // a ticket may have ended meanwhile: its item was removed, or decided by time
        drop(self.stack.command(now, Command::Pull(weir_pull::Command::Pool(channel, command))));
    }

    fn candidate(&mut self, now: Instant, channel: ChannelId, ticket: Ticket, id: [u8; 32], bytes: Bytes) {
        let (after, verdict) = match self.checking {
            Checking::AtOnce => (Duration::ZERO, pool::Verdict::Accept),
            Checking::After(pause) => (pause, pool::Verdict::Accept),
            Checking::SomeSlow { of, slow } => {
                let chosen = number_of(&bytes).is_some_and(|number| number % of.max(1) == 0);
                (if chosen { slow } else { Duration::ZERO }, pool::Verdict::Accept)
            }
            Checking::Deferring(pause) => {
                let verdict =
                    if self.rng.chance(1, 2) { pool::Verdict::Accept } else { pool::Verdict::Defer(pause) };
                (Duration::ZERO, verdict)
            }
            Checking::Never => return,
        };
        let verdict = if is_invalid(&bytes) { pool::Verdict::Reject } else { verdict };
        self.pool(now, channel, pool::Command::Taken { ticket, at: now });
        let bytes = self.keep(now, channel, ticket, &id, bytes);
        self.counts.undecided.items += 1;
        self.counts.undecided.bytes += bytes.len() as u64;
        let decision = Decision { channel, ticket, id, bytes, verdict };
        if after.is_zero() {
            return self.decide(now, decision);
        }
        self.decisions.serial += 1;
        self.decisions.list.insert((now + after, self.decisions.serial), decision);
    }

    /// Has a candidate's item where all nodes have it. Returns its bytes.
    fn keep(
        &mut self,
        now: Instant,
        channel: ChannelId,
        ticket: Ticket,
        id: &[u8; 32],
        bytes: Bytes,
    ) -> Bytes {
        let make = |rules: &pool::Rules| {
            let summary = (rules.summarize)(&bytes).ok()?;
            Some(pool::Item::new(bytes.clone(), summary, (rules.judge)(&summary)?))
        };
        let rules = self.shared.rules.get(&channel);
        let shared = self
            .shared
            .bodies
            .as_ref()
            .zip(rules)
            .and_then(|(bodies, rules)| bodies.share(id, || make(rules)));
        let Some(item) = shared else { return bytes };
        let bytes = item.bytes().clone();
        self.pool(now, channel, pool::Command::Share { ticket, item });
        bytes
    }

    fn decide(&mut self, now: Instant, decision: Decision) {
        let Decision { channel, ticket, id, bytes, verdict } = decision;
        self.counts.verdicts += 1;
        self.counts.undecided.items -= 1;
        self.counts.undecided.bytes -= bytes.len() as u64;
        self.pool(now, channel, pool::Command::Verdict { ticket, at: now, verdict });
        if verdict == pool::Verdict::Accept {
            self.notes.push((now, Note::Accepted { id, bytes }));
        }
    }

    /// A tip proved wrong: it is never adopted again. Where it is the one that is held for the best there is none until another is heard
    /// of, and those that have it are told.
    pub fn disprove(&mut self, now: Instant, channel: ChannelId, value: &Bytes) {
        self.wrong.insert(value.clone());
        if self.best != *value {
            return;
        }
        self.best = Bytes::new();
        let command = weir_pull::Command::Tip(channel, tip::Command::Withdraw);
        drop(self.stack.command(now, Command::Pull(command))); // refused only where the channel is no tip
    }

    fn tip(&mut self, now: Instant, channel: ChannelId, ticket: Ticket, value: Bytes, peer: PeerId) {
        let adopted = value > self.best && !self.wrong.contains(&value);
        let verdict = if adopted {
            self.best = value.clone();
            tip::Verdict::Adopt(grounds(&value))
        } else {
            tip::Verdict::Ignore
        };
        self.counts.verdicts += 1;
        let command = tip::Command::Verdict { ticket, verdict };
        drop(self.stack.command(now, Command::Pull(weir_pull::Command::Tip(channel, command))));
        self.notes.push((now, Note::Tip { value, adopted, peer }));
    }
}

impl Node for Actor {
    fn stack(&mut self) -> &mut Stack {
        &mut self.stack
    }

    fn turned(&mut self, now: Instant) -> bool {
        let mut acted = false;
        while let Some(entry) = self.decisions.list.first_entry().filter(|entry| entry.key().0 <= now) {
            let decision = entry.remove();
            self.decide(now, decision);
            acted = true;
        }
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Pool(channel, pool::Event::Candidate { ticket, id, bytes, .. }) => {
                    self.candidate(now, channel, ticket, id, bytes);
                    acted = true;
                }
                Event::Pool(_, pool::Event::Evicted { id }) => self.notes.push((now, Note::Evicted { id })),
                Event::Tip(channel, tip::Event::Received { ticket, value, peer, .. }) => {
                    self.tip(now, channel, ticket, value, peer);
                    acted = true;
                }
                Event::Rtt { .. } => {}
                other => self.notes.push((now, Note::Told(other))),
            }
        }
        acted
    }

    fn planned(&mut self, now: Instant, number: u64) {
        if let Some(command) = self.intended.remove(&number) {
            return drop(self.stack.command(now, *command));
        }
        let Some((channel, seed)) = self.load else { return };
        let bytes = transaction(u32::try_from(number).unwrap_or(u32::MAX), seed);
        let inserted = self.insert(now, channel, bytes);
        self.notes.push((now, Note::Planned { number, inserted }));
    }

    fn verdicts(&mut self) -> u64 {
        std::mem::take(&mut self.counts.verdicts)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.decisions.list.first_key_value().map(|((due, _), _)| *due)
    }
}

/// The key of node `id`: the same in every run, so that a seed changes what happens and not who is who.
pub fn keypair(id: NodeId) -> Keypair {
    let mut rng = Rng::from_number(u64::from(id.0));
    Keypair::ed25519_from_seed(rng.child("identity").bytes())
}

/// A tip that competes with nothing: its slot is the hash of its bytes, as far as 32 bytes go.
fn grounds(value: &Bytes) -> tip::Grounds {
    let mut slot = [0; 32];
    value.iter().zip(&mut slot).for_each(|(byte, place)| *place = *byte);
    tip::Grounds { slot: tip::SlotKey(slot), unvalidated: 0, begins: None }
}
