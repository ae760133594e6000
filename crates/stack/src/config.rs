//! What a node may use, by name: one file an operator can write. Durations are whole milliseconds (`…_ms`), sizes bytes.
//!
//! What a node *speaks* ([`Profile`]: network, channels, services) is code, not configuration.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::NetworkId;
use weir_libp2p::ping;
use weir_link::{AdmissionConfig, BudgetConfig, DialConfig, Network, QuicConfig, StreamsConfig};
use weir_pull::{Channel, Service, control};

use crate::peers::standing;
use crate::{peers, raw};

/// Everything about a node but its key. Unknown fields are refused, missing ones have the documented default.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the node speaks; set by the program.
    #[serde(skip)]
    pub profile: Profile,
    /// The address book and the dialler.
    pub peers: peers::Config,
    /// What faults weigh and what follows.
    pub standing: standing::Config,
    /// How many links, from where.
    pub admission: Admission,
    /// How a link is set up and ended.
    pub dial: Dial,
    /// Memory that links may pin.
    pub budget: Budget,
    /// Streams of a link.
    pub streams: Streams,
    /// QUIC alone.
    pub quic: Quic,
    /// Hello, keep-alive and key rotation.
    pub control: Control,
    /// libp2p's ping.
    pub ping: ping::Config,
    /// Raw streams of the application.
    pub raw: raw::Config,
    /// Calls to targets.
    pub calls: Calls,
}

/// What a node speaks and offers: the same on all nodes of a network, but for `agent` and `services`.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The network; links to others are refused.
    pub network: NetworkId,
    /// Name and version of the program, for people: at most 64 bytes.
    pub agent: String,
    /// What this node can do for others: at most 16.
    pub services: Vec<Service>,
    /// The channels: at most 64, ids and names unique.
    pub channels: Vec<Channel>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            network: NetworkId([0; 32]),
            agent: concat!("weir/", env!("CARGO_PKG_VERSION")).into(),
            services: Vec::new(),
            channels: Vec::new(),
        }
    }
}

/// How many links, from where. See [`AdmissionConfig`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admission {
    /// Links in all, dialled and accepted. Default: 128.
    pub max_links: u32,
    /// Links that peers dialled. Default: 96. At most `max_links` less `min(8, peers.target / 2)`.
    pub max_inbound: u32,
    /// Inbound handshakes that are not complete. Default: 64.
    pub max_half_open: u32,
    /// Of these, from one IP address (IPv6: /64). Default: 8.
    pub half_open_per_ip: u32,
    /// Of these, from one prefix (IPv4 /24, IPv6 /56). Default: 16.
    pub half_open_per_prefix: u32,
    /// Inbound links from one IP address (IPv6: /64). Default: 4.
    pub inbound_per_ip: u32,
    /// Inbound links from one prefix (IPv4 /24, IPv6 /56). Default: 8.
    pub inbound_per_prefix: u32,
    /// Inbound links from one group (IPv4 /16, IPv6 /48). Default: 32.
    pub inbound_per_group: u32,
    /// With so many inbound handshakes under way, each address must first prove that it is real. Default: 16.
    pub retry_after: u32,
    /// Networks without the limits per address, prefix and group. Default: `["127.0.0.0/8", "::1/128"]`.
    pub exempt: Vec<String>,
}

impl Default for Admission {
    fn default() -> Self {
        let admission = AdmissionConfig::default();
        let text = |network: &Network| format!("{}/{}", network.address, network.bits);
        Self {
            max_links: admission.max_links,
            max_inbound: admission.max_inbound,
            max_half_open: admission.max_half_open,
            half_open_per_ip: admission.half_open_per_ip,
            half_open_per_prefix: admission.half_open_per_prefix,
            inbound_per_ip: admission.inbound_per_ip,
            inbound_per_prefix: admission.inbound_per_prefix,
            inbound_per_group: admission.inbound_per_group,
            retry_after: admission.retry_after,
            exempt: admission.exempt.iter().map(text).collect(),
        }
    }
}

