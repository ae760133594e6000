//! Channels: what two nodes agree on, as constants of the application.
//!
//! A channel exists between two nodes where id, name, version and shape match on both sides; of each limit the smaller of
//! both sides' counts. Ids are 1 to 16,383, names 1 to 32 bytes of `a-z 0-9 . _ - /`: a constant with another one does not
//! compile. Both are unique within a network, and a node has at most 64 channels: what does not hold is refused at start.
//!
//! A node takes part in what its builder is given ([`Builder::channels`](crate::Builder::channels)), and start returns a handle
//! for each:
//!
//! | given | handle | for |
//! |---|---|---|
//! | [`Pool`] | [`PoolHandle`](crate::PoolHandle) | offering items, and deciding on those of others |
//! | [`Tip`] | [`TipHandle`](crate::TipHandle) | publishing the current value, and deciding on those of others |
//! | [`Method`] | [`Caller`](crate::Caller) | calling it; peers that ask this node are told to retry after 1 s |
//! | [`Method::serve`] | [`Requests`](crate::Requests) | answering it, and calling it too |
//! | [`Raw`] | [`Streams`](crate::Streams) | opening and accepting byte streams |
//! | [`Protocol`] | [`Streams`](crate::Streams) | the same by a name of other people's: no channel, but declared beside them |
//! | [`RequestResponse`] | [`Requester`](crate::Requester) | asking by a name of other people's |
//! | [`RequestResponse::serve`] | [`Responder`](crate::Responder) | answering it, and asking, too |
//! | a tuple of these, an `Option`, a `Vec` | the same of handles | several; what depends on a setting; what is counted at run time |
//!
//! ```compile_fail
//! # use weir_node as weir;
//! const TXS: weir::Pool<String> = weir::Pool::new(0, "tx"); // 0 is no id of a channel
//! # fn main() { let _ = TXS; }
//! ```
//!
//! ```
//! # use weir_node as weir;
//! use weir::{Bytes, Method, Pool, Raw, Tip};
//! # use weir::{Malformed, Message, PoolItem, SlotKey, TipValue};
//! # struct Tx;
//! # impl Message for Tx {
//! #     fn encode(&self) -> Bytes { Bytes::new() }
//! #     fn decode(_: Bytes) -> Result<Self, Malformed> { Ok(Self) }
//! # }
//! # impl PoolItem for Tx {}
//! # struct Head;
//! # impl Message for Head {
//! #     fn encode(&self) -> Bytes { Bytes::new() }
//! #     fn decode(_: Bytes) -> Result<Self, Malformed> { Ok(Self) }
//! # }
//! # impl TipValue for Head {
//! #     fn slot(&self) -> SlotKey { SlotKey::new([0; 32]) }
//! # }
//! const HEAD: Tip<Head> = Tip::new(2, "head");
//! const TXS: Pool<Tx> = Pool::new(4, "tx").max_item(16 * 1024);
//! const BLOCK: Method<String, Bytes> = Method::new(5, "block").max_response(4 << 20);
//! const SNAPSHOT: Raw = Raw::new(9, "snapshot");
//! ```

use std::marker::PhantomData;
use std::time::Duration;

use weir_base::stream::Class;
use weir_pull::{ChannelId, control};
use weir_stack::exchange::{Framing, LengthPrefix, Limits};

use crate::names::{self, NameError, are_names};

/// What every kind of channel declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) id: u16,
    pub(crate) name: &'static str,
    pub(crate) version: u16,
    pub(crate) oldest: u16,
    pub(crate) class: Class,
}

impl Declared {
    const fn new(id: u16, name: &'static str, class: Class) -> Self {
        assert!(id >= 1 && id <= ChannelId::MAX.0, "the id of a channel is between 1 and 16,383");
        assert!(is_name(name), "the name of a channel has 1 to 32 bytes of a-z 0-9 . _ - /");
        Self { id, name, version: 1, oldest: 1, class }
    }
}

