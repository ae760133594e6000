//! The registry of stream users: which there are, who takes which protocol, who has something to say, and when each is due.
//!
//! - The pump knows users only as `dyn StreamUser`, by their number.
//! - [`Ready`] and [`Deadlines`] index them, so that nothing asks all users in turn: whoever is called may have asks, events
//!   and another deadline afterwards, and is marked for that.
//! - What is peculiar to one user (its commands, its events) passes beside the pump: the stack calls the user by its name
//!   here, and hears of it by [`Told`].
//!
//! To add a protocol: a machine that implements [`StreamUser`], its [`ProtocolId`] in [`protocols`](crate::protocols), and
//! one line in the table below.

use std::collections::BTreeMap;

use weir_base::stream::{Ask, StreamUser};
use weir_base::{Deadlines, Instant, LinkId, ProtocolId, PublicKey, Ready, Rng, StreamKey};
use weir_libp2p::identify::{self, Identify};
use weir_libp2p::perf::Perf;
use weir_libp2p::ping::Ping;
use weir_pull::{PeerHello, Pull};

use crate::config::{Config, ConfigError, Profile};
use crate::exchange::Exchange;
use crate::protocols::{self, IDENTIFY, IDENTIFY_PUSH, PERF, PING, VERSION};
use crate::raw::Raw;
use crate::types::Event;

/// What a user is built from.
pub(crate) struct Make<'a> {
    pub(crate) config: &'a Config,
    /// This node's.
    pub(crate) key: &'a PublicKey,
    /// The first user's generator is drawn from it; those that were added later draw from a clone, so that they shift nobody's.
    pub(crate) rng: &'a mut Rng,
}

/// What a user tells the stack.
pub(crate) enum Told {
    /// Of the pull protocol: the stack has a part in some of it.
    Pull(weir_pull::Event),
    /// Who a peer says it is: the stack notes it.
    Identify(identify::Event),
    /// For the application as it is.
    Event(Event),
}

/// The table: name and type of each user; how it is built; and what becomes of its events.
macro_rules! users {
    ($($name:ident: $user:ident = |$make:ident| $build:expr, tells |$event:ident| $told:expr;)*) => {
        /// A user's number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum UserId {
            $($user,)*
        }

        /// The users by name, to look at.
        #[derive(Debug)]
        pub(crate) struct Named {
            $(pub(crate) $name: $user,)*
        }

        impl Named {
            fn new(make: &mut Make<'_>) -> Result<Self, ConfigError> {
                $(let $name = { let $make = &mut *make; $build };)*
                Ok(Self { $($name,)* })
            }

            fn get(&self, id: UserId) -> &dyn StreamUser {
                match id {
                    $(UserId::$user => &self.$name,)*
                }
            }

            fn get_mut(&mut self, id: UserId) -> &mut dyn StreamUser {
                match id {
                    $(UserId::$user => &mut self.$name,)*
                }
            }

            fn poll_event(&mut self, id: UserId) -> Option<Told> {
                match id {
                    $(UserId::$user => self.$name.poll_event().map(|$event| $told),)*
                }
            }
        }

        impl Users {
            /// Every user, in the order of the table.
            const ALL: &[UserId] = &[$(UserId::$user,)*];
        }
    };
}

users! {
    pull: Pull = |make| Pull::new(make.config.pull(), make.rng.child("pull"))?, tells |event| Told::Pull(event);
    raw: Raw = |make| Raw::new(&make.config.raw, &make.config.profile), tells |event| Told::Event(Event::Raw(event));
    ping: Ping = |make| Ping::new(make.config.ping.clone(), PING, make.rng.clone().child("ping")), tells |event| Told::Event(event.into());
    identify: Identify = |make| Identify::new(make.config.identify.clone(), (IDENTIFY, IDENTIFY_PUSH), own_info(make), None), tells |event| Told::Identify(event);
    perf: Perf = |make| Perf::new(make.config.perf.clone(), PERF), tells |event| Told::Event(event.into());
    exchange: Exchange = |make| Exchange::new(&make.config.profile, make.config.requests.memory), tells |event| Told::Event(Event::Exchange(event));
}

