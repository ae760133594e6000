//! TCP, or any other byte stream between two nodes, behind links: secured and divided into streams as libp2p does it.
//!
//! - the host connects and accepts byte streams ([`PipeChange`](crate::PipeChange)) and carries their bytes both ways;
//! - [`Connection`](weir_libp2p::connection::Connection) makes an authenticated connection with many streams of one;
//! - each stream begins with multistream-select: its opener proposes the names of the protocol ([`Config::protocols`]), and a
//!   single name goes along with the first bytes of the stream, without a round trip;
//! - this side's written bytes wait by class until a record is made of them.
//!
//! Threat: a stranger connects and says nothing, or little; it counts as a half-open handshake of its address from the first
//! moment, and one deadline covers all of its set-up. A peer opens streams and does not say what they are: so many may be undecided
//! at once, each for so long. A peer sends what nobody reads: the byte stream is not read beyond the link's window and one
//! record, so that the peer has to wait. Source: `docs/spec/libp2p-links.md`.

mod carrier;
mod endpoint;
mod goodbye;
mod input;
mod link;
mod output;
mod receiving;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weir_base::identity::Keypair;
use weir_base::{Deadlines, Instant, LinkId, Rng, UnixTime};
use weir_libp2p::connection::{Security, Setup};
use weir_libp2p::multistream::Names;
use weir_libp2p::noise::{Identity, Noise};
use weir_libp2p::{Cipher, mplex, yamux};

pub(crate) use link::TcpLink;

use crate::carrier::EndpointId;
use crate::event::PipeId;
use crate::outputs::Outputs;
use crate::streams::ProtocolNames;
use crate::{Config, LimitError, config};

/// All byte streams of a node.
pub(crate) struct Tcp {
    id: EndpointId,
    shared: Arc<Shared>,
    setup: Arc<Setup>,
    keyless: Option<Arc<Keypair>>, // until the first byte stream; then `setup` has Noise
    rng: Rng,
    wall: (Instant, UnixTime), // what the wall clock showed when it was set last
    hosted: bool,              // the host carries byte streams
    dials: u64,
    pipes: BTreeMap<PipeId, Pipe>, // <= links, and CLOSING_MAX
    outputs: Outputs,
    closing: Deadlines<PipeId>,  // <= CLOSING_MAX
    finishing: VecDeque<PipeId>, // of those that are closing: the end is to be said
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    names: ProtocolNames,
}

/// One byte stream.
#[derive(Debug)]
struct Pipe {
    link: Option<LinkId>, // none once its link is down
    blocked: bool,        // the system takes no more
    ending: bool,         // the end of this side's direction is still to be said
}

/// What makes TLS of a certificate for this key that holds now, with these muxers and this cipher first. A build without TLS refuses.
pub(crate) type MakeTls =
    fn(&Keypair, &mut Rng, UnixTime, &Names, Cipher) -> Result<Arc<dyn Security>, LimitError>;

impl Tcp {
    pub(crate) fn new(
        id: EndpointId,
        config: &Arc<Config>,
        keypair: &Arc<Keypair>,
        seed: [u8; 32],
        wall: UnixTime,
        tls: MakeTls,
    ) -> Result<Self, LimitError> {
        let mut rng = Rng::new(seed).child("tcp");
        let names = ProtocolNames::new(&config.protocols, &config.unserved)?;
        let named = |field, names: &[String]| {
            Names::new(names.iter().map(String::as_str))
                .map_err(|error| LimitError::new(field, format!("has a name that is none: {error}")))
        };
        let mplexed = !config.tcp.mplex.is_empty();
        let mplex_names: &[String] = if mplexed { &config.tcp.mplex } else { &[mplex::NAME.into()] };
        let mut setup = Setup {
            security: Vec::new(),
            private: config.tcp.private.clone(),
            muxers: named("tcp.yamux", &config.tcp.yamux)?,
            early_muxer: true,
            // Windows bound what a peer may have in flight, not what this side holds: beyond the link's window it does not read.
            yamux: yamux::Config {
                max_inbound: config.tcp.max_inbound,
                max_outbound: config.tcp.max_outbound,
                window_max: u32::try_from(config.streams.window).unwrap_or(u32::MAX).max(yamux::WINDOW_MIN),
                interval: config.tcp.ping_interval,
                timeout: config.tcp.ping_timeout,
                ..yamux::Config::default()
            },
            mplex: mplexed.then(mplex::Config::default),
            mplex_names: named("tcp.mplex", mplex_names)?,
            budget: config.budget.max_lent,
        };
        let muxers = setup.muxer_names();
        let mut keyless = None;
        if config.tcp.security.contains(&config::Security::Tls) {
            // it may be what this build has not: that is told at once
            let noise = noise(keypair, &mut rng);
            let mut secure = |security: &config::Security| match security {
                config::Security::Noise => Ok(Arc::clone(&noise)),
                config::Security::Tls => tls(keypair, &mut rng, wall, &muxers, config.cipher),
            };
            setup.security = config.tcp.security.iter().map(&mut secure).collect::<Result<_, _>>()?;
        } else {
            keyless = Some(Arc::clone(keypair));
        }
        Ok(Self {
            id,
            shared: Arc::new(Shared { config: Arc::clone(config), names }),
            setup: Arc::new(setup),
            keyless,
            rng,
            wall: (Instant::ZERO, wall),
            hosted: false,
            dials: 0,
            pipes: BTreeMap::new(),
            outputs: Outputs::default(),
            closing: Deadlines::default(),
            finishing: VecDeque::new(),
        })
    }

    /// What secures byte streams and divides them. A node that has none never makes a key for them: that takes a signature.
    fn setup(&mut self) -> Arc<Setup> {
        if let Some(keypair) = self.keyless.take() {
            Arc::make_mut(&mut self.setup).security = vec![noise(&keypair, &mut self.rng)];
        }
        Arc::clone(&self.setup)
    }
}

fn noise(keypair: &Keypair, rng: &mut Rng) -> Arc<dyn Security> {
    Arc::new(Noise(Arc::new(Identity::new(keypair, &mut rng.child("noise")))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::harness;

    fn no_tls(
        _: &Keypair,
        _: &mut Rng,
        _: UnixTime,
        _: &Names,
        _: Cipher,
    ) -> Result<Arc<dyn Security>, LimitError> {
        Err(LimitError::new("tcp.security", "has `tls`, which this test does not have"))
    }

    fn tcp(security: &[config::Security]) -> Result<Tcp, LimitError> {
        let mut config = harness::config();
        config.tcp.security = security.to_vec();
        let wall = UnixTime::from_secs(1_800_000_000);
        Tcp::new(EndpointId(0), &Arc::new(config), &Arc::new(harness::keypair(1)), [1; 32], wall, no_tls)
    }

    #[test]
    fn a_key_for_byte_streams_is_made_with_the_first_of_them_alone() {
        use config::Security::{Noise, Tls};
        for security in [&[][..], &[Noise]] {
            let mut tcp = tcp(security).unwrap();
            assert_eq!(tcp.setup.security.len(), 0, "no byte stream, no key");
            let first = tcp.setup();
            assert_eq!(first.security.len(), 1);
            assert!(Arc::ptr_eq(&first, &tcp.setup()), "and one for all");
        }
        assert!(tcp(&[Noise, Tls]).is_err(), "what this build has not is refused at once");
    }
}