/// What a hello can carry as a name (`docs/spec/control.md`).
const fn is_name(name: &str) -> bool {
    let mut rest = name.as_bytes();
    let fits = !rest.is_empty() && rest.len() <= control::MAX_NAME;
    while let [byte, behind @ ..] = rest {
        if !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/') {
            return false;
        }
        rest = behind;
    }
    fits
}

/// Constants of the application: copied wherever they are used, whatever their types are.
macro_rules! copied {
    ($name:ident<$($of:ident),+>) => {
        impl<$($of),+> Clone for $name<$($of),+> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<$($of),+> Copy for $name<$($of),+> {}
    };
}

copied!(Pool<T>);
copied!(Tip<T>);
copied!(Method<Req, Resp>);
copied!(Served<Req, Resp>);

macro_rules! common {
    () => {
        /// Another version than 1, 0 to 65,535. Nodes that have no version in common do not share the channel.
        #[must_use]
        pub const fn version(self, version: u16) -> Self {
            self.versions(version, version)
        }

        /// All versions from `oldest` to `newest`. Two nodes use the highest that both have
        /// ([`SharedChannel::version`](crate::SharedChannel::version)), so that a network upgrades a channel node by node: new nodes
        /// speak the old version and the new one until no old node is left (`docs/spec/control.md`).
        ///
        /// # Panics
        /// Where `oldest` is above `newest`; in a constant that is an error of the compiler.
        #[must_use]
        pub const fn versions(mut self, oldest: u16, newest: u16) -> Self {
            assert!(oldest <= newest, "the oldest version of a channel is not above the newest");
            self.declared.oldest = oldest;
            self.declared.version = newest;
            self
        }

        /// Another class of service for what this node sends: it decides what goes first on a link that has too little room.
        /// Each node's own choice, not on the wire. Default: [`Class::Pool`] for pools and methods, [`Class::Tip`] for tips,
        /// [`Class::Bulk`] for raw streams.
        #[must_use]
        pub const fn class(mut self, class: Class) -> Self {
            self.declared.class = class;
            self
        }

        /// The id on the wire.
        pub const fn id(&self) -> u16 {
            self.declared.id
        }

        /// The name.
        pub const fn name(&self) -> &'static str {
            self.declared.name
        }
    };
}

/// A set of items that all nodes should come to share. On the wire: `docs/spec/pool.md`.
///
/// ```
/// use std::time::Duration;
///
/// use weir::Pool;
///
/// const TXS: Pool<String> = Pool::new(4, "tx").max_item(16 * 1024).keep(20_000, 32 << 20);
/// const VOTES: Pool<String> = Pool::new(6, "vote").max_item(256).offer_delay(Duration::ZERO);
/// # let _ = (TXS, VOTES);
/// ```
#[derive(Debug)]
pub struct Pool<T> {
    pub(crate) declared: Declared,
    pub(crate) limits: PoolLimits,
    item: PhantomData<fn() -> T>,
}

/// What a pool is declared with; `None` is the default of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolLimits {
    pub(crate) max_item: Option<u32>,
    pub(crate) max_items: Option<u32>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) offer_delay: Option<Duration>,
    pub(crate) candidates: Option<u32>,
}

impl<T> Pool<T> {
    /// A pool called `name` on channel `id`.
    ///
    /// # Panics
    /// Where the id is not between 1 and 16,383, or the name not 1 to 32 bytes of `a-z 0-9 . _ - /`; in a constant that is an
    /// error of the compiler.
    pub const fn new(id: u16, name: &'static str) -> Self {
        let limits = PoolLimits {
            max_item: None,
            max_items: None,
            max_bytes: None,
            offer_delay: None,
            candidates: None,
        };
        Self { declared: Declared::new(id, name, Class::Pool), limits, item: PhantomData }
    }

    common!();

    /// The largest item in encoded bytes, 1 byte to 64 MiB. Larger ones are neither published nor fetched. Default: 64 KiB.
    #[must_use]
    pub const fn max_item(mut self, bytes: u32) -> Self {
        self.limits.max_item = Some(bytes);
        self
    }

