//! What a pool's user sees: limits, rules, commands, events, counters.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_base::codec::Malformed;
use weir_base::identity::PeerId;
use weir_base::stream::Class;
use weir_base::{Instant, LimitError, LinkId, MIB};

use crate::machine::{Refused, Ticket};

/// Bytes of the longest summary.
pub const MAX_SUMMARY: usize = 15;

/// Items that one [`Command::Batch`] may take out and put in together: a block of 12 s at 1,000 transactions a second, at a few
/// microseconds each, keeps the node's thread for less than 50 ms.
pub const MAX_BATCH: usize = 16_384;

/// The few bytes by which a peer decides whether it wants an item: a fee, a nonce, whom it concerns.
/// Taken from the item's own bytes, so that a false one is found out on delivery.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Summary {
    len: u8, // <= MAX_SUMMARY
    bytes: [u8; MAX_SUMMARY],
}

impl Summary {
    /// The empty summary.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_SUMMARY] };

    /// A summary of at most [`MAX_SUMMARY`] bytes; longer ones are [`Malformed::TooLarge`].
    pub fn new(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut summary = Self::EMPTY;
        summary.bytes.get_mut(..bytes.len()).ok_or(Malformed::TooLarge)?.copy_from_slice(bytes);
        summary.len = u8::try_from(bytes.len()).map_err(|_| Malformed::TooLarge)?;
        Ok(summary)
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl std::fmt::Debug for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An item, and what its type says of it, which is worked out once: 104 bytes and the body, which all clones share.
#[derive(Clone, Debug)]
pub struct Item(pub(super) Arc<Contents>);

/// What clones of an item share.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) id: [u8; 32],
    pub(super) bytes: Bytes,
    pub(super) priority: u64,
    pub(super) summary: Summary,
}

impl Item {
    /// An item of these bytes. Summary and priority must be what the channel's [`Rules`] say of them: peers check that.
    pub fn new(bytes: Bytes, summary: Summary, priority: u64) -> Self {
        Self::with_id(Sha256::digest(&bytes).into(), bytes, summary, priority)
    }

    /// An item whose id is known.
    pub(super) fn with_id(id: [u8; 32], bytes: Bytes, summary: Summary, priority: u64) -> Self {
        Self(Arc::new(Contents { id, bytes, priority, summary }))
    }

    /// SHA-256 of its bytes.
    pub fn id(&self) -> [u8; 32] {
        self.0.id
    }

    /// Whether it has other clones.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }
}

/// What the item's type knows by itself, as pure code: no state, the same answer on every node.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The summary of an item's bytes. An error means that these bytes are no item at all.
    pub summarize: fn(&Bytes) -> Result<Summary, Malformed>,
    /// The priority of an item with this summary, higher is kept longer; `None` where nobody would want it.
    pub judge: fn(&Summary) -> Option<u64>,
}

/// The limits of a pool.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest item, in bytes. Default: 64 KiB.
    pub max_item: u32,
    /// Items kept; beyond it the lowest priority goes. Default: 50,000.
    pub max_items: u32,
    /// Bytes of bodies kept; beyond it the lowest priority goes. Default: 64 MiB.
    pub max_bytes: u64,
    /// Entries a peer may have offered that are undecided, at first. Default: 256.
    pub entries: u32,
    /// What `entries` may grow to for a peer that offers much. Default: 4,096.
    pub max_entries: u32,
    /// Entries granted to all links together and not yet returned. Default: 131,072.
    pub max_grants: u32,
    /// How long an item waits, on average, so that offers carry many entries. Default: 100 ms; 0 for votes.
    pub offer_delay: Duration,
    /// How what this channel writes ranks. Default: [`Class::Pool`].
    pub class: Class,
    /// What the item's type knows by itself.
    pub rules: Rules,
    /// Deferred items kept. Default: 4,096.
    pub deferred_items: u32,
    /// Bytes of deferred items kept. Default: 4 MiB.
    pub deferred_bytes: u64,
    /// Candidates the application may have at once without a verdict. Default: 1,024.
    pub checking: u32,
    /// Candidates handed over and not yet taken; beyond it, all wait their turn by deliverer. Default: 32.
    pub ahead: u32,
    /// The same in expected checking time, but for the first of them. Raise it where an application checks many at once.
    /// Default: 4 ms.
    pub ahead_time: Duration,
    /// How long after it took a candidate the application may stay silent before that means *defer*. Default: 10 s.
    pub verdict_time: Duration,
    /// Bytes asked of one peer and not yet answered, above one item. Default: 1 MiB.
    pub link_in_flight: u64,
    /// Bytes asked of all peers and not yet decided, above one item. Default: 32 MiB.
    pub in_flight: u64,
    /// Ids of items rejected, ignored or removed that are remembered. Default: 65,536.
    pub remembered: u32,
}

