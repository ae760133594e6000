//! What a pool keeps of each link, and the four streams it has with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class, Group, LinkInfo, Side};
use weir_base::time::nanos;
use weir_base::{Fault, Instant, LinkId, Rope, StreamKey};

use super::CHATTY;
use super::gets::Gets;
use super::intake::Intake;
use super::outlet::Outlet;
use super::record::MAX_RTT;
use super::serving::Serving;
use crate::bucket::Bucket;
use crate::channel::ChannelId;
use crate::keys::NumberedKey;

/// A link's place among those of this pool. A link that has ended keeps it for a while; then another link takes it.
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
    /// Since when it is heard from.
    pub(super) heard: Heard,
    /// The permit this node gives, and the offers it reads.
    pub(super) intake: Intake,
    /// The permit this node has, and the offers it writes.
    pub(super) outlet: Outlet,
    /// What this node asks for.
    pub(super) gets: Gets,
    /// What the peer asks for.
    pub(super) serving: Serving,
    /// Messages of unknown odd types, on any stream.
    pub(super) skipped: Skipped,
}

/// A link from which nothing came for so long is silent: perhaps its path does not carry, and nothing that was asked of it can
/// come. It is well below the time of an answer (10 s), so that a shorter silence leaves enough of that time.
const SILENCE: Duration = Duration::from_secs(6);

/// Since when a link is heard from without a silence, and what is known of its hearing this node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    since: Instant,
    last: Instant,
    pinged: Option<Instant>, // when the last ping was sent that it answered
}

impl Heard {
    /// Something was read from the link.
    pub(super) fn read(&mut self, now: Instant) {
        if now.since(self.last) > SILENCE {
            self.since = now;
        }
        self.last = now;
    }

    /// It answered a ping.
    pub(super) fn pong(&mut self, now: Instant, rtt: Duration) {
        let sent = Instant::from_nanos(now.as_nanos().saturating_sub(nanos(rtt)));
        self.pinged = self.pinged.max(Some(sent));
    }

    /// Whether it heard this node after `asked`, as far as its pongs tell.
    fn hears(&self, asked: Instant) -> bool {
        self.pinged.is_none_or(|sent| sent >= asked)
    }

    /// Whether what was asked of it reached it, and it was heard from, after `asked` and without a silence, for at least `time` up to now.
    pub(super) fn throughout(&self, now: Instant, asked: Instant, time: Duration) -> bool {
        let silent = now.since(self.last) > SILENCE;
        !silent && self.hears(asked) && self.last > asked && now.since(self.since.max(asked)) >= time
    }
}

/// Bounds what a peer may send that this node skips.
#[derive(Debug)]
pub(super) struct Skipped {
    messages: Bucket,
    bytes: Bucket,
}

/// Messages a second, and at once, that are skipped without blame: as many as control takes of all its messages.
const SKIPPED: u64 = 64;
/// Bytes of them a second.
const SKIPPED_BYTES: u64 = 16_000;
/// Bytes of them at once: one of the largest item's size by default.
const SKIPPED_BURST: u64 = 65_536 + 64;

impl Skipped {
    /// A message of so many bytes is skipped, without its head. A fault where that is too much.
    pub(super) fn take(&mut self, now: Instant, bytes: u64) -> Result<(), Fault> {
        let messages = self.messages.take(now, 1, SKIPPED, SKIPPED);
        let bytes = self.bytes.take(now, bytes, SKIPPED_BYTES, SKIPPED_BURST);
        messages.and(bytes).map_err(|_| CHATTY)
    }
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
            heard: Heard::default(),
            intake,
            outlet,
            gets: Gets::new(),
            serving: Serving::default(),
            skipped: Skipped { messages: Bucket::new(), bytes: Bucket::new() },
        }
    }

    /// Its round trip, as far as it is known.
    pub(super) fn rtt(&self) -> Duration {
        self.rtt.unwrap_or(FIRST_RTT)
    }

    /// A round trip was measured; the peer could make it longer than it is.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt.min(MAX_RTT));
    }

    /// Bytes of offers that may come.
    pub(super) fn offers_room(&self) -> usize {
        // One more than granted, so that a peer that sends more is found out.
        let open = usize::try_from(self.intake.grant.open_bytes() + 1).unwrap_or(usize::MAX);
        if self.ready.is_some() { open } else { 0 }
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

/// Lanes of a pool: offers, items.
pub(super) const OFFERS: u8 = 0;
pub(super) const ITEMS: u8 = 1;

impl Role {
    const fn lane(self) -> u8 {
        match self {
            Self::Intake | Self::Outlet => OFFERS,
            Self::Gets | Self::Serving => ITEMS,
        }
    }
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
    /// How often it ended early, since something last came on it.
    ends: u8,
    asked: bool,
}

/// The pause before a stream that ended early is opened again, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// It doubles up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Whether this node opens a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Opening {
    /// Not asked for yet.
    #[default]
    No,
    /// Asked for, or open.
    Yes,
    /// It ended early: opened again after a pause.
    Paused,
    /// The peer broke the protocol on it, or the link is gone.
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

    /// It ended early. How long until it may be opened again.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.ends.min(8)).min(LONGEST_PAUSE);
        self.ends = self.ends.saturating_add(1);
        (self.stream, self.opening, self.unsent, self.asked) = (None, Opening::Paused, Rope::new(), false);
        pause
    }

    /// Something came on it that this node had asked for.
    pub(super) const fn works(&mut self) {
        self.ends = 0;
    }

    /// The pump found nothing: it must be asked again.
    pub(super) const fn found_nothing(&mut self) {
        self.asked = false;
    }
}

