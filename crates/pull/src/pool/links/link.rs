//! What a pool keeps of each link, and the four streams it has with it.

use std::time::Duration;

use weir_base::LinkId;
use weir_base::identity::PeerId;
use weir_base::stream::LinkInfo;

use super::lane::{Lane, Role};
use super::peer::{Heard, Ready, Skipped};
use crate::pool::client::{Gets, Intake, MAX_RTT};
use crate::pool::codec::{MAX_LIST, MAX_WANT};
use crate::pool::server::{Outlet, Serving};

/// A round trip, where none was measured yet.
const FIRST_RTT: Duration = Duration::from_millis(100);

/// One link that has, or may have, this channel.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) info: LinkInfo,
    /// Once both hellos have come.
    pub(crate) ready: Option<Ready>,
    rtt: Option<Duration>,
    /// Since when it is heard from.
    pub(crate) heard: Heard,
    /// The permit this node gives, and the offers it reads.
    pub(crate) intake: Intake,
    /// The permit this node has, and the offers it writes.
    pub(crate) outlet: Outlet,
    /// What this node asks for.
    pub(crate) gets: Gets,
    /// What the peer asks for.
    pub(crate) serving: Serving,
    /// Messages of unknown odd types, on any stream.
    pub(crate) skipped: Skipped,
}

impl Link {
    pub(crate) fn new(id: LinkId, info: LinkInfo, intake: Intake, outlet: Outlet) -> Self {
        Self {
            id,
            info,
            ready: None,
            rtt: None,
            heard: Heard::default(),
            intake,
            outlet,
            gets: Gets::new(),
            serving: Serving::default(),
            skipped: Skipped::new(),
        }
    }

    /// Its round trip, as far as it is known.
    pub(crate) fn rtt(&self) -> Duration {
        self.rtt.unwrap_or(FIRST_RTT)
    }

    /// A round trip was measured; the peer could make it longer than it is.
    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt.min(MAX_RTT));
    }

    /// Bytes that may come on one of its streams.
    pub(crate) fn room(&self, role: Role) -> usize {
        match role {
            Role::Intake => self.offers_room(),
            Role::Outlet => MAX_WANT + 2,
            Role::Gets => self.gets.room(),
            Role::Serving => MAX_LIST + 2,
        }
    }

    /// Bytes of offers that may come.
    fn offers_room(&self) -> usize {
        // One more than granted, so that a peer that sends more is found out.
        let open = usize::try_from(self.intake.grant.open_bytes() + 1).unwrap_or(usize::MAX);
        if self.ready.is_some() { open } else { 0 }
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.info.peer
    }

    /// The largest item that may go over this link.
    pub(crate) fn max_item(&self) -> u32 {
        self.ready.map_or(0, |ready| ready.max_item)
    }

    /// Which of its streams this is.
    pub(crate) fn role(&self, stream: u64) -> Option<Role> {
        let roles = [Role::Intake, Role::Outlet, Role::Gets, Role::Serving];
        roles.into_iter().find(|role| self.lane(*role).stream == Some(stream))
    }

    pub(crate) const fn lane(&self, role: Role) -> &Lane {
        match role {
            Role::Intake => &self.intake.lane,
            Role::Outlet => &self.outlet.lane,
            Role::Gets => &self.gets.lane,
            Role::Serving => &self.serving.lane,
        }
    }

    pub(crate) const fn lane_mut(&mut self, role: Role) -> &mut Lane {
        match role {
            Role::Intake => &mut self.intake.lane,
            Role::Outlet => &mut self.outlet.lane,
            Role::Gets => &mut self.gets.lane,
            Role::Serving => &mut self.serving.lane,
        }
    }
}

#[cfg(test)]
impl Link {
    /// A link of one group, with a peer of its own, whose hello has come (`ready`) or not.
    pub(crate) fn fresh(id: u64, ready: bool) -> Self {
        use crate::ShortKey;
        use weir_base::stream::{Group, Side};

        let mut seed = [9; 32];
        seed.iter_mut().zip(id.to_le_bytes()).for_each(|(to, from)| *to = from);
        let peer = weir_base::identity::Keypair::ed25519_from_seed(seed).peer_id();
        let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(1) };
        let phase = crate::pool::inventory::Heads::phase(0);
        let outlet = Outlet::new(phase, crate::pool::codec::Epoch([1; 8]));
        let mut link = Self::new(LinkId(id), info, Intake::new(16, None), outlet);
        let key = crate::keys::NumberedKey { number: 1, key: ShortKey([1; 16]) };
        link.ready = ready.then_some(Ready { max_item: 65_536, key });
        link
    }
}