/// How a link is set up and ended. See [`DialConfig`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dial {
    /// One deadline over the whole set-up of a link, in milliseconds. Default: 10 s.
    pub timeout_ms: u64,
    /// Pause before the next address is tried beside those under way, in milliseconds. Default: 250.
    pub stagger_ms: u64,
    /// Dials at once. Default: 64.
    pub max_dials: u32,
    /// Addresses of one dial, names resolved. Default: 16.
    pub max_addresses: u32,
    /// After a goodbye, how long a link may take to deliver what was written, in milliseconds. Default: 5 s.
    pub linger_ms: u64,
}

impl Default for Dial {
    fn default() -> Self {
        let dial = DialConfig::default();
        Self {
            timeout_ms: millis(dial.timeout),
            stagger_ms: millis(dial.stagger),
            max_dials: saturated(dial.max_dials),
            max_addresses: saturated(dial.max_addresses),
            linger_ms: millis(dial.linger),
        }
    }
}

/// Memory that links may pin, in bytes. See [`BudgetConfig`]. The largest message of the channels is added by the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// What all peers together may have in flight towards this node. Default: 64 MiB.
    pub receive_total: u64,
    /// What all links together may hold written and not yet acknowledged. Default: 64 MiB.
    pub send_total: u64,
    /// Every link's receive window, reserved from the start. Default and least: 64 KiB.
    pub base_window: u64,
    /// Every link's send window, reserved from the start. Default: 64 KiB.
    pub base_send: u64,
    /// The most lent to one link on top of its base window. Default: 16 MiB.
    pub max_lent: u64,
    /// The most that raw streams of one link may have lent. Default: 8 MiB.
    pub max_raw: u64,
    /// The most a link may hold written and not yet acknowledged. Default: 16 MiB.
    pub max_send: u64,
    /// How long a link with lent credit may be silent while others wait for credit, in milliseconds. Default: 10 s.
    pub patience_ms: u64,
}

impl Default for Budget {
    fn default() -> Self {
        let budget = BudgetConfig::default();
        Self {
            receive_total: budget.receive_total,
            send_total: budget.send_total,
            base_window: budget.base_window,
            base_send: budget.base_send,
            max_lent: budget.max_lent,
            max_raw: budget.max_raw,
            max_send: budget.max_send,
            patience_ms: millis(budget.patience),
        }
    }
}

/// Streams of a link. See [`StreamsConfig`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// Streams that a peer may have open at once after its hello; before, 32. Default: 96, and at least 32.
    pub max_inbound: u32,
    /// Opens that wait for the peer's limit, per link. Default: 64.
    pub max_waiting: u32,
    /// The most one stream may have in flight towards this node, in bytes. Default: 2 MiB.
    pub window: u64,
}

impl Default for Streams {
    fn default() -> Self {
        let streams = StreamsConfig::default();
        Self {
            max_inbound: streams.max_inbound,
            max_waiting: saturated(streams.max_waiting),
            window: streams.window,
        }
    }
}

/// QUIC alone. See [`QuicConfig`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quic {
    /// A link is lost when nothing was heard for so long, in milliseconds. Default: 30 s.
    pub idle_timeout_ms: u64,
    /// A link that is silent for so long asks for a sign of life, in milliseconds. Default: 20 s.
    pub keep_alive_ms: u64,
    /// The largest datagram that path MTU discovery tries, in bytes of UDP payload. Default: 1,452.
    pub max_mtu: u16,
    /// Single-use sessions kept as a server, for 0-RTT. Default: 1,024. 0: none are issued.
    pub sessions: u32,
    /// Whether hello, permits and calls that are replay-safe go along with the handshake with a known peer, and are taken from
    /// one (0-RTT). Without it every link costs a round trip more, and nothing on it could ever be replayed. Default: true.
    pub early: bool,
    /// Whether the TLS key is Ed25519, so that every run has the same sizes, instead of P-256. Default: false.
    pub deterministic: bool,
}

