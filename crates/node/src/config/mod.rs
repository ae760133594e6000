//! What a node may use: one file an operator can write. Unknown fields are refused, missing ones have their default.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
#[doc(inline)]
pub use weir_base::LimitError;
use weir_base::{KIB, units};
#[doc(inline)]
pub use weir_pull::ConfigError as ChannelsConfigError;
#[doc(inline)]
pub use weir_pull::control::Config as ControlConfig;
#[doc(inline)]
pub use weir_stack::config::{
    AdmissionConfig, BudgetConfig, Calls, DialConfig, IdentifyConfig, PerfConfig, PingConfig, QuicConfig,
    RequestsConfig, StreamsConfig,
};
#[doc(inline)]
pub use weir_stack::peers::{Config as PeersConfig, Trim, standing::Config as StandingConfig};
#[doc(inline)]
pub use weir_stack::raw::Config as RawConfig;
#[doc(inline)]
pub use weir_stack::{Alpn, Security, SharedKey, SharedKeyError};
#[doc(inline)]
pub use weir_stack::{Config as NodeConfig, ConfigError, Profile};

use nearest::{Nearest, Told};

mod nearest;

/// In the unit of these fields.
const MIB: u32 = 1024 * 1024;

/// Everything about a node but its key, its channels and its addresses. Durations are text (`"250ms"`, `"10s"`) or
/// a number of milliseconds, sizes text (`"64KiB"`) or a number of bytes.
///
/// ```
/// # use weir_node as weir;
/// let config: weir::Config = toml::from_str(
///     "[node.admission]\nmax_links = 64\nmax_inbound = 48\n[mailboxes]\nevents = 100\nopen_deadline = '2s'\n",
/// )?;
/// assert_eq!(config.node.admission.max_links, 64);
/// let error = toml::from_str::<weir::Config>("[mailboxes]\nevnts = 100\n").unwrap_err().to_string();
/// assert!(error.contains("line 2") && error.contains("did you mean `events`?"), "{error}");
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct Config {
    /// Peers, links, memory, protocols.
    pub node: weir_stack::Config,
    /// Between the application and the network thread.
    pub mailboxes: Mailboxes,
    /// Sockets of the native host.
    pub sockets: Sockets,
}

/// As its fields.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// An unknown key is refused with the known one that is nearest to it.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(Nearest(deserializer)).map_err(|Told(error)| error)
    }
}

/// Bounds of what lies between the application and the network thread. None may be 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mailboxes {
    /// Commands of handles that wait for the network thread; beyond it `publish` is `Busy` and futures wait. Default: 1,024.
    pub commands: u32,
    /// Batches of pools ([`settle`](crate::PoolHandle::settle) and its like) that wait for the network thread, beside those
    /// commands. Default: 16.
    pub batches: u32,
    /// Requests per method that wait for the application; beyond it peers are told to retry. Default: 1,024.
    pub requests: u32,
    /// Raw streams per channel that wait to be accepted; beyond it they are broken off. Default: 64.
    pub streams: u32,
    /// Events per listener; beyond it the oldest is dropped and counted. Default: 1,024.
    pub events: u32,
    /// Bytes per raw stream that wait for the network, at least 4,096. Default: 1 MiB.
    #[serde(with = "units::size")]
    pub stream_send: u32,
    /// Bytes per raw stream that wait for their reader, who holds at most as many again; at least 4,096. Default: 1 MiB.
    #[serde(with = "units::size")]
    pub stream_receive: u32,
    /// How long `publish_wait` and its like wait for room, above 0. Default: 10 s.
    #[serde(with = "units::duration")]
    pub publish_deadline: Duration,
    /// How long the opening of a raw stream may take, above 0. Default: 10 s.
    #[serde(with = "units::duration")]
    pub open_deadline: Duration,
}

impl Default for Mailboxes {
    fn default() -> Self {
        Self {
            commands: 1024,
            batches: 16,
            requests: 1024,
            streams: 64,
            events: 1024,
            stream_send: MIB,
            stream_receive: MIB,
            publish_deadline: Duration::from_secs(10),
            open_deadline: Duration::from_secs(10),
        }
    }
}

impl Mailboxes {
    fn check(&self) -> Result<(), LimitError> {
        let checks = [
            (self.commands > 0, "commands", "must be at least 1; 1024 is usual"),
            (self.batches > 0, "batches", "must be at least 1; 16 is usual"),
            (self.requests > 0, "requests", "must be at least 1; 1024 is usual"),
            (self.streams > 0, "streams", "must be at least 1; 64 is usual"),
            (self.events > 0, "events", "must be at least 1; 1024 is usual"),
            (self.stream_send as usize >= 4 * KIB, "stream_send", "must be at least 4096 bytes"),
            (self.stream_receive as usize >= 4 * KIB, "stream_receive", "must be at least 4096 bytes"),
            (!self.publish_deadline.is_zero(), "publish_deadline", "must be above 0; 10s is usual"),
            (!self.open_deadline.is_zero(), "open_deadline", "must be above 0; 10s is usual"),
        ];
        first(checks)
    }
}

/// The first of these that does not hold, with its remedy.
fn first<const N: usize>(checks: [(bool, &'static str, &'static str); N]) -> Result<(), LimitError> {
    match checks.into_iter().find(|(holds, ..)| !holds) {
        Some((_, field, remedy)) => Err(LimitError::new(field, remedy)),
        None => Ok(()),
    }
}

/// Sockets of the native host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sockets {
    /// Bytes asked of the system for each socket's send buffer. The system may give less. Default: 2 MiB.
    #[serde(with = "units::size")]
    pub send_buffer: u32,
    /// Bytes asked of the system for each socket's receive buffer. The system may give less. As many of datagrams, at least 64 KiB, wait in the
    /// node while they come faster than it works them off (`docs/spec/fairness.md`, "What arrives"). Default: 4 MiB.
    #[serde(with = "units::size")]
    pub receive_buffer: u32,
    /// Names that wait to be resolved, at least 1; beyond it they count as unknown. Default: 256.
    pub max_queries: u32,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { send_buffer: 2 * MIB, receive_buffer: 4 * MIB, max_queries: 256 }
    }
}

impl Sockets {
    fn check(&self) -> Result<(), LimitError> {
        first([(self.max_queries > 0, "max_queries", "must be at least 1; 256 is usual")])
    }
}

impl Config {
    /// Checks what is not the stack's to check.
    pub(crate) fn check(&self) -> Result<(), LimitError> {
        self.mailboxes.check().map_err(|limit| limit.within("mailboxes"))?;
        self.sockets.check().map_err(|limit| limit.within("sockets"))
    }
}

#[cfg(test)]
mod tests;
