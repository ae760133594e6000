//! What scenarios of calls share: nodes that answer whatever they are asked at once, and what honest calls took.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use weir_base::{Instant, MIB};
use weir_pull::ChannelId;
use weir_stack::{Channel, Command, ConfigError, Event, Shape, Target, Ticket, call};

use super::Run;
use crate::actor::Note;
use crate::host::{Node as _, NodeId, Step};
use crate::model::Place;
use crate::network::{Network, Setup};

/// The call channel. A request begins with the size of the answer it wants, in four bytes.
pub(super) const CALLS: ChannelId = ChannelId(3);

/// The largest answer.
pub(super) const LARGEST: usize = MIB;

/// How long links may take to come up.
const LINKING: Duration = Duration::from_secs(20);

/// So many nodes in data centres near each other, with a call channel.
pub(super) fn setup(run: &Run<'_>, nodes: u32, calls: call::Config) -> Setup {
    let channel =
        Channel { id: CALLS, name: "call".into(), version: 1, oldest: 1, shape: Shape::Call(calls) };
    let mut setup = run.setup(nodes, 0, vec![channel]);
    setup.place = |_, _| Place::NEAR;
    setup.config.admission.max_inbound = 100; // so that each of a hundred finds a place
    setup.config.admission.max_half_open = 128; // they all come at once
    setup
}

/// A network in which nodes call each other.
pub(super) struct Calling {
    pub(super) network: Network,
    /// Of the calls that [`ask`](Self::ask) counts: how long those that brought an answer took, in microseconds.
    pub(super) micros: Vec<u32>,
    /// Of these, those that brought none.
    pub(super) failed: u64,
    pending: BTreeMap<(NodeId, Ticket), Instant>,
    answers: Bytes,
}

impl Calling {
    /// The nodes of `setup`, not linked yet.
    pub(super) fn new(setup: Setup) -> Result<Self, ConfigError> {
        let network = Network::new(setup)?;
        let (micros, failed, pending) = (Vec::new(), 0, BTreeMap::new());
        Ok(Self { network, micros, failed, pending, answers: vec![7; LARGEST].into() })
    }

    /// Everybody dials `node`; whether all are linked in time.
    pub(super) fn link_all_to(&mut self, node: NodeId) -> bool {
        let others: Vec<NodeId> = self.network.host.ids().filter(|id| *id != node).collect();
        let limit = self.network.host.now() + LINKING;
        others.iter().for_each(|other| self.network.dial(*other, node));
        while self.network.up() < 2 * others.len() as u64 {
            let Some(step) = self.network.host.step(limit) else { return false };
            self.network.notes(step);
        }
        true
    }

    /// One node calls another for so many bytes. What comes of it counts where it is `counted`, also where it cannot begin.
    pub(super) fn ask(&mut self, by: NodeId, of: NodeId, bytes: usize, counted: Counted) {
        let Some(peer) = self.network.host.world().peer(of) else { return };
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut request = size.to_le_bytes().to_vec();
        request.resize(64, 0);
        let call = Command::CallTarget {
            channel: CALLS,
            target: Target::Peer(peer),
            request: request.into(),
            deadline: None,
        };
        let now = self.network.host.now();
        let ticket = self.network.host.with(by, |actor, now| actor.stack().command(now, call));
        let Some(Ok(ticket)) = ticket else {
            self.failed += u64::from(counted == Counted::Yes);
            return;
        };
        if counted == Counted::Yes {
            self.pending.insert((by, ticket), now);
        }
    }

    /// Calls that were counted and have not ended.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Lets time pass, until `done` at most; every request is answered at once. `look` sees the network after each step of `node`.
    pub(super) fn run(
        &mut self,
        pause: Duration,
        node: NodeId,
        mut look: impl FnMut(&mut Network),
        mut done: impl FnMut(&Self) -> bool,
    ) {
        let limit = self.network.host.now() + pause;
        while !done(self) {
            let Some(step) = self.network.host.step(limit) else { return };
            if step == Step::Turned(node) {
                look(&mut self.network);
            }
            for (id, note) in self.network.notes(step) {
                self.note(id, note);
            }
        }
    }

    fn note(&mut self, id: NodeId, note: Note) {
        match note {
            Note::Told(Event::Call(CALLS, call::Event::Request { ticket, request, .. })) => {
                let size = request.first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
                let response = Ok(self.answers.slice(..size.min(LARGEST)));
                self.network.host.with(id, |actor, now| {
                    let taken = call::Command::Taken { ticket, at: now };
                    let answer = call::Command::Answer { ticket, at: now, response };
                    for command in [taken, answer] {
                        // it may have been cancelled meanwhile
                        drop(
                            actor
                                .stack()
                                .command(now, Command::Pull(weir_pull::Command::Call(CALLS, command))),
                        );
                    }
                });
            }
            Note::Told(Event::Answer { ticket, result, .. }) => {
                let Some(begun) = self.pending.remove(&(id, ticket)) else { return };
                let took = self.network.host.now().since(begun);
                match result {
                    Ok(_) => self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)),
                    Err(_) => self.failed += 1,
                }
            }
            _ => {}
        }
    }
}

/// Whether a call is one of those that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Yes,
    No,
}