impl Default for Quic {
    fn default() -> Self {
        let quic = QuicConfig::default();
        Self {
            idle_timeout_ms: millis(quic.idle_timeout),
            keep_alive_ms: millis(quic.keep_alive),
            max_mtu: quic.max_mtu,
            sessions: saturated(quic.sessions),
            early: true,
            deterministic: quic.deterministic,
        }
    }
}

/// Hello, keep-alive and key rotation, in milliseconds. See [`control::Config`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Pause between a pong and the next ping. Default: 15 s.
    pub interval_ms: u64,
    /// A link on which nothing was heard on control for so long is closed. Default: 45 s.
    pub idle_timeout_ms: u64,
    /// How long the peer's hello may take. Default: 5 s.
    pub hello_timeout_ms: u64,
    /// How long a short-id key is current. Default: 1 h.
    pub key_life_ms: u64,
    /// How long the key before it stays valid. Default: 60 s.
    pub key_grace_ms: u64,
}

impl Default for Control {
    fn default() -> Self {
        let control = control::Config::default();
        Self {
            interval_ms: millis(control.interval),
            idle_timeout_ms: millis(control.idle_timeout),
            hello_timeout_ms: millis(control.hello_timeout),
            key_life_ms: millis(control.key_life),
            key_grace_ms: millis(control.key_grace),
        }
    }
}

/// Calls to targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    /// Calls to targets under way at once. Default: 4,096.
    pub max_targets: u32,
    /// Local requests that wait for their answer. Default: 1,024.
    pub max_local: u32,
}

impl Default for Calls {
    fn default() -> Self {
        Self { max_targets: 4096, max_local: 1024 }
    }
}

