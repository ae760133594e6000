//! A Weir node in the dialects of libp2p's public test harnesses, whichever asks:
//!
//! - *transport-interop* (libp2p/test-plans): `is_dialer`, `transport`, `security`, `muxer`, `ip`, `redis_addr` and
//!   `test_timeout_seconds` in the environment; the listener pushes its address to the list `listenerAddr`; the dialler prints JSON;
//! - *unified-testing* (libp2p/unified-testing): `IS_DIALER`, `TRANSPORT`, `SECURE_CHANNEL`, `MUXER`, `LISTENER_IP`, `REDIS_ADDR`,
//!   `TEST_KEY` and `TEST_TIMEOUT_SECS`; the listener sets `KEY_listener_multiaddr`; the dialler prints YAML;
//! - *perf* (libp2p/test-plans): `--run-server --server-address IP:PORT --transport tcp|quic-v1`, or without the first and with
//!   `--upload-bytes N --download-bytes N`; the client prints a line of JSON with the time, that of connecting included.
//!
//! It ends with 0 where all went well, with 1 and a reason where not, and with 2 where it does not understand what it is told.

mod perf;
mod redis;
mod transport;

use std::process::ExitCode;

use weir::config::Security;
use weir::{Config, Network, NetworkId};

/// What this program says of errors.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// No network of anybody's: the harnesses' nodes speak libp2p alone.
const NETWORK: NetworkId = NetworkId(*b"weir harness, a net of its own. ");
/// A name of yamux that nobody has, where a harness wants mplex and nothing else.
const NO_YAMUX: &str = "/weir/no-yamux";

const USAGE: &str = "harness: set IS_DIALER (unified-testing) or is_dialer (transport-interop), or give \
[--run-server] --server-address IP:PORT [--transport tcp|quic-v1] [--upload-bytes N --download-bytes N]";

/// Why it ends without success.
pub enum Wrong {
    /// It does not understand what it is told, or does not speak what it is told to speak.
    Told(Failed),
    Failed(Failed),
}

impl<E: Into<Failed>> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let variable = |name: &str| std::env::var(name).ok();
    let done = if !words.is_empty() {
        perf::Task::read(&words).and_then(|task| task.run())
    } else if let Some(task) = transport::Task::read(variable) {
        task.and_then(|task| task.run())
    } else {
        Err(Wrong::Told(USAGE.into()))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Wrong::Failed(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(Wrong::Told(error)) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// The transports of both kinds of harness that Weir has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Tcp,
    Quic,
}

impl Transport {
    pub fn named(name: &str) -> Result<Self, Wrong> {
        match name {
            "tcp" => Ok(Self::Tcp),
            "quic-v1" => Ok(Self::Quic),
            other => Err(Wrong::Told(format!("transport {other}: Weir has tcp and quic-v1").into())),
        }
    }

    /// An address of this transport, without a peer.
    pub fn address(self, ip: std::net::IpAddr, port: u16) -> String {
        let family = if ip.is_ipv4() { "ip4" } else { "ip6" };
        match self {
            Self::Tcp => format!("/{family}/{ip}/tcp/{port}"),
            Self::Quic => format!("/{family}/{ip}/udp/{port}/quic-v1"),
        }
    }
}

/// A configuration with this security and muxer over TCP. QUIC has its own.
pub fn config(transport: Transport, security: &str, muxer: &str) -> Result<Config, Wrong> {
    let mut config = Config::default();
    if transport == Transport::Quic {
        return Ok(config);
    }
    config.node.tcp.security = match security {
        "noise" => vec![Security::Noise],
        "tls" => vec![Security::Tls],
        other => return Err(Wrong::Told(format!("security {other}: Weir has noise and tls").into())),
    };
    match muxer {
        "yamux" => {}
        "mplex" => {
            config.node.tcp.mplex = vec!["/mplex/6.7.0".to_owned()];
            config.node.tcp.yamux = vec![NO_YAMUX.to_owned()];
        }
        other => return Err(Wrong::Told(format!("muxer {other}: Weir has yamux and mplex").into())),
    }
    Ok(config)
}

/// A node to which everything else is added.
pub fn builder(config: Config, keypair: weir::Keypair) -> weir::Builder {
    Network::builder(keypair, NETWORK).config(config)
}
