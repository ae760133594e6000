//! Every limit of links, by name, with its default and unit; and the check that they fit together.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use weir_base::{KIB, LimitError, MIB, ProtocolId, units};
use weir_libp2p::Cipher;
use weir_libp2p::pnet::SharedKey;

use crate::frames::{LINK_INITIAL, STREAM_INITIAL};
use crate::{Gate, Network};

/// The limits of [`Links`](crate::Links).
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Who may be linked, and how many.
    pub admission: AdmissionConfig,
    /// How links are dialled.
    pub dial: DialConfig,
    /// How much memory links may pin.
    pub budget: BudgetConfig,
    /// Limits of streams.
    pub streams: StreamsConfig,
    /// QUIC alone.
    pub quic: QuicConfig,
    /// Byte streams (TCP) alone.
    pub tcp: TcpConfig,
    /// What TLS prefers, over QUIC and byte streams.
    pub cipher: Cipher,
    /// What protocols are called where a stream says its protocol by name: the best name first, which this side proposes; it takes
    /// all. A protocol without names is not spoken there. The stack knows them.
    pub protocols: Vec<(ProtocolId, Vec<String>)>,
    /// Those of `protocols` that this node only asks for: who proposes one by name is answered `na`.
    pub unserved: Vec<ProtocolId>,
    /// The node's own rule about connections.
    pub gate: Option<Gate>,
}

/// Who may be linked, and how many. Over a limit a peer is refused with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Links in all, dialled and accepted. Default: 128.
    pub max_links: u32,
    /// Links that peers dialled. Default: 96. At most `max_links` less `min(8, dial_target / 2)`.
    pub max_inbound: u32,
    /// Links the node wants to dial by itself. Default: 16. `min(8, dial_target / 2)` slots are kept free for them.
    /// Not of a file: the stack takes it from its address book's target.
    #[serde(skip)]
    pub dial_target: u32,
    /// Inbound handshakes that are not complete. Default: 64. For one more an older one is given up.
    pub max_half_open: u32,
    /// Inbound handshakes from one IP address (IPv6: /64) that are not complete. Default: 8.
    pub half_open_per_ip: u32,
    /// Inbound handshakes from one prefix (IPv4 /24, IPv6 /56) that are not complete. Default: 16.
    pub half_open_per_prefix: u32,
    /// Inbound links from one IP address (IPv6: /64). Default: 4.
    pub inbound_per_ip: u32,
    /// Inbound links from one prefix (IPv4 /24, IPv6 /56). Default: 8.
    pub inbound_per_prefix: u32,
    /// Inbound links from one group (IPv4 /16, IPv6 /32). Default: 32.
    pub inbound_per_group: u32,
    /// Inbound handshakes that an IP address, prefix or group may begin at once, for each link that it may have: all its peers start
    /// again, over two transports, and try twice. Default: 4, at least 1. A handshake from where there are as many links as there may be counts twice.
    pub handshakes_per_link: u32,
    /// The time after which one more may begin, for each link that it may have: a node's own pauses between dials grow beyond that
    /// soon. 0: no limit. Default: 8 s.
    #[serde(with = "units::duration")]
    pub handshake_interval: Duration,
    /// With so many inbound handshakes of unvalidated addresses under way, each address must first prove that it is real (QUIC
    /// retry). So it must where more of them begin in a second, and four times as many at once. At most a quarter of
    /// `max_half_open` is used. Default: 16.
    pub retry_after: u32,
    /// Addresses without limits per address, prefix and group. Default: loopback.
    pub exempt: Vec<Network>,
    /// Networks that this node neither dials nor answers. Default: none.
    pub deny: Vec<Network>,
    /// Where it names any: the only networks that this node dials and answers. Default: none, which allows all.
    pub allow: Vec<Network>,
}

impl AdmissionConfig {
    /// Slots kept for links that the node dials itself: `min(8, dial_target / 2)`.
    pub fn dial_reserve(&self) -> u32 {
        (self.dial_target / 2).min(8)
    }

