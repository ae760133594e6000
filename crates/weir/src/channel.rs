//! Channels: what two nodes agree on, as constants of the application.
//!
//! A channel exists between two nodes where id, name, version and shape match on both sides; limits are the minimum of both.
//! Ids are 1 to 16,383 and unique within a network; names are for people and for the match.
//!
//! ```
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
//! #     fn slot(&self) -> SlotKey { SlotKey([0; 32]) }
//! # }
//! const HEAD: Tip<Head> = Tip::new(2, "head");
//! const TXS: Pool<Tx> = Pool::new(4, "tx").max_item(16 * 1024);
//! const BLOCK: Method<String, Bytes> = Method::new(5, "block").max_response(4 << 20);
//! const SNAPSHOT: Raw = Raw::new(9, "snapshot");
//! ```

use std::marker::PhantomData;
use std::time::Duration;

use weir_base::stream::Class;

/// What every kind of channel declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) id: u16,
    pub(crate) name: &'static str,
    pub(crate) version: u16,
    pub(crate) class: Class,
}

impl Declared {
    const fn new(id: u16, name: &'static str, class: Class) -> Self {
        Self { id, name, version: 1, class }
    }
}

macro_rules! common {
    () => {
        /// Another version than 1: nodes with different versions do not share the channel.
        #[must_use]
        pub const fn version(mut self, version: u16) -> Self {
            self.declared.version = version;
            self
        }

        /// Another class of service, for what this node sends.
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

/// A set of items that all nodes should come to share (protocol §3).
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
}

impl<T> Pool<T> {
    /// A pool called `name` on channel `id`.
    pub const fn new(id: u16, name: &'static str) -> Self {
        let limits = PoolLimits { max_item: None, max_items: None, max_bytes: None, offer_delay: None };
        Self { declared: Declared::new(id, name, Class::Pool), limits, item: PhantomData }
    }

    common!();

    /// The largest item in encoded bytes. Larger ones are neither published nor fetched.
    #[must_use]
    pub const fn max_item(mut self, bytes: u32) -> Self {
        self.limits.max_item = Some(bytes);
        self
    }

    /// What this node keeps at most, in items and bytes; the least wanted are evicted first.
    #[must_use]
    pub const fn keep(mut self, items: u32, bytes: u64) -> Self {
        self.limits.max_items = Some(items);
        self.limits.max_bytes = Some(bytes);
        self
    }

    /// How long new items are gathered before they are offered: 0 for votes, about 100 ms for transactions.
    #[must_use]
    pub const fn offer_delay(mut self, delay: Duration) -> Self {
        self.limits.offer_delay = Some(delay);
        self
    }
}

/// One current value of which the newest wins (protocol §2).
#[derive(Debug)]
pub struct Tip<T> {
    pub(crate) declared: Declared,
    pub(crate) max_value: Option<u32>,
    value: PhantomData<fn() -> T>,
}

impl<T> Tip<T> {
    /// A tip called `name` on channel `id`.
    pub const fn new(id: u16, name: &'static str) -> Self {
        Self { declared: Declared::new(id, name, Class::Tip), max_value: None, value: PhantomData }
    }

    common!();

    /// The largest value in encoded bytes; at most 1,024.
    #[must_use]
    pub const fn max_value(mut self, bytes: u32) -> Self {
        self.max_value = Some(bytes);
        self
    }
}

/// A question with one answer (protocol §5).
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
    pub(crate) deadline: Option<Duration>,
    pub(crate) replay_safe: bool,
}

impl<Req, Resp> Method<Req, Resp> {
    /// A method called `name` on channel `id`.
    pub const fn new(id: u16, name: &'static str) -> Self {
        let limits = MethodLimits {
            max_request: None,
            max_response: None,
            concurrency: None,
            deadline: None,
            replay_safe: false,
        };
        Self { declared: Declared::new(id, name, Class::Pool), limits, types: PhantomData }
    }

    common!();

    /// The largest request in encoded bytes.
    #[must_use]
    pub const fn max_request(mut self, bytes: u32) -> Self {
        self.limits.max_request = Some(bytes);
        self
    }

    /// The largest response in encoded bytes.
    #[must_use]
    pub const fn max_response(mut self, bytes: u32) -> Self {
        self.limits.max_response = Some(bytes);
        self
    }

    /// How many requests of one peer are under way at most.
    #[must_use]
    pub const fn concurrency(mut self, requests: u32) -> Self {
        self.limits.concurrency = Some(requests);
        self
    }

    /// How long a call may take, unless the call itself says otherwise.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// Whoever answers twice does no harm: such a call may travel in a first flight that an attacker could replay.
    #[must_use]
    pub const fn replay_safe(mut self) -> Self {
        self.limits.replay_safe = true;
        self
    }
}

/// Byte streams of the application's own.
#[derive(Debug)]
pub struct Raw {
    pub(crate) declared: Declared,
}

impl Raw {
    /// Raw streams called `name` on channel `id`.
    pub const fn new(id: u16, name: &'static str) -> Self {
        Self { declared: Declared::new(id, name, Class::Bulk) }
    }

    common!();
}
