//! What a node may use, by name: one file an operator can write. Each part belongs to who uses it. Durations are text (`"250ms"`,
//! `"10s"`) or a number of milliseconds, memory is text (`"64KiB"`) or a number of bytes ([`weir_base::units`]).
//!
//! What a node *speaks* ([`Profile`]: network, channels, services) is code, not configuration.

use serde::{Deserialize, Serialize};
#[doc(inline)]
pub use weir_libp2p::identify::Config as IdentifyConfig;
#[doc(inline)]
pub use weir_libp2p::perf::Config as PerfConfig;
#[doc(inline)]
pub use weir_libp2p::ping::Config as PingConfig;
use weir_libp2p::{identify, perf, ping};
#[doc(inline)]
pub use weir_link::{AdmissionConfig, BudgetConfig, DialConfig, QuicConfig, StreamsConfig, TcpConfig};
use weir_link::{Cipher, Gate};
use weir_pull::{call, control};

pub use crate::config_error::ConfigError;
use crate::peers::standing;
pub use crate::profile::Profile;
use crate::{named, peers, raw};

/// Everything about a node but its key. Plain data, like every configuration here: change what should differ and take the rest from
/// `..Default::default()`. Unknown fields are refused, missing ones have the documented default.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the node speaks; set by the program.
    #[serde(skip)]
    pub profile: Profile,
    /// The node's own rule about connections; set by the program.
    #[serde(skip)]
    pub gate: Option<Gate>,
    /// What TLS prefers; set by the host, which knows the processor.
    #[serde(skip)]
    pub cipher: Cipher,
    /// The address book and the dialler.
    pub peers: peers::Config,
    /// What faults weigh and what follows.
    pub standing: standing::Config,
    /// How many links, from where.
    pub admission: AdmissionConfig,
    /// How a link is set up and ended.
    pub dial: DialConfig,
    /// Memory that links may pin.
    pub budget: BudgetConfig,
    /// Streams of a link.
    pub streams: StreamsConfig,
    /// QUIC alone.
    pub quic: QuicConfig,
    /// Links over byte streams (TCP).
    pub tcp: TcpConfig,
    /// Hello, keep-alive and key rotation.
    pub control: control::Config,
    /// libp2p's ping.
    pub ping: ping::Config,
    /// libp2p's identify.
    pub identify: identify::Config,
    /// libp2p's perf.
    pub perf: perf::Config,
    /// Raw streams of the application.
    pub raw: raw::Config,
    /// Calls to targets.
    pub calls: Calls,
    /// Requests by name.
    pub requests: RequestsConfig,
}

/// Requests by name, of all protocols together. Each protocol has limits of its own ([`exchange::Limits`](crate::exchange::Limits)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestsConfig {
    /// Bytes that peers may make this node hold: requests and responses as they come, requests that the application has not answered,
    /// and responses that are not read. Beyond that the largest exchange of the peer with the most is broken off. Default: 64 MiB; at
    /// least the largest message of any protocol in its frame.
    #[serde(with = "weir_base::units::size")]
    pub memory: u64,
}

impl Default for RequestsConfig {
    fn default() -> Self {
        Self { memory: 64 << 20 }
    }
}

/// Calls to targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    /// Calls to targets under way at once. Default: 4,096.
    pub max_targets: u32,
    /// Bytes that peers' requests and answers not yet read may hold, on all call channels and links together. Default: 32 MiB;
    /// at least four thirds of the largest request and answer of any channel, and four times its largest request.
    #[serde(with = "weir_base::units::size")]
    pub memory: u64,
}

impl Default for Calls {
    fn default() -> Self {
        Self { max_targets: 4096, memory: call::DEFAULT_MEMORY }
    }
}