    fn check(&self) -> Result<(), LimitError> {
        if self.max_links == 0 {
            return Err(LimitError::new("max_links", "must be at least 1; 128 is usual"));
        }
        let most = self.max_links.saturating_sub(self.dial_reserve());
        if self.max_inbound > most {
            let remedy = format!(
                "is {}; it must be at most {most}, so that the node can dial links of its own; lower it, or raise ",
                self.max_inbound
            );
            return Err(LimitError::new("max_inbound", remedy).field("max_links"));
        }
        if self.handshakes_per_link == 0 {
            return Err(LimitError::new(
                "handshakes_per_link",
                "must be at least 1, or nobody could connect",
            ));
        }
        Ok(())
    }

    /// What the handshakes that may begin at once take, as the time in which as many more may begin.
    pub(crate) fn handshake_bucket(&self) -> Duration {
        self.handshake_interval.saturating_mul(self.handshakes_per_link)
    }
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            max_links: 128,
            max_inbound: 96,
            dial_target: 16,
            max_half_open: 64,
            half_open_per_ip: 8,
            half_open_per_prefix: 16,
            inbound_per_ip: 4,
            inbound_per_prefix: 8,
            inbound_per_group: 32,
            handshakes_per_link: 4,
            handshake_interval: Duration::from_secs(8),
            retry_after: 16,
            exempt: vec![
                Network { address: IpAddr::from([127, 0, 0, 0]), bits: 8 },
                Network { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), bits: 128 },
            ],
            deny: Vec::new(),
            allow: Vec::new(),
        }
    }
}

/// How links are dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DialConfig {
    /// One deadline over the whole set-up of a link: names, every address, the handshake. Also for inbound handshakes.
    /// Above 0. Default: 10 s.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Pause before the next address is tried beside those under way. Default: 250 ms (RFC 8305).
    #[serde(with = "units::duration")]
    pub stagger: Duration,
    /// Dials at once, at least 1. Default: 64.
    pub max_dials: usize,
    /// Addresses of one dial, names resolved; at least 1. Default: 16.
    pub max_addresses: usize,
    /// After a goodbye, how long a link may take to deliver what was written. Default: 5 s.
    #[serde(with = "units::duration")]
    pub linger: Duration,
}

impl Default for DialConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            stagger: Duration::from_millis(250),
            max_dials: 64,
            max_addresses: 16,
            linger: Duration::from_secs(5),
        }
    }
}

impl DialConfig {
    fn check(&self) -> Result<(), LimitError> {
        if self.timeout.is_zero() {
            return Err(LimitError::new("timeout", "must be above 0; 10 s is usual"));
        }
        let counts = [("max_dials", self.max_dials, 64), ("max_addresses", self.max_addresses, 16)];
        match counts.into_iter().find(|(_, count, _)| *count == 0) {
            Some((field, _, usual)) => {
                Err(LimitError::new(field, format!("must be at least 1; {usual} is usual")))
            }
            None => Ok(()),
        }
    }
}

/// How much memory links may pin, in bytes. See `docs/spec/links.md`, "Windows".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// What all peers together may have in flight towards this node. Default: 64 MiB.
    #[serde(with = "units::size")]
    pub receive_total: u64,
    /// What all links together may hold written and not yet acknowledged. Default: 64 MiB.
    #[serde(with = "units::size")]
    pub send_total: u64,
    /// Every link's receive window, reserved from the start. Default and least: 64 KiB.
    #[serde(with = "units::size")]
    pub base_window: u64,
    /// Every link's send window, reserved from the start. Default: 64 KiB.
    #[serde(with = "units::size")]
    pub base_send: u64,
    /// The most lent to one link on top of its base window. Default: 16 MiB.
    #[serde(with = "units::size")]
    pub max_lent: u64,
    /// The most that raw streams of one link may have lent; past it the latest is reset. At least one
    /// `streams.window`. Default: 8 MiB.
    #[serde(with = "units::size")]
    pub max_raw: u64,
    /// The most a link may hold written and not yet acknowledged. Default: 16 MiB.
    #[serde(with = "units::size")]
    pub max_send: u64,
    /// The largest message of any channel; what is left of `receive_total` must hold it. Default: 4 MiB.
    /// Not of a file: the stack computes it from the channels.
    #[serde(skip)]
    pub largest_message: u64,
    /// How long a link with lent credit may be silent while others wait for credit. Default: 10 s.
    #[serde(with = "units::duration")]
    pub patience: Duration,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        let mib = MIB as u64;
        Self {
            receive_total: 64 * mib,
            send_total: 64 * mib,
            base_window: LINK_INITIAL,
            base_send: 64 * KIB as u64,
            max_lent: 16 * mib,
            max_raw: 8 * mib,
            max_send: 16 * mib,
            largest_message: 4 * mib,
            patience: Duration::from_secs(10),
        }
    }
}

