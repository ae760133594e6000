//! A whole network of actors: built, linked, and told what happens at its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::identity::{Keypair, PeerId};
use weir_base::multiaddr::Multiaddr;
use weir_base::{Blame, Fault, Instant, NetworkId, Rng};
use weir_stack::{Channel, Command, Config, ConfigError, Event, Known, Profile, Reaction, Role};

use crate::actor::{Actor, Checking, Note, Told, Undecided, keypair};
use crate::bodies::Bodies;
use crate::check::{Checker, Found, PoolTraffic};
use crate::dials::{Dial, Dials};
use crate::host::{Birth, Host, Node as _, NodeId, Step, Udp};
use crate::links::Links;
use crate::load::Graph;
use crate::look::{Look, Sights, TableBound, most_undecided};
use crate::model::{Model, Place};
use crate::report::{Spent, Stopwatch};

/// How long all links may take to come up.
const LINKING: Duration = Duration::from_secs(30);

/// What carries links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Wires of frames: never lost, readable by the checker.
    #[default]
    Frames,
    /// QUIC over datagrams.
    Quic,
    /// Byte streams, with Noise and yamux: as over TCP.
    Tcp,
}

impl Transport {
    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

/// What a network is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Nodes.
    pub nodes: u32,
    /// Links of each, about.
    pub links: u32,
    /// Who is linked to whom. Default: [`Graph::Expander`].
    pub graph: Graph,
    /// From which ends links are dialled. Default: [`Dials::BothEnds`].
    pub dials: Dials,
    /// Decides everything random.
    pub seed: u64,
    /// What carries links.
    pub transport: Transport,
    /// What paths do.
    pub model: Model,
    /// What every application decides, unless told otherwise.
    pub checking: Checking,
    /// Where a node is, by its number. Default: [`Place::random`].
    pub place: fn(u32, &mut Rng) -> Place,
    /// What every stack may use and speaks.
    pub config: Config,
    /// What is granted is checked at one node of so many. Default: 1, at all.
    pub sample: u32,
    /// The clock on which it is measured what the checker takes. Default: none, and nothing is measured.
    pub stopwatch: Option<Stopwatch>,
    /// Threads that build nodes, and carry them out in windows. The run is the same with any number. Default: 1.
    pub threads: usize,
}

impl Setup {
    /// `nodes` nodes with `links` links each, over frames, on the default model, which speak these channels.
    pub fn new(nodes: u32, links: u32, seed: u64, channels: Vec<Channel>) -> Self {
        let mut config = Config {
            profile: Profile {
                network: NetworkId([7; 32]),
                agent: "weir-sim".into(),
                channels,
                ..Profile::default()
            },
            ..Config::default()
        };
        config.quic.deterministic = true;
        let (transport, checking) = (Transport::Frames, Checking::AtOnce);
        let place = |_, rng: &mut Rng| Place::random(rng);
        let (graph, model, threads) = (Graph::Expander, Model::default(), 1);
        let (dials, sample, stopwatch) = (Dials::BothEnds, 1, None);
        Self {
            nodes,
            links,
            graph,
            dials,
            seed,
            transport,
            model,
            checking,
            place,
            config,
            sample,
            stopwatch,
            threads,
        }
    }
}

/// A fault that one node saw in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// Who blames.
    pub by: NodeId,
    /// Who is blamed.
    pub whom: NodeId,
    /// What for.
    pub fault: Fault,
    /// Whether the peer was banned for it.
    pub banned: bool,
}

/// Nodes that are linked as a random graph, and what they told so far.
pub struct Network {
    /// The nodes and what is between them.
    pub host: Host<Actor>,
    /// Who is linked to whom; the first of two dials where one end does.
    pub edges: Vec<(NodeId, NodeId)>,
    /// Faults so far, but *incompatible* ones.
    pub faults: Vec<Seen>,
    /// What is compared after every turn: bodies that applications have and did not decide on with what pools may hand over, and
    /// over QUIC and TCP, which the checker cannot read, the stacks' exported counters.
    pub compared: Found,
    /// The most that an application may have undecided: what the pools of the setup may hand over.
    pub undecided: Undecided,
    /// The most that tables beside the ledgers may take at a node.
    pub tables: TableBound,
    /// Random choices of the driver.
    pub rng: Rng,
    setup: Setup,
    links: Links,
    looking: Spent, // outside of windows all of it is its own; in them it is within the nodes' time
    common: Common,
    by_peer: BTreeMap<PeerId, NodeId>,
}

