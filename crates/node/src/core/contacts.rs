//! Peers as handles see them: dials that somebody waits for, and who is there.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::{Instant, LinkId};
use weir_pull::Ticket;
use weir_stack::{Command, DialError, DialProblem, Linked, Refused, Stack};

use crate::error::{AddressError, ConnectError};
use crate::mailbox::Promise;
use crate::peer::{Ban, Banned, Peer, SharedChannel};

/// Measurements under way at once; further ones are refused. Each moves as many bytes as its caller likes.
const MAX_MEASUREMENTS: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    dials: BTreeMap<Ticket, Promise<Result<PeerId, ConnectError>>>, // <= the stack's limit of dials and joins
    measurements: BTreeMap<Ticket, Promise<Result<Option<Duration>, Refused>>>, // <= MAX_MEASUREMENTS
    rtts: BTreeMap<LinkId, Duration>,
}

impl Contacts {
    /// Hands a dial to the stack.
    pub(crate) fn dial(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        (peer, addresses): (Option<PeerId>, Vec<Multiaddr>),
        reply: Promise<Result<PeerId, ConnectError>>,
        wakers: &mut Vec<Waker>,
    ) {
        let address = addresses.first().map(ToString::to_string).unwrap_or_default();
        match stack.command(now, Command::Dial { peer, addresses }) {
            Ok(ticket) => {
                self.dials.insert(ticket, reply);
            }
            Err(refused) => reply.fill(Err(connect_error(&refused, &address)), wakers),
        }
    }

    /// A dial is over.
    pub(crate) fn dialled(
        &mut self,
        ticket: Ticket,
        result: Result<PeerId, DialProblem>,
        wakers: &mut Vec<Waker>,
    ) {
        if let Some(promise) = self.dials.remove(&ticket) {
            promise.fill(result.map_err(ConnectError::Failed), wakers);
        }
    }

    /// Begins a measurement of a link.
    pub(crate) fn measure(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        command: Command,
        reply: Promise<Result<Option<Duration>, Refused>>,
        wakers: &mut Vec<Waker>,
    ) {
        if self.measurements.len() >= MAX_MEASUREMENTS {
            return reply.fill(Err(Refused::Limit), wakers);
        }
        match stack.command(now, command) {
            Ok(ticket) => drop(self.measurements.insert(ticket, reply)),
            Err(refused) => reply.fill(Err(refused), wakers),
        }
    }

    /// A measurement of a link is over.
    pub(crate) fn measured_whole(&mut self, ticket: Ticket, took: Option<Duration>, wakers: &mut Vec<Waker>) {
        if let Some(promise) = self.measurements.remove(&ticket) {
            promise.fill(Ok(took), wakers);
        }
    }

    /// A round trip was measured.
    pub(crate) fn measured(&mut self, link: LinkId, rtt: Duration) {
        self.rtts.insert(link, rtt);
    }

    /// A link is gone.
    pub(crate) fn down(&mut self, link: LinkId) {
        self.rtts.remove(&link);
    }

    /// Who is banned: peers by their ids, then prefixes.
    pub(crate) fn bans(now: Instant, stack: &Stack) -> Vec<Ban> {
        let peers = stack.peers().standing().bans(now).map(|(peer, until)| (Banned::Peer(peer), until));
        let prefixes = stack.peers().banned_networks().map(|(prefix, until)| (Banned::Prefix(prefix), until));
        peers.chain(prefixes).map(|(whom, until)| Ban { whom, until }).collect()
    }

    /// The peers that are up, by id.
    pub(crate) fn list(&self, stack: &Stack) -> Vec<Peer> {
        let peers = stack.peers();
        let newest = |(link, linked): &(LinkId, &Linked)| peers.ready_link(&linked.info.peer) == Some(*link);
        let ready = peers.links().filter(newest);
        let mut list: Vec<Peer> = ready
            .filter_map(|(link, linked)| Some((link, linked, linked.known.as_ref()?)))
            .map(|(link, linked, known)| Peer {
                peer: linked.info.peer,
                side: linked.info.side,
                address: linked.address.clone(),
                since: linked.since,
                rtt: self.rtts.get(&link).copied(),
                agent: known.agent.clone(),
                services: known.services.clone(),
                channels: SharedChannel::all(known.hello.as_deref()),
            })
            .collect();
        list.sort_by_key(|peer| peer.peer);
        list
    }
}

fn connect_error(refused: &Refused, address: &str) -> ConnectError {
    match refused {
        Refused::Closing => ConnectError::Stopped,
        Refused::Banned => ConnectError::Banned,
        Refused::Dial(DialError::Myself) => ConnectError::Myself,
        Refused::Dial(DialError::TooManyDials | DialError::Full) | Refused::Limit => ConnectError::Busy,
        other => ConnectError::Address(AddressError::new(address, other)),
    }
}