/// Limits of streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamsConfig {
    /// Streams that a peer may have open at once after its hello; before, 32. Over QUIC the limit that a peer is told begins at 48, or
    /// at this if it is lower, and doubles up to this whenever the peer has half of it open: QUIC keeps memory for each stream that is
    /// allowed. Default: 96.
    pub max_inbound: u32,
    /// Opens that wait for the peer's limit, per link. Default: 64.
    pub max_waiting: usize,
    /// Streams of a peer whose protocol is not agreed on yet, at a time, where they say it by name: all on libp2p's connections, those of
    /// other people's protocols elsewhere. Further ones are reset. Default: 64, at least 1.
    pub max_negotiating: u32,
    /// The most one stream may have in flight towards this node, in bytes. Default: 2 MiB.
    #[serde(with = "units::size")]
    pub window: u64,
    /// Protocols that may be written, and are read, before the handshake is confirmed (0-RTT): replay-safe ones only. Where
    /// there are none no early data is sent or taken. Default: none. Not of a file: the stack asks the protocols.
    #[serde(skip)]
    pub early: Vec<ProtocolId>,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            max_inbound: 96,
            max_waiting: 64,
            max_negotiating: 64,
            window: 2 * MIB as u64,
            early: Vec::new(),
        }
    }
}

/// The shortest idle timeout: a few round trips of a slow path, with losses.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// The longest idle timeout. A link that is gone holds its slot as long.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// What two nodes agree to speak over QUIC, in its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alpn {
    /// `weir/1`: streams begin with a protocol number (`docs/spec/streams.md`).
    #[serde(rename = "weir/1")]
    Weir,
    /// `libp2p`: streams begin with multistream-select, as other libp2p nodes have it (`docs/spec/libp2p-links.md`).
    #[serde(rename = "libp2p")]
    Libp2p,
}

impl Alpn {
    /// What stands in the handshake.
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Weir => b"weir/1",
            Self::Libp2p => b"libp2p",
        }
    }
}

/// QUIC alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuicConfig {
    /// A link is lost when nothing was heard for so long, or for as long as the peer says, if that is shorter. 1 s to 1 h.
    /// Default: 30 s.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
    /// A link that is silent for so long asks for a sign of life. Default: 20 s, above the 15 s between pings on control:
    /// those are enough. Below `idle_timeout`.
    #[serde(with = "units::duration")]
    pub keep_alive: Duration,
    /// The largest datagram that path MTU discovery tries, in bytes of UDP payload. Default: 1,452.
    pub max_mtu: u16,
    /// Single-use sessions kept as a server, for 0-RTT of peers that come back. Default: 1,024. 0: none are issued.
    pub sessions: usize,
    /// Whether what is replay-safe goes along with the handshake with a known peer, and is taken from one (0-RTT). Without it every
    /// link costs a round trip more, and nothing on it could ever be replayed. Default: true.
    pub early: bool,
    /// What is spoken, the best first: the listener takes the first of its own list that the dialler offers, too. At least one.
    /// Default: `weir/1`, then `libp2p`, so that Weir's nodes speak `weir/1` among themselves, and libp2p with all others.
    pub alpn: Vec<Alpn>,
    /// Whether the TLS key is Ed25519, so that every run has the same sizes, instead of P-256. Default: no.
    pub deterministic: bool,
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(20),
            max_mtu: 1452,
            sessions: 1024,
            early: true,
            alpn: vec![Alpn::Weir, Alpn::Libp2p],
            deterministic: false,
        }
    }
}