/// What all nodes of a network have in common.
#[derive(Clone)]
struct Common {
    config: Arc<Config>,
    bodies: Arc<Bodies>,
}

impl Network {
    /// Puts all nodes in; none is linked yet.
    ///
    /// # Errors
    /// [`ConfigError`] of the stack's configuration.
    pub fn new(setup: Setup) -> Result<Self, ConfigError> {
        let mut rng = Rng::from_number(setup.seed);
        let mut places = rng.child("places");
        let mut host = Host::new(setup.seed, setup.model);
        host.check(Checker::of(&setup.config));
        host.sample(setup.sample);
        setup.stopwatch.into_iter().for_each(|stopwatch| host.measure(stopwatch));
        let edges = setup.graph.edges(setup.nodes, setup.links, &mut rng.child("graph"));
        let edges = edges.into_iter().map(|(one, other)| (NodeId(one), NodeId(other))).collect();
        let config = setup.config.clone();
        let rng = rng.child("driver");
        let (undecided, tables) = (most_undecided(&config), TableBound::of(&config));
        let mut network = Self {
            host,
            edges,
            faults: Vec::new(),
            compared: Found::default(),
            undecided,
            tables,
            rng,
            setup,
            links: Links::default(),
            looking: Spent::default(),
            common: Common { config: Arc::new(config), bodies: Arc::default() },
            by_peer: BTreeMap::new(),
        };
        let places: Vec<Place> =
            (0..network.setup.nodes).map(|number| (network.setup.place)(number, &mut places)).collect();
        let make = network.actors();
        let added = network.host.add_all(&places, network.sockets(), network.setup.threads, |birth| {
            make(birth, keypair(birth.id))
        })?;
        added.into_iter().for_each(|id| network.know(id));
        Ok(network)
    }

    /// Puts one more node in, at this place.
    ///
    /// # Errors
    /// [`ConfigError`] of the stack's configuration.
    pub fn add(&mut self, place: Place) -> Result<NodeId, ConfigError> {
        let make = self.actors();
        let id = self.host.add(place, self.sockets(), |birth| make(&birth, keypair(birth.id)))?;
        self.know(id);
        Ok(id)
    }

    fn sockets(&self) -> Udp {
        if self.setup.transport == Transport::Quic { Udp::Bound } else { Udp::None }
    }

    fn know(&mut self, id: NodeId) {
        if let Some(peer) = self.host.world().peer(id) {
            self.by_peer.insert(peer, id);
        }
    }

    /// What makes nodes of this network.
    fn actors(&self) -> impl Fn(&Birth, Keypair) -> Result<(Actor, PeerId), ConfigError> + use<> {
        let (Common { config, bodies }, checking) = (self.common.clone(), self.setup.checking);
        move |birth, keypair| {
            let (mut actor, peer) = Actor::with_key(birth, Arc::clone(&config), checking, keypair)?;
            actor.set_bodies(Arc::clone(&bodies));
            Ok((actor, peer))
        }
    }

    /// Starts a crashed node again, with its key and these items of a pool, which its application kept.
    ///
    /// # Errors
    /// [`ConfigError`] of the stack's configuration.
    pub fn restart_with(
        &mut self,
        id: NodeId,
        channel: weir_pull::ChannelId,
        items: Vec<bytes::Bytes>,
    ) -> Result<(), ConfigError> {
        let make = self.actors();
        self.host.computer(id).restart(|birth| {
            let (mut actor, peer) = make(&birth, keypair(birth.id))?;
            for item in items {
                // refused only where the pool has become smaller
                actor.insert(birth.now, channel, item);
            }
            Ok((actor, peer))
        })
    }

    /// Starts a crashed node again, with nothing but its key.
    ///
    /// # Errors
    /// [`ConfigError`] of the stack's configuration.
    pub fn restart(&mut self, id: NodeId) -> Result<(), ConfigError> {
        let make = self.actors();
        self.host.computer(id).restart(|birth| make(&birth, keypair(birth.id)))
    }