    /// What this node keeps at most, in items and in encoded bytes, one largest item at least; those of the lowest
    /// [priority](crate::PoolItem::priority) are evicted first, for items of a higher one. Among equals those that are in stay. Default: 50,000 items, 64 MiB.
    #[must_use]
    pub const fn keep(mut self, items: u32, bytes: u64) -> Self {
        self.limits.max_items = Some(items);
        self.limits.max_bytes = Some(bytes);
        self
    }

    /// How many candidates are handed out ahead of their verdicts, at least 1. More of them keep several checking threads busy;
    /// fewer leave more to say for priorities, as what was handed out is no longer sorted. Default: 1,024.
    #[must_use]
    pub const fn candidates(mut self, count: u32) -> Self {
        self.limits.candidates = Some(count);
        self
    }

    /// How long new items are gathered before they are offered, on average: 0 for votes, about 100 ms for transactions. At
    /// most 60 s. Default: 100 ms.
    #[must_use]
    pub const fn offer_delay(mut self, delay: Duration) -> Self {
        self.limits.offer_delay = Some(delay);
        self
    }
}

/// One current value of which the newest wins. On the wire: `docs/spec/tip.md`.
#[derive(Debug)]
pub struct Tip<T> {
    pub(crate) declared: Declared,
    pub(crate) max_value: Option<u32>,
    value: PhantomData<fn() -> T>,
}

impl<T> Tip<T> {
    /// A tip called `name` on channel `id`.
    ///
    /// # Panics
    /// Where the id is not between 1 and 16,383, or the name not 1 to 32 bytes of `a-z 0-9 . _ - /`; in a constant that is an
    /// error of the compiler.
    pub const fn new(id: u16, name: &'static str) -> Self {
        Self { declared: Declared::new(id, name, Class::Tip), max_value: None, value: PhantomData }
    }

    common!();

    /// The largest value in encoded bytes, 1 to 1,024. Default: 1,024.
    #[must_use]
    pub const fn max_value(mut self, bytes: u32) -> Self {
        self.max_value = Some(bytes);
        self
    }
}

/// A question with one answer. On the wire: `docs/spec/call.md`.
///
/// ```
/// use std::time::Duration;
///
/// use weir::{Bytes, Method};
///
/// const BLOCK: Method<u64, Bytes> = Method::new(5, "block")
///     .max_request(8)
///     .max_response(4 << 20)
///     .deadline(Duration::from_secs(5))
///     .rate(10, 100) // of one peer: ten a second, a hundred at once
///     .replay_safe(); // asking twice does no harm: it may go along with the handshake
/// # let _ = BLOCK;
/// ```
#[derive(Debug)]
pub struct Method<Req, Resp> {
    pub(crate) declared: Declared,
    pub(crate) limits: MethodLimits,
    types: PhantomData<fn(Req) -> Resp>,
}

/// What a method is declared with; `None` is the default of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MethodLimits {
    pub(crate) max_request: Option<u32>,
    pub(crate) max_response: Option<u32>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) rate: Option<(u32, u32)>, // requests a second, and at once above that
    pub(crate) deadline: Option<Duration>,
    pub(crate) replay_safe: bool,
}

impl<Req, Resp> Method<Req, Resp> {
    /// A method called `name` on channel `id`.
    ///
    /// # Panics
    /// Where the id is not between 1 and 16,383, or the name not 1 to 32 bytes of `a-z 0-9 . _ - /`; in a constant that is an
    /// error of the compiler.
    pub const fn new(id: u16, name: &'static str) -> Self {
        let limits = MethodLimits {
            max_request: None,
            max_response: None,
            concurrency: None,
            rate: None,
            deadline: None,
            replay_safe: false,
        };
        Self { declared: Declared::new(id, name, Class::Pool), limits, types: PhantomData }
    }

    common!();

    /// The largest request in encoded bytes. Default: 64 KiB.
    #[must_use]
    pub const fn max_request(mut self, bytes: u32) -> Self {
        self.limits.max_request = Some(bytes);
        self
    }

