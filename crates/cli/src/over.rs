//! What carries a connection: the transport, and how TCP is secured and divided into streams. Every command that dials or listens for
//! one purpose takes these options.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use weir::Multiaddr;
use weir::config::{Security, SharedKey};

use crate::addresses::{self, Transport};
use crate::error::Failure;

/// A name of yamux that nobody has, where mplex alone is wanted: the configuration has at least one.
const NO_YAMUX: &str = "/weir/no-yamux";
/// mplex by its usual name.
const MPLEX: &str = "/mplex/6.7.0";

/// What encrypts TCP, and proves who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Securing {
    /// Noise alone.
    Noise,
    /// TLS 1.3 alone.
    Tls,
    /// TLS where the other side has it, else Noise: then it costs a round trip more.
    Both,
}

impl Securing {
    /// As the configuration has it, the best first.
    fn list(self) -> Vec<Security> {
        match self {
            Self::Noise => vec![Security::Noise],
            Self::Tls => vec![Security::Tls],
            Self::Both => vec![Security::Tls, Security::Noise],
        }
    }
}

/// What divides TCP into streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Muxing {
    /// yamux alone.
    Yamux,
    /// mplex alone: where one stream is not read, all others wait.
    Mplex,
    /// yamux where the other side has it, else mplex.
    Both,
}

/// What carries the bytes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Over {
    /// What carries the bytes where an address is only IP:PORT [default: quic].
    #[arg(long, value_enum, value_name = "TRANSPORT")]
    transport: Option<Transport>,
    /// What secures TCP; QUIC secures itself [default: both, and Noise first where the processor has no AES].
    #[arg(long, value_enum, value_name = "WHAT")]
    security: Option<Securing>,
    /// What divides TCP into streams; QUIC does so itself [default: yamux].
    #[arg(long, value_enum, value_name = "WHAT")]
    muxer: Option<Muxing>,
    /// Over TCP, be in the private network of this key file (`swarm.key`): nodes without it cannot connect.
    #[arg(long, value_name = "FILE")]
    private: Option<PathBuf>,
}

impl Over {
    /// The transport that was asked for, if one was.
    pub(crate) fn transport(&self) -> Option<Transport> {
        self.transport
    }

    /// The address that `text` is; `option` is where the user wrote it.
    ///
    /// # Errors
    /// It is none, or of another transport than was asked for.
    pub(crate) fn address(&self, option: &str, text: &str) -> Result<Multiaddr, Failure> {
        let address = addresses::parse(option, text, self.transport.unwrap_or_default())?;
        let (asked, carrier) = (self.transport, addresses::transport(&address));
        match asked.zip(carrier).filter(|(asked, carrier)| asked != carrier) {
            None => Ok(address),
            Some((asked, carrier)) => Err(Failure::input(format!(
                "{option}: `{text}` is over {carrier}, and --transport asks for {asked}: leave --transport out, or give \
                 IP:PORT alone"
            ))),
        }
    }

    /// Refuses what is for TCP where every address is one of QUIC, which would silently leave it out.
    pub(crate) fn check(&self, addresses: &[Multiaddr]) -> Result<(), Failure> {
        let given = [
            ("--security", self.security.is_some()),
            ("--muxer", self.muxer.is_some()),
            ("--private", self.private.is_some()),
        ];
        let for_tcp = given.into_iter().find(|(_, given)| *given);
        let all_quic = addresses.iter().all(|address| addresses::transport(address) == Some(Transport::Quic));
        match for_tcp.filter(|_| all_quic) {
            None => Ok(()),
            Some((option, _)) => Err(Failure::input(format!(
                "{option} is for TCP, and QUIC has its own: leave it out, or give an address over TCP (or IP:PORT with \
                 --transport tcp)"
            ))),
        }
    }