    /// Starts a crashed node again as somebody else: at its place and addresses, with another key and nothing kept.
    ///
    /// # Errors
    /// [`ConfigError`] of the stack's configuration.
    pub fn replace(&mut self, id: NodeId) -> Result<(), ConfigError> {
        let make = self.actors();
        let keypair = Keypair::ed25519_from_seed(self.rng.child("somebody else").bytes());
        let peer = keypair.peer_id();
        self.host.computer(id).restart(|birth| make(&birth, keypair))?;
        self.by_peer.insert(peer, id);
        Ok(())
    }

    /// What it was made of.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The node with this identity.
    pub fn of_peer(&self, peer: &PeerId) -> Option<NodeId> {
        self.by_peer.get(peer).copied()
    }

    fn address(&self, id: NodeId) -> Multiaddr {
        match self.setup.transport {
            Transport::Frames => Multiaddr::from_memory(u64::from(id.0)),
            Transport::Quic => Multiaddr::from_quic(self.host.world().udp_of(id)),
            Transport::Tcp => Multiaddr::from_tcp(self.host.world().udp_of(id)),
        }
    }

    /// Lets one node dial another.
    pub fn dial(&mut self, one: NodeId, other: NodeId) {
        let (peer, addresses) = (self.host.world().peer(other), vec![self.address(other)]);
        // refused where they are linked already
        self.host.with(one, |actor, now| {
            drop(actor.stack().command(now, Command::Dial { peer, addresses }));
        });
    }

    /// One node's operator names others: it always wants links to them.
    ///
    /// # Errors
    /// [`weir_stack::Refused`] where its address book is full.
    pub fn name(&mut self, one: NodeId, others: &[NodeId]) -> Result<(), weir_stack::Refused> {
        self.add_known(one, others, Role::Persistent)
    }

    /// One node's application has heard of others: it dials them where it wants more links.
    ///
    /// # Errors
    /// [`weir_stack::Refused`] where its address book is full.
    pub fn learn(&mut self, one: NodeId, others: &[NodeId]) -> Result<(), weir_stack::Refused> {
        self.add_known(one, others, Role::Candidate)
    }

    fn add_known(&mut self, one: NodeId, others: &[NodeId], role: Role) -> Result<(), weir_stack::Refused> {
        let known: Vec<Known> = others.iter().map(|other| self.known(*other, role)).collect();
        let named = self.host.with(one, |actor, now| {
            known
                .into_iter()
                .try_for_each(|known| actor.stack().command(now, Command::AddPeer(known)).map(drop))
        });
        named.unwrap_or(Ok(()))
    }

    /// A node as others know it.
    fn known(&self, id: NodeId, role: Role) -> Known {
        Known { peer: self.host.world().peer(id), addresses: vec![self.address(id)], role }
    }

    /// Every node always wants links to those it dials ([`Setup::dials`]), so that what ends comes up again; `false` where some links
    /// are not there after 30 s.
    pub fn name_edges(&mut self) -> bool {
        self.command_edges(|network, other| Command::AddPeer(network.known(other, Role::Persistent)));
        self.wait_for_links(one_step)
    }

    /// A node that was just started wants links to those it dials.
    pub fn name_of(&mut self, id: NodeId) {
        let own = self.dials().into_iter().filter(|dial| dial.by == id);
        let others: Vec<NodeId> = own.map(|dial| dial.whom).collect();
        // its book has room for thousands: a link that is missing would tell otherwise
        drop(self.name(id, &others));
    }

    /// Who a node is linked to and has heard of what it speaks, in the order of the links; nobody where it does not run.
    pub fn linked_to(&mut self, id: NodeId) -> Vec<NodeId> {
        let Self { host, by_peer, .. } = self;
        let Some(actor) = host.node(id) else { return Vec::new() };
        let known = actor.stack().peers().links().filter(|(_, linked)| linked.known.is_some());
        known.filter_map(|(_, linked)| by_peer.get(&linked.info.peer).copied()).collect()
    }

    /// Whether a node has said hello to another and is linked to it.
    pub fn linked(&mut self, one: NodeId, other: NodeId) -> bool {
        let Some(peer) = self.host.world().peer(other) else { return false };
        self.host.node(one).is_some_and(|actor| actor.stack().peers().ready_link(&peer).is_some())
    }

