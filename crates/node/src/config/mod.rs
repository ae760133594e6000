//! What a node may use: one file an operator can write. Unknown fields are refused, missing ones have their default.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use weir_base::{KIB, units};
#[doc(inline)]
pub use weir_pull::ConfigError as ChannelsConfigError;
#[doc(inline)]
pub use weir_pull::control::Config as ControlConfig;
#[doc(inline)]
pub use weir_stack::config::{
    AdmissionConfig, BudgetConfig, Calls, DialConfig, IdentifyConfig, LinkConfigError, PerfConfig,
    PingConfig, QuicConfig, RequestsConfig, StreamsConfig,
};
#[doc(inline)]
pub use weir_stack::peers::{Config as PeersConfig, Trim, standing::Config as StandingConfig};
#[doc(inline)]
pub use weir_stack::raw::Config as RawConfig;
#[doc(inline)]
pub use weir_stack::{Alpn, Security, SharedKey, SharedKeyError};
#[doc(inline)]
pub use weir_stack::{Config as NodeConfig, ConfigError, Profile};

use crate::error::StartError;
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

/// Sockets of the native host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sockets {
    /// Bytes asked of the system for each socket's send buffer. The system may give less. Default: 2 MiB.
    #[serde(with = "units::size")]
    pub send_buffer: u32,
    /// Bytes asked of the system for each socket's receive buffer. The system may give less. Default: 4 MiB.
    #[serde(with = "units::size")]
    pub receive_buffer: u32,
    /// Names that wait to be resolved; beyond it they count as unknown. Default: 256.
    pub max_queries: u32,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { send_buffer: 2 * MIB, receive_buffer: 4 * MIB, max_queries: 256 }
    }
}

impl Config {
    /// Checks what is not the stack's to check.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let mail = &self.mailboxes;
        let checks = [
            (mail.commands > 0, "mailboxes.commands", "must be at least 1; 1024 is usual"),
            (mail.batches > 0, "mailboxes.batches", "must be at least 1; 16 is usual"),
            (mail.requests > 0, "mailboxes.requests", "must be at least 1; 1024 is usual"),
            (mail.streams > 0, "mailboxes.streams", "must be at least 1; 64 is usual"),
            (mail.events > 0, "mailboxes.events", "must be at least 1; 1024 is usual"),
            (mail.stream_send as usize >= 4 * KIB, "mailboxes.stream_send", "must be at least 4096 bytes"),
            (
                mail.stream_receive as usize >= 4 * KIB,
                "mailboxes.stream_receive",
                "must be at least 4096 bytes",
            ),
            (!mail.publish_deadline.is_zero(), "mailboxes.publish_deadline", "must be above 0; 10s is usual"),
            (!mail.open_deadline.is_zero(), "mailboxes.open_deadline", "must be above 0; 10s is usual"),
        ];
        match checks.iter().find(|(holds, ..)| !holds) {
            Some((_, field, remedy)) => Err(StartError::Limit { field, remedy }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        toml::from_str::<Config>(text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one_and_its_line() {
        for (text, nearest, line) in [
            ("[mailbox]\n", "mailboxes", 1),
            ("[node.admission]\nmax_link = 1\n", "max_links", 2),
            ("[mailboxes]\nevents = 9\n[node.dial]\n\ntimout = '1s'\n", "timeout", 5),
            ("[node.peers]\nbackof = 1\n", "backoff", 2),
        ] {
            let error = error(text);
            assert!(error.contains(&format!("did you mean `{nearest}`?")), "{error}");
            assert!(error.contains(&format!("line {line}")), "{error}");
        }
    }

    #[test]
    fn what_else_is_wrong_is_said_as_before() {
        for (text, says) in [
            ("[mailboxes]\nopen_deadline = '10 parsecs'\n", "unknown unit"),
            ("[mailboxes]\nevents = 'many'\n", "invalid type"),
            ("[mailboxes]\nevents = -1\n", "invalid value"),
            ("[node.admission]\nexempt = ['10.0.0.0/33']\n", "is no network"),
            ("[mailboxes\n", "unclosed table"),
        ] {
            assert!(error(text).contains(says), "{}", error(text));
        }
    }

    #[test]
    fn the_defaults_survive_a_file_and_durations_and_sizes_are_text() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert!(
            text.contains("open_deadline = \"10s\"") && text.contains("stream_send = \"1MiB\""),
            "{text}"
        );
        let back: Config = toml::from_str(&text).unwrap();
        assert_eq!(toml::to_string(&back).unwrap(), text);
        let given: Config =
            toml::from_str("[mailboxes]\nopen_deadline = '250ms'\npublish_deadline = 40\n").unwrap();
        let millis =
            [given.mailboxes.open_deadline, given.mailboxes.publish_deadline].map(|time| time.as_millis());
        assert_eq!(millis, [250, 40]);
    }

    #[test]
    fn mplex_is_named_or_spoken_by_its_usual_name() {
        let names = |given: &str| {
            let config: Config = toml::from_str(&format!("[node.tcp]\nmplex = {given}\n")).unwrap();
            config.node.tcp.mplex
        };
        assert_eq!(names("true"), ["/mplex/6.7.0"]);
        assert_eq!(names("['/coda/mplex/1.0.0']"), ["/coda/mplex/1.0.0"]);
        assert!(names("false").is_empty() && Config::default().node.tcp.mplex.is_empty());
        assert!(error("[node.tcp]\nmplex = 7\n").contains("mplex"), "{}", error("[node.tcp]\nmplex = 7\n"));
    }
}