/// To whom something is charged: a peer, at one side, in one group of addresses. It outlives the peer's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    inbound: bool,
    group: Group,
    peer: PeerId,
}

impl Account {
    pub(super) const fn of(info: &LinkInfo) -> Self {
        match info.side {
            Side::Inbound => Self { inbound: true, group: info.group, peer: info.peer },
            Side::Dialled | Side::Pinned => Self { inbound: false, group: Group::Local(0), peer: info.peer },
        }
    }

    pub(super) const fn side(&self) -> Side {
        if self.inbound { Side::Inbound } else { Side::Dialled }
    }

    pub(super) const fn group(&self) -> Group {
        self.group
    }

    pub(super) const fn peer(&self) -> PeerId {
        self.peer
    }

    fn has_group_of(&self, other: &Self) -> bool {
        self.inbound == other.inbound && self.group == other.group
    }
}

/// An account whose link has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departed {
    pub(super) account: Account,
    since: Instant,
    /// Undecided candidates that it delivered and that are charged to it.
    pub(super) charged: u64,
}

/// Who holds a slot.
#[derive(Debug)]
enum Holder {
    Nobody,
    Link(Box<Link>),
    Departed(Departed),
}

/// The slot of a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// One that nobody held.
    New(Slot),
    /// The one that its account held.
    Back(Slot),
}

/// All links of this pool, and the accounts of those that ended.
#[derive(Debug, Default)]
pub(super) struct Links {
    slots: Vec<Holder>,
    by_id: BTreeMap<LinkId, Slot>,
    accounts: BTreeMap<Account, Slot>, // where two links have one account, one of them
    departed: BTreeSet<(Instant, Slot)>,
}

impl Links {
    /// Adds a link. `None` where all 65,535 slots are held.
    pub(super) fn insert(&mut self, mut link: Link) -> Option<Joined> {
        let (id, account) = (link.id, Account::of(&link.info));
        let held = self.accounts.get(&account).copied();
        let back = held.and_then(|slot| Some((slot, *self.departed(slot)?)));
        let joined = match back {
            Some((slot, departed)) => {
                self.departed.remove(&(departed.since, slot));
                (0..departed.charged).for_each(|_| link.intake.grant.charge());
                Joined::Back(slot)
            }
            None => Joined::New(self.free()?),
        };
        let (Joined::New(slot) | Joined::Back(slot)) = joined;
        self.by_id.insert(id, slot);
        self.accounts.entry(account).or_insert(slot);
        *self.slots.get_mut(usize::from(slot.0))? = Holder::Link(Box::new(link));
        Some(joined)
    }

    fn free(&mut self) -> Option<Slot> {
        let nobody = |holder: &Holder| matches!(holder, Holder::Nobody);
        let free = self.slots.iter().position(nobody).unwrap_or(self.slots.len());
        let slot = Slot(u16::try_from(free).ok()?);
        if free == self.slots.len() {
            self.slots.push(Holder::Nobody);
        }
        Some(slot)
    }