impl Config {
    /// The defaults, for items of this type.
    pub const fn new(rules: Rules) -> Self {
        Self {
            max_item: 65_536,
            max_items: 50_000,
            max_bytes: 64 * MIB as u64,
            entries: 256,
            max_entries: 4_096,
            max_grants: 131_072,
            offer_delay: Duration::from_millis(100),
            class: Class::Pool,
            rules,
            deferred_items: 4_096,
            deferred_bytes: 4 * MIB as u64,
            checking: 1_024,
            ahead: 32,
            ahead_time: Duration::from_millis(4),
            verdict_time: Duration::from_secs(10),
            link_in_flight: MIB as u64,
            in_flight: 32 * MIB as u64,
            remembered: 65_536,
        }
    }

    /// Checks every field; names the first that does not hold, and the remedy.
    pub(crate) fn validate(&self) -> Result<(), LimitError> {
        let checks = [
            (self.max_item > 0, "max_item", "must be at least 1 byte"),
            (self.max_item <= 1 << 26, "max_item", "must be at most 64 MiB"),
            (self.max_items > 0, "max_items", "must be at least 1"),
            (
                self.max_bytes >= u64::from(self.max_item),
                "max_bytes",
                "must hold at least one item of `max_item`",
            ),
            (self.entries > 0, "entries", "must be at least 1"),
            (self.entries <= self.max_entries, "max_entries", "must be at least `entries`"),
            (self.max_entries <= 65_536, "max_entries", "must be at most 65536"),
            (self.max_grants / 2 >= self.entries, "max_grants", "must be at least twice `entries`"),
            (self.offer_delay <= Duration::from_secs(60), "offer_delay", "must be at most 60 s"),
            (
                self.deferred_bytes >= u64::from(self.max_item),
                "deferred_bytes",
                "must hold at least one item of `max_item`",
            ),
            (self.checking > 0, "checking", "must be at least 1"),
            (self.ahead > 0, "ahead", "must be at least 1"),
            (!self.verdict_time.is_zero(), "verdict_time", "must be above 0"),
        ];
        match checks.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, remedy)) => Err(LimitError::new(field, remedy)),
            None => Ok(()),
        }
    }
}

/// What the application decided about a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It enters the pool and is offered on.
    Accept,
    /// It can never be valid: the deliverer's fault.
    Reject,
    /// Not wanted, nobody's fault.
    Ignore,
    /// Not now, nobody's fault: it comes again after this time, or on [`Command::Reconsider`]. At most an hour.
    Defer(Duration),
}