impl Config {
    /// Checks every field, alone and together.
    ///
    /// # Errors
    /// The first field that does not hold, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sections = [
            ("peers", self.peers.validate()),
            ("standing", self.standing.validate()),
            ("ping", self.ping.validate()),
            ("identify", self.identify.validate()),
        ];
        for (section, checked) in sections {
            checked.map_err(|limit| limit.within(section))?;
        }
        named::check(&self.profile.protocols, self.requests.memory)?;
        self.pull().validate()?;
        Ok(self.link().check()?)
    }

    /// The limits of pull.
    pub(crate) fn pull(&self) -> weir_pull::Config {
        weir_pull::Config {
            network: self.profile.network,
            agent: self.profile.agent.clone(),
            services: self.profile.services.clone(),
            channels: self.profile.channels.clone(),
            control: control::Config { max_streams: self.streams.max_inbound, ..self.control.clone() },
            call_memory: self.calls.memory,
        }
    }

    /// The limits of links; names of protocols, and which of them may go along with a handshake, are added by the stack.
    pub(crate) fn link(&self) -> weir_link::Config {
        let largest_message = crate::budget::largest_message(&self.profile.channels);
        weir_link::Config {
            admission: AdmissionConfig { dial_target: self.peers.target, ..self.admission.clone() },
            dial: self.dial.clone(),
            budget: BudgetConfig { largest_message, ..self.budget.clone() },
            streams: StreamsConfig { early: Vec::new(), ..self.streams.clone() },
            quic: self.quic.clone(),
            tcp: self.tcp.clone(),
            cipher: self.cipher,
            protocols: Vec::new(),
            unserved: Vec::new(),
            gate: self.gate.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_pull::{Channel, ChannelId, Shape};

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
        let text = "[peers]\ntarget = 5\n[dial]\ntimeout = '700ms'\nlinger = 900\n[budget]\nmax_raw = '3MiB'\nmax_send = 1024\n\
                    [admission]\nexempt = ['10.0.0.0/8']\n";
        let config: Config = toml::from_str(text).unwrap();
        let millis =
            [config.dial.timeout, config.dial.linger, config.dial.stagger].map(|time| time.as_millis());
        assert_eq!((config.peers.target, millis), (5, [700, 900, 250]));
        assert_eq!((config.budget.max_raw, config.budget.max_send), (3 << 20, 1024));
        assert_eq!(config.admission.exempt[0].to_string(), "10.0.0.0/8");
        let computed =
            ["[admission]\ndial_target = 1", "[budget]\nlargest_message = 1", "[streams]\nearly = []"];
        let unknown = ["tarket = 5", "[peers]\ntarket = 5", "[quic]\nmtu = 1", "[profile]\nagent = 'x'"];
        for unknown in computed.into_iter().chain(unknown) {
            let error = toml::from_str::<Config>(unknown).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
        for (wrong, what) in [
            ("[admission]\nexempt = ['10.0.0.0/33']", "`10.0.0.0/33` is no network"),
            ("[dial]\ntimeout = '10 parsecs'", "unknown unit; known are d, h, min, s"),
            ("[dial]\ntimeout = -1", "a duration"),
            ("[budget]\nmax_raw = '99999999999GiB'", "too large"),
        ] {
            let error = toml::from_str::<Config>(wrong).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn what_does_not_hold_is_named_with_a_remedy() {
        let mut config = Config::default();
        config.admission.max_links = 100_000;
        assert!(error(&config).contains("budget.receive_total"), "{}", error(&config));
        let mut config = Config::default();
        config.peers.backoff = std::time::Duration::ZERO;
        assert!(error(&config).contains("peers.backoff"), "{}", error(&config));
        let mut config = Config::default();
        let grace = std::time::Duration::from_secs(60);
        config.peers.trim = Some(peers::Trim { above: 20, to: 15, grace }); // fewer than are wanted
        assert!(error(&config).contains("peers.trim.to"), "{}", error(&config));
        config.peers.trim = None;
        config.peers.persistent.push("/ip4/192.0.2.1/udp/1/quic-v1".into());
        assert!(error(&config).contains("/p2p/"), "{}", error(&config));
        let mut config = Config::default();
        config.standing.ban = 1;
        assert_eq!(error(&config), "`standing.disconnect` must be at most `standing.ban`");
    }

    #[test]
    fn a_message_larger_than_what_windows_leave_is_refused_at_start() {
        let mut config = Config::default();
        let call = call::Config { max_response: 60 << 20, ..call::Config::default() };
        config.profile.channels.push(Channel {
            id: ChannelId(1),
            name: "large".into(),
            version: 1,
            oldest: 1,
            shape: Shape::Call(call),
        });
        let text = error(&config);
        assert!(text.contains("`calls.memory`") && text.contains("`large`"), "{text}");
        config.calls.memory = 81 << 20;
        let text = error(&config);
        assert!(text.contains("budget.receive_total") && text.contains("largest"), "{text}");
        config.budget.receive_total = 128 << 20;
        assert_eq!(config.validate(), Ok(()));
    }
}
