//! What a node speaks: its network, its channels, and the limits of each.

use std::collections::BTreeSet;

use crate::channel::ChannelId;
use weir_base::{LimitError, NetworkId};

use crate::control::codec::{ChannelOffer, Hello, Preamble};
use crate::control::{Service, VERSION};
use crate::keys::NumberedKey;
use crate::{call, control, pool, tip};

/// What a node speaks and offers. The same on all nodes of a network, but for `agent`, `services` and limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network; links to others are refused.
    pub network: NetworkId,
    /// Name and version of the program, for people: at most [`control::MAX_AGENT`] bytes.
    pub agent: String,
    /// What this node can do for others: at most [`control::MAX_SERVICES`].
    pub services: Vec<Service>,
    /// The channels: at most [`control::MAX_CHANNELS`], ids and names unique.
    pub channels: Vec<Channel>,
    /// Keep-alive, deadlines and key rotation.
    pub control: control::Config,
    /// Bytes that requests on their way and answers not yet read may hold, on all call channels and links together. At least
    /// four thirds of the largest request and answer of any of them, and four times its largest request. [`call::DEFAULT_MEMORY`] is usual.
    pub call_memory: u64,
}

/// One declared protocol of a network.
#[derive(Clone, Debug)]
pub struct Channel {
    /// 1 to 16,383.
    pub id: ChannelId,
    /// At most [`control::MAX_NAME`] bytes of `a-z 0-9 . _ - /`.
    pub name: String,
    /// The newest version of the channel's own messages that this node speaks.
    pub version: u16,
    /// The oldest one. Two nodes share the channel where they have a version in common, and use the highest
    /// ([`Negotiated::version`](crate::Negotiated::version)), so that a network can upgrade node by node.
    pub oldest: u16,
    /// How it behaves.
    pub shape: Shape,
}

/// How a channel behaves, and its limits.
#[derive(Clone, Debug)]
pub enum Shape {
    /// One current value, the newest wins.
    Tip(tip::Config),
    /// A set that all nodes come to share.
    Pool(pool::Config),
    /// One request, one response.
    Call(call::Config),
    /// Byte streams of the application. Negotiated here, carried by the stack.
    Raw,
}

impl Shape {
    /// The lanes of a channel of this shape, which are numbered from 0 (`docs/spec/streams.md`, "The head").
    pub const fn lanes(&self) -> u8 {
        match self {
            Self::Pool(_) => 2,
            Self::Tip(_) | Self::Call(_) | Self::Raw => 1,
        }
    }

    /// The number of the shape in a hello.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Tip(_) => 1,
            Self::Pool(_) => 2,
            Self::Call(_) => 3,
        }
    }
}

/// Why a configuration does not hold; names the field and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// More channels than a hello can name.
    #[error("`channels`: {0} declared, at most {max} fit a hello", max = control::MAX_CHANNELS)]
    TooManyChannels(usize),
    /// An id is 0 (control) or above 16,383.
    #[error("`channels`: id {0} is not between 1 and 16383")]
    ChannelId(u16),
    /// Two channels share an id or a name.
    #[error("`channels`: `{0}` has the id or the name of another channel; give it its own")]
    DuplicateChannel(String),
    /// A name is empty, too long or has characters outside `a-z 0-9 . _ - /`.
    #[error("`channels`: `{0}` is not a name of 1 to {max} characters of a-z 0-9 . _ - /", max = control::MAX_NAME)]
    ChannelName(String),
    /// The agent is too long.
    #[error("`agent` has {0} bytes and may have at most {max}", max = control::MAX_AGENT)]
    Agent(usize),
    /// Too many services, one is too large, or an id appears twice.
    #[error(
        "`service`: at most {max} of them, ids unique, payloads of at most {payload} bytes",
        max = control::MAX_SERVICES, payload = control::MAX_SERVICE_PAYLOAD
    )]
    Services,
    /// The largest request and answer of a channel do not fit into the memory for calls.
    #[error(
        "`call_memory` must be at least {least} bytes for `{channel}`; raise it, or lower the channel's largest answer"
    )]
    CallMemory {
        /// The channel's name.
        channel: String,
        /// What it needs.
        least: u64,
    },
    /// A limit of a channel is zero or beyond what the protocol allows.
    #[error("channel `{channel}`: {limit}")]
    Channel {
        /// The channel's name.
        channel: String,
        /// Which limit, and what would hold.
        limit: LimitError,
    },
    /// A limit of control does not hold.
    #[error("control: {0}")]
    Control(LimitError),
}

impl Config {
    /// What the node says of itself, with this key for short ids.
    pub(crate) fn hello(&self, key: NumberedKey) -> Hello {
        let mut services = self.services.clone();
        services.sort_unstable();
        let mut channels: Vec<ChannelOffer> = self.channels.iter().map(Channel::offer).collect();
        channels.sort_unstable_by_key(|channel| channel.id);
        Hello {
            preamble: Preamble { oldest: VERSION, newest: VERSION, network: self.network },
            features: 0,
            agent: self.agent.clone(),
            services,
            max_streams: self.control.max_streams,
            key,
            channels,
        }
    }

    /// Checks every field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.channels.len() > control::MAX_CHANNELS {
            return Err(ConfigError::TooManyChannels(self.channels.len()));
        }
        if self.agent.len() > control::MAX_AGENT {
            return Err(ConfigError::Agent(self.agent.len()));
        }
        if !control::services_hold(&self.services) {
            return Err(ConfigError::Services);
        }
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for channel in &self.channels {
            channel.validate()?;
            if !ids.insert(channel.id) || !names.insert(channel.name.as_str()) {
                return Err(ConfigError::DuplicateChannel(channel.name.clone()));
            }
        }
        for channel in &self.channels {
            if let Shape::Call(call) = &channel.shape
                && call.least_memory() > self.call_memory
            {
                return Err(ConfigError::CallMemory {
                    channel: channel.name.clone(),
                    least: call.least_memory(),
                });
            }
        }
        self.control.validate().map_err(ConfigError::Control)
    }
}

impl Channel {
    /// As a hello states it.
    fn offer(&self) -> ChannelOffer {
        let (max_request, max_answer, at_once) = match &self.shape {
            Shape::Raw => (0, 0, 0),
            Shape::Tip(config) => (0, config.max_value, 0),
            Shape::Pool(config) => (0, config.max_item, 0),
            Shape::Call(config) => (config.max_request, config.max_response, config.concurrency),
        };
        ChannelOffer {
            id: self.id,
            name: self.name.clone(),
            oldest: self.oldest,
            newest: self.version,
            shape: self.shape.number(),
            max_request,
            max_answer,
            at_once,
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.id == ChannelId::CONTROL || self.id > ChannelId::MAX {
            return Err(ConfigError::ChannelId(self.id.0));
        }
        if self.oldest > self.version {
            let limit = LimitError::new("oldest", "must not be above ").field("version");
            return Err(ConfigError::Channel { channel: self.name.clone(), limit });
        }
        if !control::is_name(&self.name) {
            return Err(ConfigError::ChannelName(self.name.clone()));
        }
        let checked = match &self.shape {
            Shape::Tip(config) => config.validate(),
            Shape::Pool(config) => config.validate(),
            Shape::Call(config) => config.validate(),
            Shape::Raw => Ok(()),
        };
        checked.map_err(|limit| ConfigError::Channel { channel: self.name.clone(), limit })
    }
}