/// A limit that does not hold; names the field and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Of links.
    #[error(transparent)]
    Link(#[from] weir_link::ConfigError),
    /// Of the network, a channel or control.
    #[error(transparent)]
    Pull(#[from] weir_pull::ConfigError),
    /// Of this crate.
    #[error("`{field}` {remedy}")]
    Field {
        /// The field, as in [`Config`].
        field: &'static str,
        /// What would hold.
        remedy: String,
    },
}

impl Config {
    /// Checks every field, alone and together.
    ///
    /// # Errors
    /// The first field that does not hold, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.peers.validate()?;
        let of_field =
            |(field, remedy): (&'static str, &str)| ConfigError::Field { field, remedy: remedy.into() };
        self.standing.validate().map_err(of_field)?;
        self.ping.validate().map_err(of_field)?;
        self.pull().validate()?;
        Ok(self.link()?.check()?)
    }

    /// The limits of pull.
    pub(crate) fn pull(&self) -> weir_pull::Config {
        let control = &self.control;
        weir_pull::Config {
            network: self.profile.network,
            agent: self.profile.agent.clone(),
            services: self.profile.services.clone(),
            channels: self.profile.channels.clone(),
            control: control::Config {
                interval: duration(control.interval_ms),
                idle_timeout: duration(control.idle_timeout_ms),
                hello_timeout: duration(control.hello_timeout_ms),
                key_life: duration(control.key_life_ms),
                key_grace: duration(control.key_grace_ms),
                max_streams: self.streams.max_inbound,
            },
        }
    }

    /// The limits of links; protocols for 0-RTT are added by the stack.
    pub(crate) fn link(&self) -> Result<weir_link::Config, ConfigError> {
        let (admission, dial, budget, streams, quic) =
            (&self.admission, &self.dial, &self.budget, &self.streams, &self.quic);
        Ok(weir_link::Config {
            admission: AdmissionConfig {
                max_links: admission.max_links,
                max_inbound: admission.max_inbound,
                dial_target: self.peers.target,
                max_half_open: admission.max_half_open,
                half_open_per_ip: admission.half_open_per_ip,
                half_open_per_prefix: admission.half_open_per_prefix,
                inbound_per_ip: admission.inbound_per_ip,
                inbound_per_prefix: admission.inbound_per_prefix,
                inbound_per_group: admission.inbound_per_group,
                retry_after: admission.retry_after,
                exempt: admission.exempt.iter().map(|text| network(text)).collect::<Result<_, _>>()?,
            },
            dial: DialConfig {
                timeout: duration(dial.timeout_ms),
                stagger: duration(dial.stagger_ms),
                max_dials: dial.max_dials as usize,
                max_addresses: dial.max_addresses as usize,
                linger: duration(dial.linger_ms),
            },
            budget: BudgetConfig {
                receive_total: budget.receive_total,
                send_total: budget.send_total,
                base_window: budget.base_window,
                base_send: budget.base_send,
                max_lent: budget.max_lent,
                max_raw: budget.max_raw,
                max_send: budget.max_send,
                largest_message: crate::budget::largest_message(&self.profile.channels),
                patience: duration(budget.patience_ms),
            },
            streams: StreamsConfig {
                max_inbound: streams.max_inbound,
                max_waiting: streams.max_waiting as usize,
                window: streams.window,
                early: Vec::new(),
            },
            quic: QuicConfig {
                idle_timeout: duration(quic.idle_timeout_ms),
                keep_alive: duration(quic.keep_alive_ms),
                max_mtu: quic.max_mtu,
                sessions: quic.sessions as usize,
                deterministic: quic.deterministic,
            },
        })
    }
}

/// `address/bits`.
fn network(text: &str) -> Result<Network, ConfigError> {
    let parsed = text.split_once('/').and_then(|(address, bits)| {
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Network { address, bits })
    });
    parsed.ok_or_else(|| ConfigError::Field {
        field: "admission.exempt",
        remedy: format!("has `{text}`; write a network as 10.0.0.0/8 or fd00::/8"),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn duration(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use weir_pull::ChannelId;
    use weir_pull::{Shape, call};

    use super::*;

    fn error(config: &Config) -> String {
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_hold_and_survive_a_file() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        let text = toml::to_string(&config).unwrap();
        let back: Config = toml::from_str(&text).unwrap();
        assert_eq!(toml::to_string(&back).unwrap(), text);
    }

    #[test]
    fn a_file_names_what_it_changes_and_nothing_unknown() {
        let config: Config = toml::from_str("[peers]\ntarget = 5\n[dial]\ntimeout_ms = 700\n").unwrap();
        assert_eq!((config.peers.target, config.dial.timeout_ms, config.dial.stagger_ms), (5, 700, 250));
        for unknown in ["tarket = 5", "[peers]\ntarket = 5", "[quic]\nmtu = 1", "[profile]\nagent = 'x'"] {
            let error = toml::from_str::<Config>(unknown).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn what_does_not_hold_is_named_with_a_remedy() {
        let mut config = Config::default();
        config.admission.max_links = 100_000;
        assert!(error(&config).contains("budget.receive_total"), "{}", error(&config));
        let mut config = Config::default();
        config.admission.exempt.push("10.0.0.0/33".into());
        assert!(error(&config).contains("admission.exempt"), "{}", error(&config));
        let mut config = Config::default();
        config.peers.backoff_ms = 0;
        assert!(error(&config).contains("peers.backoff_ms"), "{}", error(&config));
        let mut config = Config::default();
        config.peers.persistent.push("/ip4/192.0.2.1/udp/1/quic-v1".into());
        assert!(error(&config).contains("/p2p/"), "{}", error(&config));
        let mut config = Config::default();
        config.standing.ban = 1;
        assert!(error(&config).contains("standing.lower"), "{}", error(&config));
    }

    #[test]
    fn a_message_larger_than_what_windows_leave_is_refused_at_start() {
        let mut config = Config::default();
        let call = call::Config { max_response: 60 << 20, ..call::Config::default() };
        config.profile.channels.push(Channel {
            id: ChannelId(1),
            name: "large".into(),
            version: 1,
            shape: Shape::Call(call),
        });
        let text = error(&config);
        assert!(text.contains("budget.receive_total") && text.contains("largest"), "{text}");
        config.budget.receive_total = 128 << 20;
        assert_eq!(config.validate(), Ok(()));
    }
}