impl QuicConfig {
    fn check(&self) -> Result<(), LimitError> {
        is_pause("idle_timeout", self.idle_timeout)?;
        if self.keep_alive.is_zero() || self.keep_alive >= self.idle_timeout {
            let remedy = format!("is {:?}; it must be above 0 and below ", self.keep_alive);
            let error = LimitError::new("keep_alive", remedy).field("idle_timeout");
            return Err(error.text(format!(" ({:?}), or silent links are lost", self.idle_timeout)));
        }
        if !(1200..=65_527).contains(&self.max_mtu) {
            let remedy = format!("is {}; it must be 1200 to 65527", self.max_mtu);
            return Err(LimitError::new("max_mtu", remedy));
        }
        if self.alpn.is_empty() {
            return Err(LimitError::new("alpn", "must name at least one"));
        }
        Ok(())
    }
}

/// What encrypts a byte stream and proves who is at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Noise XX with ChaCha20-Poly1305 (`docs/spec/noise.md`).
    Noise,
    /// TLS 1.3, with AES-GCM where both have it (`docs/spec/connection.md`).
    Tls,
}

/// Byte streams alone: TCP, secured and divided into streams as libp2p does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpConfig {
    /// Streams that a peer may have open at once; further ones are reset. Default: 512. At least what peers take for
    /// `max_outbound`.
    pub max_inbound: u32,
    /// Streams that this side may have open at once on a link; further ones wait. Default: 256, which every implementation
    /// takes.
    pub max_outbound: u32,
    /// What secures connections, the best first; a peer that dials takes the first of its own that is here. In a build without TLS
    /// (wasm), [`Security::Tls`] is refused. Default: none named, which leaves it to the host: on real sockets both, TLS first where
    /// the processor has AES; elsewhere Noise.
    pub security: Vec<Security>,
    /// Names of yamux, the best first: what a network calls it. Default: `/yamux/1.0.0`.
    pub yamux: Vec<String>,
    /// Names of mplex, the best first, behind those of yamux: it is spoken with peers that have nothing better, for there a stream that is
    /// not read stalls all others. Default: none, and mplex is not spoken. In a file `true` means its usual name, `/mplex/6.7.0`.
    #[serde(deserialize_with = "names_of_mplex")]
    pub mplex: Vec<String>,
    /// The key of a private network, which all its nodes share: every connection is encrypted with it, below all else. Not of a file: its
    /// own has a form of its own ([`SharedKey::from_file`]).
    #[serde(skip)]
    pub private: Option<SharedKey>,
    /// Pause between two pings of yamux, which measure the round trip and find out whether the peer is there; they go out on full
    /// seconds. mplex has no ping: where nothing was heard over it for so long, a sign of life is asked for. Default: 20 s.
    #[serde(with = "units::duration")]
    pub ping_interval: Duration,
    /// A link is lost when an answer to a ping, or a sign of life, takes so long. Default: 10 s.
    #[serde(with = "units::duration")]
    pub ping_timeout: Duration,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            max_inbound: 512,
            max_outbound: 256,
            security: Vec::new(),
            yamux: vec![weir_libp2p::yamux::NAME.to_owned()],
            mplex: Vec::new(),
            private: None,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

/// Names, or whether the usual one is meant.
fn names_of_mplex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        IsSpoken(bool),
        Names(Vec<String>),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::IsSpoken(true) => vec![weir_libp2p::mplex::NAME.to_owned()],
        Given::IsSpoken(false) => Vec::new(),
        Given::Names(names) => names,
    })
}