    /// Sets what was asked for. All else stays as every node has it.
    pub(crate) fn apply(&self, config: &mut weir::Config) -> Result<(), Failure> {
        let tcp = &mut config.node.tcp;
        if let Some(security) = self.security {
            tcp.security = security.list();
        }
        if matches!(self.muxer, Some(Muxing::Mplex | Muxing::Both)) {
            tcp.mplex = vec![MPLEX.to_owned()];
        }
        if self.muxer == Some(Muxing::Mplex) {
            tcp.yamux = vec![NO_YAMUX.to_owned()];
        }
        if let Some(path) = &self.private {
            let unusable = |error: &dyn std::fmt::Display| {
                Failure::input(format!("--private: {}: {error}", path.display()))
            };
            let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
            tcp.private = Some(SharedKey::from_file(&text).map_err(|error| unusable(&error))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Over = Over { transport: None, security: None, muxer: None, private: None };

    #[test]
    fn an_address_is_of_the_transport_that_is_asked_for() {
        let tcp = Over { transport: Some(Transport::Tcp), ..NOTHING };
        let shown = |over: &Over, text| over.address("ADDR", text).map(|address| address.to_string());
        assert_eq!(shown(&NOTHING, "127.0.0.1:7").unwrap(), "/ip4/127.0.0.1/udp/7/quic-v1");
        assert_eq!(shown(&tcp, "127.0.0.1:7").unwrap(), "/ip4/127.0.0.1/tcp/7");
        for written in ["/ip4/127.0.0.1/tcp/7", "/dns4/node.example/tcp/7"] {
            assert_eq!(shown(&tcp, written).unwrap(), written);
            assert_eq!(shown(&NOTHING, written).unwrap(), written);
        }
        let refused = shown(&tcp, "/dns4/node.example/udp/7/quic-v1").unwrap_err().to_string();
        assert!(refused.contains("over QUIC") && refused.contains("leave --transport out"), "{refused}");
    }

    #[test]
    fn what_is_for_tcp_is_refused_where_no_address_is_over_tcp() {
        let address = |text: &str| text.parse::<Multiaddr>().unwrap();
        let (quic, tcp) = (address("/ip4/127.0.0.1/udp/7/quic-v1"), address("/ip4/127.0.0.1/tcp/7"));
        assert!(NOTHING.check(std::slice::from_ref(&quic)).is_ok());
        for (option, over) in [
            ("--security", Over { security: Some(Securing::Tls), ..NOTHING }),
            ("--muxer", Over { muxer: Some(Muxing::Yamux), ..NOTHING }),
            ("--private", Over { private: Some("swarm.key".into()), ..NOTHING }),
        ] {
            let refused = over.check(std::slice::from_ref(&quic)).unwrap_err().to_string();
            assert!(refused.starts_with(option) && refused.contains("--transport tcp"), "{refused}");
            assert!(over.check(&[quic.clone(), tcp.clone()]).is_ok(), "one of them is over TCP");
        }
    }

    #[test]
    fn what_was_not_asked_for_stays_as_nodes_have_it() {
        let with = |over: &Over| {
            let mut config = weir::Config::default();
            over.apply(&mut config).unwrap();
            config.node.tcp
        };
        let usual = weir::Config::default().node.tcp;
        assert_eq!(with(&NOTHING), usual);
        assert_eq!(
            with(&Over { security: Some(Securing::Both), ..NOTHING }).security,
            [Security::Tls, Security::Noise]
        );
        let both = with(&Over { muxer: Some(Muxing::Both), ..NOTHING });
        assert_eq!((both.mplex, &both.yamux), (vec![MPLEX.to_owned()], &usual.yamux));
        let mplex = with(&Over { muxer: Some(Muxing::Mplex), ..NOTHING });
        assert!(!mplex.mplex.is_empty() && mplex.yamux != usual.yamux, "yamux is called as nobody calls it");
        assert!(with(&Over { muxer: Some(Muxing::Yamux), ..NOTHING }).mplex.is_empty());
    }
}