    /// Links that are up, counted at both ends; two between the same nodes once.
    pub fn up(&self) -> u64 {
        self.links.up()
    }

    /// Who dials whom when.
    fn dials(&self) -> Vec<Dial> {
        let (world, Setup { dials, seed, .. }) = (self.host.world(), &self.setup);
        self.edges.iter().flat_map(|edge| dials.of(world, *seed, *edge)).collect()
    }

    /// Gives each node that dials a command for each whom it dials, at its time.
    fn command_edges(&mut self, make: impl Fn(&Self, NodeId) -> Command) {
        let begin = self.host.now();
        for Dial { by, whom, after } in self.dials() {
            let command = make(self, whom);
            if after.is_zero() {
                // refused where they are linked already
                self.host.with(by, |actor, now| drop(actor.stack().command(now, command)));
            } else if let Some(actor) = self.host.node(by) {
                let number = actor.intend(command);
                self.host.computer(by).plan(begin + after, number);
            }
        }
    }

    /// Has all edges dialled ([`Setup::dials`]).
    pub fn dial_edges(&mut self) {
        self.command_edges(|network, other| Command::Dial {
            peer: network.host.world().peer(other),
            addresses: vec![network.address(other)],
        });
    }

    /// Dials all edges and waits until both ends of each are up; `false` where some are not after 30 s.
    pub fn link_up(&mut self) -> bool {
        self.dial_edges();
        self.wait_for_links(one_step)
    }

    /// Takes steps until both ends of each edge are up. A step says whether there was one up to the limit.
    fn wait_for_links(&mut self, mut step: impl FnMut(&mut Self, Instant) -> bool) -> bool {
        let (wanted, limit) = (self.edges.len() as u64 * 2, self.host.now() + LINKING);
        while self.up() < wanted && step(self, limit) {}
        self.links.were_waited_for(wanted)
    }

    /// As [`link_up`](Self::link_up), in windows.
    pub fn link_up_in_windows(&mut self) -> bool {
        self.dial_edges();
        self.wait_for_links(|network, limit| network.window(limit).is_some())
    }

    /// What went wrong in any run, in sentences: more held than granted or than there is, messages that could not be read, links that were
    /// waited for and are missing, a node whose turns never end.
    pub fn problems(&self) -> Vec<String> {
        let found = self.found();
        let mut problems = Vec::new();
        if found.peak_over > 0 {
            problems.push(format!(
                "a node held {} bytes more than it had granted, or than its tables may take",
                found.peak_over
            ));
        }
        if found.unread > 0 {
            problems.push(format!("{} messages could not be read, nor what follows them", found.unread));
        }
        if self.links.are_missing() {
            problems.push("some links did not come up".into());
        }
        if let Some(id) = self.host.endless() {
            problems.push(format!("node {} never came to an end of its turns", id.0));
        }
        problems
    }

    /// What a step's node has to tell; links and faults are counted here.
    pub fn notes(&mut self, step: Step) -> Vec<(NodeId, Note)> {
        let Step::Turned(id) = step else { return Vec::new() };
        self.notes_of(id)
    }

    /// What the checker found on the wire, where it can read that, and what was compared at the nodes.
    pub fn found(&self) -> Found {
        let mut found = self.compared;
        found.add(&self.host.checker().map(Checker::found).unwrap_or_default());
        found
    }

    /// What these nodes received on their pool channels: as the checker counted it; where it cannot read, as their stacks did.
    pub fn pool_traffic(&mut self, of: impl Iterator<Item = NodeId>) -> PoolTraffic {
        let mut sum = PoolTraffic::default();
        for id in of {
            if self.setup.transport == Transport::Frames {
                let one = self.host.checker().map(|checker| checker.traffic(id)).unwrap_or_default();
                sum.add(&one);
                continue;
            }
            let Some(actor) = self.host.node(id) else { continue };
            for (_, pool) in actor.stack().stats().pools {
                sum.bodies += pool.bodies;
                sum.body_bytes += pool.body_bytes;
                sum.stream_bytes += pool.body_bytes + pool.control_bytes;
                sum.entries += pool.entries;
            }
        }
        sum
    }