impl TcpConfig {
    fn check(&self) -> Result<(), LimitError> {
        let counts = [("max_inbound", self.max_inbound), ("max_outbound", self.max_outbound)];
        if let Some((field, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(LimitError::new(field, "must be at least 1"));
        }
        if self.yamux.is_empty() {
            return Err(LimitError::new("yamux", "must name at least one"));
        }
        if self.mplex.iter().any(|name| self.yamux.contains(name)) {
            let error = LimitError::new("mplex", "has a name of ").field("yamux");
            return Err(error.text("; give each muxer names of its own"));
        }
        is_pause("ping_interval", self.ping_interval)?;
        is_pause("ping_timeout", self.ping_timeout)
    }
}

/// Whether this is a time after which silence may mean something.
fn is_pause(field: &'static str, pause: Duration) -> Result<(), LimitError> {
    if (IDLE_MIN..=IDLE_MAX).contains(&pause) {
        return Ok(());
    }
    Err(LimitError::new(field, format!("is {pause:?}; it must be 1 s to 1 h")))
}

impl Config {
    /// Bytes of receive windows reserved from the start: a base window for every link, half-open ones included.
    pub fn reserved_receive(&self) -> u64 {
        self.slots().saturating_mul(self.budget.base_window)
    }

    /// Bytes of send windows reserved from the start.
    pub fn reserved_send(&self) -> u64 {
        self.slots().saturating_mul(self.budget.base_send)
    }

    /// Links that may exist at once: confirmed, half-open, and dials under way.
    fn slots(&self) -> u64 {
        let dials = u64::try_from(self.dial.max_dials).unwrap_or(u64::MAX);
        u64::from(self.admission.max_links)
            .saturating_add(u64::from(self.admission.max_half_open))
            .saturating_add(dials)
    }

    /// Whether the limits fit together.
    ///
    /// # Errors
    /// The first field that does not fit, and what would.
    pub fn check(&self) -> Result<(), LimitError> {
        self.admission.check().map_err(|limit| limit.within("admission"))?;
        self.dial.check().map_err(|limit| limit.within("dial"))?;
        self.check_memory()?;
        self.quic.check().map_err(|limit| limit.within("quic"))?;
        self.tcp.check().map_err(|limit| limit.within("tcp"))
    }

    /// Whether windows and budget fit together.
    fn check_memory(&self) -> Result<(), LimitError> {
        let (budget, streams) = (&self.budget, &self.streams);
        let fail = |field, value: u64, least: u64| {
            LimitError::new(field, format!("is {value}; it must be at least {least}"))
        };
        if budget.base_window < LINK_INITIAL {
            return Err(fail("budget.base_window", budget.base_window, LINK_INITIAL));
        }
        let least = self.reserved_receive().saturating_add(budget.largest_message);
        if budget.receive_total < least {
            let why = format!(
                ": base windows of {} for {} links, half-open ones and dials included, and the largest message ({}); \
                 raise it, or lower ",
                budget.base_window,
                self.slots(),
                budget.largest_message
            );
            let error = fail("budget.receive_total", budget.receive_total, least).text(why);
            return Err(error.field("admission.max_links"));
        }
        if budget.send_total < self.reserved_send() {
            let error = fail("budget.send_total", budget.send_total, self.reserved_send());
            return Err(error.text("; raise it, or lower ").field("budget.base_send"));
        }
        if streams.window < STREAM_INITIAL || streams.window > u64::from(u32::MAX) {
            let remedy = format!("is {}; it must be {STREAM_INITIAL} to {}", streams.window, u32::MAX);
            return Err(LimitError::new("streams.window", remedy));
        }
        if streams.max_negotiating == 0 {
            return Err(LimitError::new("streams.max_negotiating", "must be at least 1"));
        }
        if budget.max_raw < streams.window {
            let error = fail("budget.max_raw", budget.max_raw, streams.window);
            return Err(error.text(", one ").field("streams.window"));
        }
        if budget.max_lent < budget.max_raw {
            let error = fail("budget.max_lent", budget.max_lent, budget.max_raw);
            return Err(error.text(", as ").field("budget.max_raw"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