    pub(super) fn slot(&self, id: LinkId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Link> {
        match self.slots.get(usize::from(slot.0))? {
            Holder::Link(link) => Some(link),
            Holder::Nobody | Holder::Departed(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Link> {
        match self.slots.get_mut(usize::from(slot.0))? {
            Holder::Link(link) => Some(link),
            Holder::Nobody | Holder::Departed(_) => None,
        }
    }

    /// A link has ended. Its account keeps the slot.
    pub(super) fn depart(&mut self, now: Instant, slot: Slot) {
        let Some(link) = self.get(slot) else { return };
        let (id, account) = (link.id, Account::of(&link.info));
        let departed = Departed { account, since: now, charged: link.intake.grant.charged() };
        self.by_id.remove(&id);
        self.hold(slot, departed);
    }

    fn hold(&mut self, slot: Slot, departed: Departed) {
        self.accounts.entry(departed.account).or_insert(slot);
        self.departed.insert((departed.since, slot));
        if let Some(holder) = self.slots.get_mut(usize::from(slot.0)) {
            *holder = Holder::Departed(departed);
        }
    }

    pub(super) fn departed(&self, slot: Slot) -> Option<&Departed> {
        match self.slots.get(usize::from(slot.0))? {
            Holder::Departed(departed) => Some(departed),
            Holder::Nobody | Holder::Link(_) => None,
        }
    }

    pub(super) fn departed_mut(&mut self, slot: Slot) -> Option<&mut Departed> {
        match self.slots.get_mut(usize::from(slot.0))? {
            Holder::Departed(departed) => Some(departed),
            Holder::Nobody | Holder::Link(_) => None,
        }
    }

    /// The accounts whose links ended, the first to end first.
    pub(super) fn all_departed(&self) -> impl Iterator<Item = (Instant, Slot)> {
        self.departed.iter().copied()
    }

    /// Another account whose link ended, of the same group where there is one.
    pub(super) fn heir(&self, slot: Slot) -> Option<Slot> {
        let account = self.departed(slot)?.account;
        let may = |(_, other): &(&Account, &Slot)| **other != slot && self.departed(**other).is_some();
        let after = self.accounts.range(account..).find(may);
        let before = self.accounts.range(..account).rev().find(may);
        let both = [after, before].into_iter().flatten();
        both.min_by_key(|(other, _)| !other.has_group_of(&account)).map(|(_, slot)| *slot)
    }

    /// A candidate is charged to an account whose link has ended.
    pub(super) fn charge_departed(&mut self, slot: Slot) {
        if let Some(departed) = self.departed_mut(slot) {
            departed.charged += 1;
        }
    }

    /// Candidates charged to accounts of this group whose links have ended.
    pub(super) fn departed_charges(&self, account: &Account) -> u64 {
        if self.departed.is_empty() {
            return 0;
        }
        let of_group = |(other, _): &(&Account, &Slot)| other.has_group_of(account);
        let after = self.accounts.range(account..).take_while(of_group);
        let before = self.accounts.range(..account).rev().take_while(of_group);
        after.chain(before).filter_map(|(_, slot)| Some(self.departed(*slot)?.charged)).sum()
    }

    /// The slot that an account holds.
    pub(super) fn find(&self, account: &Account) -> Option<Slot> {
        self.accounts.get(account).copied()
    }

    /// Gives an account that holds none a slot, as if its link had ended now.
    pub(super) fn open(&mut self, now: Instant, account: Account) -> Option<Slot> {
        let slot = self.free()?;
        self.hold(slot, Departed { account, since: now, charged: 0 });
        Some(slot)
    }

    /// An account whose link ended is kept for another while.
    pub(super) fn prolong(&mut self, now: Instant, slot: Slot) {
        if let Some(departed) = self.departed_mut(slot) {
            let since = std::mem::replace(&mut departed.since, now);
            self.departed.remove(&(since, slot));
            self.departed.insert((now, slot));
        }
    }

    /// An account whose link ended gives up its slot.
    pub(super) fn release(&mut self, slot: Slot) {
        let Some(Departed { account, since, .. }) = self.departed(slot).copied() else { return };
        self.departed.remove(&(since, slot));
        if self.accounts.get(&account) == Some(&slot) {
            self.accounts.remove(&account);
        }
        if let Some(holder) = self.slots.get_mut(usize::from(slot.0)) {
            *holder = Holder::Nobody;
        }
        while matches!(self.slots.last(), Some(Holder::Nobody)) {
            self.slots.pop();
        }
    }

    /// Opens one of this node's own streams, of this channel.
    pub(super) fn open_lane(&mut self, asks: &mut VecDeque<Ask>, channel: ChannelId, slot: Slot, role: Role) {
        let Some(link) = self.get_mut(slot) else { return };
        let id = link.id;
        let lane = link.lane_mut(role);
        if lane.opening != Opening::No {
            return;
        }
        lane.opening = Opening::Yes;
        let protocol = channel.protocol(role.lane());
        let tag = id.0 * 2 + u64::from(role.lane());
        asks.push_back(Ask::Open { link: id, protocol, class: Class::Control, tag });
    }

    /// How well a link delivers; 0 where it is gone.
    pub(super) fn score(&self, slot: Slot) -> u32 {
        self.get(slot).map_or(0, |link| link.gets.record.score())
    }

    /// Whose stream it is, and what for.
    pub(super) fn locate(&self, key: StreamKey) -> Option<(Slot, Role)> {
        let slot = self.slot(key.link)?;
        Some((slot, self.get(slot)?.role(key.stream)?))
    }

    /// The lowest cursor of all links that take offers.
    pub(super) fn lowest_cursor(&self) -> u64 {
        self.iter().map(|(_, link)| link.outlet.cursor()).min().unwrap_or(u64::MAX)
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