    /// The largest response in encoded bytes. Default: 1 MiB.
    #[must_use]
    pub const fn max_response(mut self, bytes: u32) -> Self {
        self.limits.max_response = Some(bytes);
        self
    }

    /// How many calls are under way at once with one peer, in each direction; at least 1. Default: 64.
    #[must_use]
    pub const fn concurrency(mut self, requests: u32) -> Self {
        self.limits.concurrency = Some(requests);
        self
    }

    /// How many requests this node admits of one peer: so many a second in the long run, and `burst` at once above that; each at
    /// least 1. Those beyond are refused, with the time to retry. Each node's own choice, not on the wire. Default: no limit but
    /// [`concurrency`](Self::concurrency).
    #[must_use]
    pub const fn rate(mut self, per_second: u32, burst: u32) -> Self {
        self.limits.rate = Some((per_second, burst));
        self
    }

    /// Answers it: the handle is a queue of [`Requests`](crate::Requests), which can call it too.
    pub const fn serve(self) -> Served<Req, Resp> {
        Served(self)
    }

    /// How long a call may take, above 0; a call may set less
    /// ([`Caller::call_within`](crate::Caller::call_within)). Peers are told an hour at most. Default: 10 s.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// Running a request twice does no harm: such a call may go along with the handshake (0-RTT), where an attacker could
    /// replay it. Default: it may not.
    #[must_use]
    pub const fn replay_safe(mut self) -> Self {
        self.limits.replay_safe = true;
        self
    }
}

/// A method that this node answers. See [`Method::serve`].
#[derive(Debug)]
pub struct Served<Req, Resp>(pub(crate) Method<Req, Resp>);

/// Byte streams of other people's protocols, which go by name on every link: `docs/spec/libp2p-links.md` and
/// `docs/spec/streams.md`, "By name".
///
/// ```
/// # use weir_node as weir;
/// const ECHO: weir::Protocol = weir::Protocol::new(&["/my/echo/1.1.0", "/my/echo/1.0.0"]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub(crate) names: &'static [&'static str],
    pub(crate) class: Class,
    pub(crate) served: bool,
}

impl Protocol {
    /// The protocol that is called by these names, the best first: versions of it, say. With a single name its first bytes go out at
    /// once; several cost a round trip in which the peer takes one.
    ///
    /// A node has at most [64](weir_stack::NAMES_MAX) names of [4,096 bytes](weir_stack::NAMES_BYTES_MAX) in all, each for one
    /// protocol; what does not hold is refused at start.
    ///
    /// # Panics
    /// Where there is no name, or one that is empty, has more than [128 bytes](weir_stack::NAME_MAX) or a newline, or is a word of
    /// the negotiation itself (`na`, `ls`); in a constant that is an error of the compiler.
    pub const fn new(names: &'static [&'static str]) -> Self {
        assert!(
            are_names(names),
            "a protocol has names of 1 to 128 bytes, without newline, and not `na` or `ls`"
        );
        Self { names, class: Class::Bulk, served: true }
    }

    /// As [`new`](Self::new), for names that are known only when the program runs: where a chain's own name is part of them, say. They are
    /// kept, each once, as long as the process lives.
    ///
    /// ```
    /// # use weir_node as weir;
    /// # fn sync(genesis: &str) -> Result<weir::Protocol, weir::NameError> {
    /// let sync = weir::Protocol::try_new([format!("/{genesis}/sync/2"), format!("/{genesis}/sync/1")])?;
    /// # Ok(sync)
    /// # }
    /// # assert!(sync("91b171bb").is_ok());
    /// # assert!(sync(&"9".repeat(128)).is_err());
    /// ```
    ///
    /// # Errors
    /// [`NameError`] where `new` panics.
    pub fn try_new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, NameError> {
        names::kept(names).map(Self::new)
    }

    /// Another class of service than [`Class::Bulk`] for what this node sends: it decides what goes first on a link that has too
    /// little room. Each node's own choice, not on the wire.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// This node opens streams, and takes none: who proposes one of the names is told that they are not spoken here.
    #[must_use]
    pub const fn outbound_only(mut self) -> Self {
        self.served = false;
        self
    }
}