    /// What a node has to tell.
    pub fn notes_of(&mut self, id: NodeId) -> Vec<(NodeId, Note)> {
        self.notes_at(id).into_iter().map(|(_, note)| (id, note)).collect()
    }

    /// What a node has to tell, and when that happened.
    pub fn notes_at(&mut self, id: NodeId) -> Vec<(Instant, Note)> {
        let look = self.look();
        let Some(seen) = self.host.computer(id).turned().map(|mut turned| look.at(&mut turned)) else {
            return Vec::new();
        };
        self.compared.add(&seen.found);
        self.looking.add(Spent { all: seen.took, checking: seen.took });
        self.count(id, &seen.notes);
        seen.notes
    }

    pub(crate) fn look(&self) -> Look {
        Look {
            most: self.undecided,
            tables: self.tables,
            sample: self.host.world().sample(),
            counters: self.setup.transport != Transport::Frames,
            stopwatch: self.setup.stopwatch,
        }
    }

    /// Counts links and faults that a node told of.
    fn count(&mut self, id: NodeId, notes: &[(Instant, Note)]) {
        for (at, note) in notes {
            match note {
                Note::Told(Event::PeerUp { info, .. }) => {
                    let other = self.of_peer(&info.peer).unwrap_or(id);
                    self.links.came_up(id, other);
                }
                Note::Told(Event::PeerDown { peer, .. }) => {
                    let other = self.of_peer(peer).unwrap_or(id);
                    self.links.ended(id, other);
                }
                Note::Told(Event::Fault { peer, fault, reaction, .. })
                    if fault.blame != Blame::Incompatible =>
                {
                    let whom = self.of_peer(peer).unwrap_or(id);
                    let banned = matches!(reaction, Reaction::Ban { .. });
                    self.faults.push(Seen { at: *at, by: id, whom, fault: *fault, banned });
                }
                _ => {}
            }
        }
    }

    /// Lets one window pass: [`Host::window`]. What the nodes that had a turn have to tell, and when that happened;
    /// `None` where nothing is due.
    pub fn window(&mut self, limit: Instant) -> Option<Vec<(NodeId, Told)>> {
        let look = self.look();
        let parts = self.host.window(limit, self.setup.threads, |sights: &mut Sights, mut turned| {
            sights.add(look.at(&mut turned), &turned);
        });
        let mut told = Vec::new();
        for part in parts? {
            self.compared.add(&part.found);
            self.looking.checking += part.took;
            part.told.iter().for_each(|(id, notes)| self.count(*id, notes));
            told.extend(part.told);
        }
        Some(told)
    }

    /// The part of the nodes' real time that the checker took, 0 to 1; `None` without a clock, or where no node was carried out.
    pub fn checker_share(&self) -> Option<f64> {
        let mut spent = self.host.spent()?;
        spent.add(self.looking);
        (!spent.all.is_zero()).then(|| spent.checking.as_secs_f64() / spent.all.as_secs_f64())
    }

    /// Lets `pause` pass; hands every note to `on`.
    pub fn run(&mut self, pause: Duration, mut on: impl FnMut(&mut Self, NodeId, Note)) {
        let limit = self.host.now() + pause;
        while let Some(step) = self.host.step(limit) {
            for (id, note) in self.notes(step) {
                on(self, id, note);
            }
        }
    }

    /// How many faults there were for what.
    pub fn faults_for(&self) -> BTreeMap<String, u64> {
        let mut kinds = BTreeMap::new();
        for seen in &self.faults {
            *kinds.entry(seen.fault.to_string()).or_default() += 1;
        }
        kinds
    }

    /// Faults that a node outside `hostile` saw in another outside it.
    pub fn faults_between_honest<'a>(
        &'a self,
        hostile: &'a BTreeSet<NodeId>,
    ) -> impl Iterator<Item = &'a Seen> {
        self.faults.iter().filter(move |seen| !hostile.contains(&seen.by) && !hostile.contains(&seen.whom))
    }
}

/// Takes a step; whether there was one up to the limit.
fn one_step(network: &mut Network, limit: Instant) -> bool {
    let step = network.host.step(limit);
    step.into_iter().for_each(|step| drop(network.notes(step)));
    step.is_some()
}
