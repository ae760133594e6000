//! What a pool keeps of each link, and the four streams it has with it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::stream::{Ask, LinkInfo};
use weir_base::{Instant, LinkId, Rope, StreamKey};

use super::candidates::CandId;
use super::gets::Gets;
use super::intake::Intake;
use super::outlet::Outlet;
use super::serving::Serving;
use crate::control::NumberedKey;

/// A link's place among those of this pool. Taken again by another link once it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(pub(super) u16);

/// A round trip, where none was measured yet.
const FIRST_RTT: Duration = Duration::from_millis(100);

/// One link that has, or may have, this channel.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) info: LinkInfo,
    /// Once both hellos have come.
    pub(super) ready: Option<Ready>,
    rtt: Option<Duration>,
    /// When anything was last read from it.
    pub(super) heard: Instant,
    /// The permit this node gives, and the offers it reads.
    pub(super) intake: Intake,
    /// The permit this node has, and the offers it writes.
    pub(super) outlet: Outlet,
    /// What this node asks for.
    pub(super) gets: Gets,
    /// What the peer asks for.
    pub(super) serving: Serving,
    /// Bodies that wait to be handed to the application.
    pub(super) held: VecDeque<CandId>,
}

/// What the peer's hello said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) max_item: u32,
    pub(super) key: NumberedKey,
}

impl Link {
    pub(super) fn new(id: LinkId, info: LinkInfo, intake: Intake, outlet: Outlet) -> Self {
        Self {
            id,
            info,
            ready: None,
            rtt: None,
            heard: Instant::ZERO,
            intake,
            outlet,
            gets: Gets::new(),
            serving: Serving::default(),
            held: VecDeque::new(),
        }
    }

    /// Its round trip, as far as it is known.
    pub(super) fn rtt(&self) -> Duration {
        self.rtt.unwrap_or(FIRST_RTT)
    }

    pub(super) const fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
    }

    pub(super) fn peer(&self) -> PeerId {
        self.info.peer
    }

    /// The largest item that may go over this link.
    pub(super) fn max_item(&self) -> u32 {
        self.ready.map_or(0, |ready| ready.max_item)
    }

    /// Which of its streams this is.
    pub(super) fn role(&self, stream: u64) -> Option<Role> {
        let roles = [Role::Intake, Role::Outlet, Role::Gets, Role::Serving];
        roles.into_iter().find(|role| self.lane(*role).stream == Some(stream))
    }

    pub(super) const fn lane(&self, role: Role) -> &Lane {
        match role {
            Role::Intake => &self.intake.lane,
            Role::Outlet => &self.outlet.lane,
            Role::Gets => &self.gets.lane,
            Role::Serving => &self.serving.lane,
        }
    }

    pub(super) const fn lane_mut(&mut self, role: Role) -> &mut Lane {
        match role {
            Role::Intake => &mut self.intake.lane,
            Role::Outlet => &mut self.outlet.lane,
            Role::Gets => &mut self.gets.lane,
            Role::Serving => &mut self.serving.lane,
        }
    }
}

/// What a stream is for, seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Lane 0, opened by this node: permits out, offers in.
    Intake,
    /// Lane 0, opened by the peer: permits in, offers out.
    Outlet,
    /// Lane 1, opened by this node: gets out, items in.
    Gets,
    /// Lane 1, opened by the peer: gets in, items out.
    Serving,
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The transport's number, while it is open.
    pub(super) stream: Option<u64>,
    /// What this node has asked for.
    pub(super) opening: Opening,
    /// Encoded, and not taken yet: at most one message.
    pub(super) unsent: Rope,
    asked: bool,
}

/// Whether this node opens a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Opening {
    /// Not asked for yet.
    #[default]
    No,
    /// Asked for, or open.
    Yes,
    /// It broke, or may not be used any more.
    Never,
}

impl Lane {
    /// Asks the pump to come for bytes, once until it found none.
    pub(super) fn ask_write(&mut self, link: LinkId, asks: &mut VecDeque<Ask>) {
        if let Some(stream) = self.stream.filter(|_| !self.asked) {
            self.asked = true;
            asks.push_back(Ask::Write(StreamKey { link, stream }));
        }
    }

    /// The pump found nothing: it must be asked again.
    pub(super) const fn found_nothing(&mut self) {
        self.asked = false;
    }
}

/// All links of this pool.
#[derive(Debug, Default)]
pub(super) struct Links {
    slots: Vec<Option<Box<Link>>>,
    by_id: BTreeMap<LinkId, Slot>,
}

impl Links {
    /// Adds a link. `None` where 65,535 are up.
    pub(super) fn insert(&mut self, link: Link) -> Option<Slot> {
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let slot = Slot(u16::try_from(free).ok()?);
        self.by_id.insert(link.id, slot);
        if free == self.slots.len() {
            self.slots.push(None);
        }
        *self.slots.get_mut(free)? = Some(Box::new(link));
        Some(slot)
    }

    pub(super) fn slot(&self, id: LinkId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Link> {
        self.slots.get(usize::from(slot.0))?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Link> {
        self.slots.get_mut(usize::from(slot.0))?.as_deref_mut()
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Link> {
        let link = self.slots.get_mut(usize::from(slot.0))?.take()?;
        self.by_id.remove(&link.id);
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
        Some(*link)
    }

    /// All links, in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Link)> {
        self.by_id.values().filter_map(|slot| Some((*slot, self.get(*slot)?)))
    }

    /// The slots of all links, in the order of their ids.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.by_id.values().copied().collect()
    }
}