/// Requests and responses of other people's protocols, which go by name on every link: one request, one response, bytes each. On
/// the wire: `docs/spec/streams.md`, "Requests by name".
///
/// ```
/// # use weir_node as weir;
/// use weir::RequestResponse;
///
/// const BLOCKS: RequestResponse =
///     RequestResponse::new(&["/my/blocks/2", "/my/blocks/1"]).max_request(1024).max_response(4 << 20);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RequestResponse {
    pub(crate) names: &'static [&'static str],
    pub(crate) framing: &'static dyn Framing,
    pub(crate) limits: Limits,
}

impl RequestResponse {
    /// The protocol that is called by these names, the best first. With a single name a request goes out at once; several cost a
    /// round trip in which the peer takes one.
    ///
    /// # Panics
    /// As [`Protocol::new`].
    pub const fn new(names: &'static [&'static str]) -> Self {
        let Protocol { names, .. } = Protocol::new(names);
        Self { names, framing: &LengthPrefix, limits: Limits::DEFAULT }
    }

    /// As [`new`](Self::new), for names that are known only when the program runs. See [`Protocol::try_new`].
    ///
    /// # Errors
    /// [`NameError`] where `new` panics.
    pub fn try_new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, NameError> {
        names::kept(names).map(Self::new)
    }

    /// How messages lie in a stream. It runs on the network thread. Default: [`LengthPrefix`], an unsigned varint in front of each.
    #[must_use]
    pub const fn framing(mut self, framing: &'static dyn Framing) -> Self {
        self.framing = framing;
        self
    }

    /// The largest request in bytes, either way. Default: 64 KiB.
    #[must_use]
    pub const fn max_request(mut self, bytes: u32) -> Self {
        self.limits.max_request = bytes;
        self
    }

    /// The largest response in bytes, either way. Default: 1 MiB.
    #[must_use]
    pub const fn max_response(mut self, bytes: u32) -> Self {
        self.limits.max_response = bytes;
        self
    }

    /// How long a request of this side's may take, above 0. Of one of a peer's, each: how long until it is whole, until it is answered, and
    /// until the response is out. Default: 10 s.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline;
        self
    }

    /// How many requests are under way at once with one peer, and in all, in each direction; each above 0. What a peer begins beyond that
    /// is broken off. At most `total` of the largest requests, and as many of the largest responses, are held in each direction.
    /// Default: 8 and 64.
    #[must_use]
    pub const fn concurrency(mut self, per_peer: u32, total: u32) -> Self {
        (self.limits.per_peer, self.limits.total) = (per_peer, total);
        self
    }

    /// Another class of service than [`Class::Pool`] for what this node sends. Each node's own choice, not on the wire.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.limits.class = class;
        self
    }

    /// Answers it: the handle is a [`Responder`](crate::Responder), which can ask, too.
    #[must_use]
    pub const fn serve(self) -> ServedRequests {
        ServedRequests(self)
    }
}

/// A protocol of requests and responses that this node answers. See [`RequestResponse::serve`].
#[derive(Clone, Copy, Debug)]
pub struct ServedRequests(pub(crate) RequestResponse);

/// Byte streams of the application's own.
///
/// ```
/// use weir::{Class, Raw};
///
/// const SNAPSHOT: Raw = Raw::new(9, "snapshot");
/// const LOGS: Raw = Raw::new(10, "logs").versions(1, 3).class(Class::Pool);
/// assert_eq!((SNAPSHOT.id(), LOGS.name()), (9, "logs"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    pub(crate) declared: Declared,
}

impl Raw {
    /// Raw streams called `name` on channel `id`.
    ///
    /// # Panics
    /// Where the id is not between 1 and 16,383, or the name not 1 to 32 bytes of `a-z 0-9 . _ - /`; in a constant that is an
    /// error of the compiler.
    pub const fn new(id: u16, name: &'static str) -> Self {
        Self { declared: Declared::new(id, name, Class::Bulk) }
    }

    common!();
}