/// What this node says about itself, but for [what it serves](Users::say_served) and where it is.
fn own_info(make: &Make<'_>) -> identify::Info {
    identify::Info {
        key: Some(make.key.clone()),
        agent: Some(make.config.profile.agent.clone()),
        protocol_version: Some(VERSION.to_owned()),
        ..identify::Info::default()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Users {
    named: Named,
    owners: BTreeMap<ProtocolId, UserId>,
    asking: Ready<UserId>,
    telling: Ready<UserId>,
    deadlines: Deadlines<UserId>,
}

impl Users {
    /// # Errors
    /// [`ConfigError`]: a limit of a user that does not hold.
    pub(crate) fn new(mut make: Make<'_>) -> Result<Self, ConfigError> {
        let named = Named::new(&mut make)?;
        let owned = |id: &UserId| named.get(*id).protocols().into_iter().zip(std::iter::repeat(*id));
        let owners = Self::ALL.iter().flat_map(owned).collect();
        let (asking, telling, deadlines) = (Ready::default(), Ready::default(), Deadlines::default());
        let mut users = Self { named, owners, asking, telling, deadlines };
        Self::ALL.iter().for_each(|id| users.mark(*id));
        users.say_served(&make.config.profile);
        Ok(users)
    }

    /// What identify says that this node serves: all that has an owner and a name, libp2p's own protocols first.
    fn say_served(&mut self, profile: &Profile) {
        let names = protocols::names(profile, self.owners.keys().rev().copied()).into_iter();
        let served = names.filter(|(id, _)| self.owners.contains_key(id)).flat_map(|(_, names)| names);
        let own = identify::Info { protocols: served.collect(), ..self.named.identify.own().clone() };
        self.named.identify.update(own, None);
    }

    /// The users by name, to look at.
    pub(crate) fn named(&self) -> &Named {
        &self.named
    }

    /// The pull protocol, for its commands.
    pub(crate) fn pull(&mut self) -> &mut Pull {
        self.mark(UserId::Pull);
        &mut self.named.pull
    }

    /// Raw streams, for their commands, and for the application's reading and writing.
    pub(crate) fn raw(&mut self) -> &mut Raw {
        self.mark(UserId::Raw);
        &mut self.named.raw
    }

    /// The peer took one of the names that were proposed on a stream.
    pub(crate) fn agreed(&mut self, key: StreamKey, protocol: ProtocolId) {
        self.raw().handle_agreed(key, protocol);
        self.exchange().handle_agreed(key, protocol);
    }

    /// It is known what a link's peer speaks; by a hello, or without one.
    pub(crate) fn known(&mut self, link: LinkId, hello: Option<&PeerHello>) {
        self.raw().handle_known(link, hello);
        self.exchange().handle_known(link);
    }

    /// Requests by name, for their commands.
    pub(crate) fn exchange(&mut self) -> &mut Exchange {
        self.mark(UserId::Exchange);
        &mut self.named.exchange
    }

    /// Identify, for its commands.
    pub(crate) fn identify(&mut self) -> &mut Identify {
        self.mark(UserId::Identify);
        &mut self.named.identify
    }

    /// Perf, for its commands.
    pub(crate) fn perf(&mut self) -> &mut Perf {
        self.mark(UserId::Perf);
        &mut self.named.perf
    }

    /// Who takes the streams that a peer opens for `protocol`.
    pub(crate) fn owner(&self, protocol: ProtocolId) -> Option<UserId> {
        self.owners.get(&protocol).copied()
    }

    /// All protocols that somebody takes.
    pub(crate) fn protocols(&self) -> impl Iterator<Item = ProtocolId> {
        self.owners.keys().copied()
    }

    /// The protocols that may go along with a handshake (0-RTT).
    pub(crate) fn replay_safe(&self) -> Vec<ProtocolId> {
        Self::ALL.iter().flat_map(|id| self.named.get(*id).replay_safe()).collect()
    }

    /// One user, to look at.
    pub(crate) fn get(&self, id: UserId) -> &dyn StreamUser {
        self.named.get(id)
    }

    /// One user, to be told something: it may have asks and events then.
    pub(crate) fn call(&mut self, id: UserId) -> &mut dyn StreamUser {
        self.mark(id);
        self.named.get_mut(id)
    }

    /// Tells all users.
    pub(crate) fn each(&mut self, mut tell: impl FnMut(&mut dyn StreamUser)) {
        Self::ALL.iter().for_each(|id| tell(self.call(*id)));
    }

    /// The next ask, and whose it is. Drain before [`poll_timeout`](Self::poll_timeout).
    pub(crate) fn poll_ask(&mut self) -> Option<(UserId, Ask)> {
        while let Some(id) = self.asking.first() {
            let user = self.named.get_mut(id);
            if let Some(ask) = user.poll_ask() {
                return Some((id, ask));
            }
            let due = user.poll_timeout().map(|(due, _)| due);
            if due != self.deadlines.get(id) {
                self.deadlines.set(id, due);
            }
            self.asking.pop();
            self.telling.mark(id); // asking may make events, too
        }
        None
    }

    /// The next thing that a user tells.
    pub(crate) fn poll_told(&mut self) -> Option<Told> {
        while let Some(id) = self.telling.first() {
            if let Some(told) = self.named.poll_event(id) {
                return Some(told);
            }
            self.telling.pop();
        }
        None
    }

    /// Advances the users that are due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.pop_due(now) {
            self.call(id).handle_timeout(now);
        }
    }

    /// The next time a user is due, and why.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (_, id) = self.deadlines.next()?;
        self.get(id).poll_timeout()
    }

    fn mark(&mut self, id: UserId) {
        self.asking.mark(id);
        self.telling.mark(id);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_base::Rng;
    use weir_base::identity::{Keypair, PeerId};
    use weir_base::stream::{Goodbye, Group, LinkChange, LinkInfo, Side};
    use weir_pull::{Channel, ChannelId, Shape, call, control};

    use super::*;

    const CALL: ChannelId = ChannelId(3);
    const RAW: ChannelId = ChannelId(4);
    const LINK: LinkId = LinkId(1);

    fn users() -> Users {
        let channel = |id, name: &str, shape| Channel { id, name: name.into(), version: 1, oldest: 1, shape };
        let mut config = Config::default();
        config.profile.channels = vec![
            channel(CALL, "echo", Shape::Call(call::Config::default())),
            channel(RAW, "raw", Shape::Raw),
        ];
        let key = Keypair::ed25519_from_seed([2; 32]).public();
        let make = Make { config: &config, key: &key, rng: &mut Rng::from_number(1) };
        let mut users = Users::new(make).unwrap();
        let peer = PeerId::from_public_key(&Keypair::ed25519_from_seed([1; 32]).public());
        let info = LinkInfo { peer, side: Side::Dialled, dialler: true, group: Group::Local(0) };
        users.each(|user| user.handle_link(Instant::ZERO, LINK, &LinkChange::Up(info)));
        users
    }

    #[test]
    fn every_protocol_has_its_owner_and_an_unknown_one_has_none() {
        let users = users();
        assert_eq!(users.owner(ChannelId::CONTROL.protocol(0)), Some(UserId::Pull));
        assert_eq!(users.owner(CALL.protocol(0)), Some(UserId::Pull));
        assert_eq!(users.owner(RAW.protocol(0)), Some(UserId::Raw));
        assert_eq!(users.owner(PING), Some(UserId::Ping));
        assert_eq!(users.owner(IDENTIFY), Some(UserId::Identify));
        assert_eq!(users.owner(IDENTIFY_PUSH), Some(UserId::Identify));
        assert_eq!(users.owner(PERF), None, "none is served unless the configuration says so");
        assert_eq!(users.owner(RAW.protocol(1)), None);
    }

    #[test]
    fn the_earliest_timer_is_known_once_asks_are_drained() {
        let mut users = users();
        while users.poll_ask().is_some() {}
        let (due, reason) = users.poll_timeout().unwrap();
        assert_eq!((due, reason), (Instant::from_millis(5_000), "hello overdue"));
        users.handle_timeout(due);
        let told = users.poll_told();
        assert!(
            matches!(told, Some(Told::Pull(weir_pull::Event::NoHello { link: LINK }))),
            "who was due is called"
        );
        while users.poll_ask().is_some() {}
        assert_ne!(users.poll_timeout().map(|(due, _)| due), Some(due));
    }

    #[test]
    fn what_a_user_tells_because_it_was_asked_is_heard() {
        let mut users = users();
        let request = Bytes::from_static(b"?");
        let call = call::Command::Call { link: LINK, request, deadline: None };
        users.pull().command(Instant::ZERO, weir_pull::Command::Call(CALL, call)).unwrap();
        let goodbye = control::Command::Goodbye { link: LINK, reason: Goodbye::Asked };
        users.pull().command(Instant::ZERO, weir_pull::Command::Control(goodbye)).unwrap();
        while users.poll_told().is_some() {}
        while users.poll_ask().is_some() {} // its open is refused there: the link is closing
        let told = users.poll_told();
        assert!(matches!(told, Some(Told::Pull(weir_pull::Event::Call(CALL, call::Event::Response { .. })))));
    }
}