/// What the application wants of a pool.
#[derive(Clone, Debug)]
pub enum Command {
    /// Puts an item in that the application has checked. One that is in already stays as it is.
    Insert {
        /// Its encoded bytes.
        bytes: Bytes,
    },
    /// As [`Insert`](Self::Insert), of what was worked out already, on a thread of the application.
    Publish {
        /// The item.
        item: Item,
    },
    /// Decides on a candidate.
    Verdict {
        /// Which.
        ticket: Ticket,
        /// When it decided, on the clock of all inputs: its deliverer is charged the time until then, and not the time until this
        /// node heard of it. A time to come counts as now.
        at: Instant,
        /// How.
        verdict: Verdict,
    },
    /// The application took this candidate out of its mailbox: from then on it has [`Config::verdict_time`], and the deliverer
    /// pays for the time until the verdict. What is decided without having been taken costs no time. Only the first counts.
    Taken {
        /// Which.
        ticket: Ticket,
        /// When; now, where that is still to come.
        at: Instant,
    },
    /// The application has the item of this candidate already, as the pool of another node in its process does: the pool shares
    /// it from now on, and lets go of what came. Where it is another item, or its summary or priority are others,
    /// [`Refused::Invalid`], and nothing has happened.
    Share {
        /// Which.
        ticket: Ticket,
        /// The item of the bytes that [`Event::Candidate`] has.
        item: Item,
    },
    /// Takes an item out, wherever it is; it is not fetched again while its id is remembered.
    Remove {
        /// SHA-256 of its bytes.
        id: [u8; 32],
    },
    /// Many of both at once, as a block does: takes these items out, then puts those in, each as [`Command::Remove`] and
    /// [`Command::Publish`] do. At most [`MAX_BATCH`] in all, else [`Refused::TooLarge`] and nothing has happened. What became of
    /// the inserts tells [`Event::BatchDone`].
    Batch {
        /// SHA-256 of the bytes of each item to take out.
        remove: Vec<[u8; 32]>,
        /// Each item to put in.
        insert: Vec<Item>,
    },
    /// While true, no offers are granted: the node is out of sync.
    Pause(bool),
    /// All deferred items come again now.
    Reconsider,
    /// Items of a lower priority are not wanted.
    Floor(u64),
    /// Asks all peers to offer again from the start.
    Resync,
}

/// What a pool tells the application.
#[derive(Clone, Debug)]
pub enum Event {
    /// An item to decide on.
    Candidate {
        /// Names it in [`Command::Verdict`] and [`Command::Taken`].
        ticket: Ticket,
        /// Which link delivered it; it may be gone by now.
        link: LinkId,
        /// Who delivered it.
        peer: PeerId,
        /// SHA-256 of its bytes.
        id: [u8; 32],
        /// Its encoded bytes.
        bytes: Bytes,
    },
    /// An item left the pool, or was accepted and found no place, because others have a higher priority.
    Evicted {
        /// SHA-256 of its bytes.
        id: [u8; 32],
    },
    /// A [`Command::Batch`] was carried out.
    BatchDone {
        /// What that command returned.
        ticket: Ticket,
        /// For each item to put in, in their order: whether it is in the pool now.
        inserts: Vec<Result<(), Refused>>,
    },
}

/// Plain counters of one pool, on all links, since the start. They only grow, but for those marked *now*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Complete bodies received.
    pub bodies: u64,
    /// Of these, those that nobody waited for any more, or that were held already.
    pub duplicates: u64,
    /// Bytes of bodies received.
    pub body_bytes: u64,
    /// Bytes received on this channel less body bytes.
    pub control_bytes: u64,
    /// Bytes of bodies sent.
    pub body_bytes_sent: u64,
    /// Bytes sent on this channel less body bytes.
    pub control_bytes_sent: u64,
    /// Offers received.
    pub offers: u64,
    /// Entries received.
    pub entries: u64,
    /// Offers sent.
    pub offers_sent: u64,
    /// Entries sent.
    pub entries_sent: u64,
    /// Permits sent.
    pub wants_sent: u64,
    /// Items asked of peers.
    pub gets_sent: u64,
    /// Gets taken back.
    pub cancels_sent: u64,
    /// Gets answered with an item.
    pub items_sent: u64,
    /// Gets of ours that were answered with *gone*.
    pub gone: u64,
    /// Gets without progress in time, after which another peer was asked.
    pub late: u64,
    /// Times a peer was blamed.
    pub faults: u64,
    /// Candidates handed to the application.
    pub candidates: u64,
    /// Items accepted or inserted.
    pub accepted: u64,
    /// Entries granted to all links that are up, absolute totals (*now*).
    pub entries_granted: u64,
    /// Of these, received (*now*). Never above `entries_granted`.
    pub entries_held: u64,
    /// Bytes of offers granted to all links that are up, absolute totals (*now*).
    pub bytes_granted: u64,
    /// Of these, received (*now*). Never above `bytes_granted`.
    pub bytes_held: u64,
    /// Bytes of bodies asked for and not yet answered (*now*).
    pub in_flight: u64,
    /// Items in the pool (*now*).
    pub items: u64,
    /// Bytes of bodies in the pool (*now*).
    pub item_bytes: u64,
    /// Bytes of memory of what is kept of offers: candidates without their bodies, who knows what, and the queues of both at each
    /// link (*now*).
    pub table_bytes: u64,
}
