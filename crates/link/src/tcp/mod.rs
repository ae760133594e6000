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
use weir_libp2p::multistream::{NameError, Names};
use weir_libp2p::noise::{Identity, Noise};
use weir_libp2p::{mplex, yamux};

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
    setup: Arc<Setup>,
    names: ProtocolNames,
}

/// One byte stream.
#[derive(Debug)]
struct Pipe {
    link: Option<LinkId>, // none once its link is down
    blocked: bool,        // the system takes no more
    ending: bool,         // the end of this side's direction is still to be said
}

/// What makes TLS of a certificate for this key that holds now, with these muxers. A build without TLS refuses.
pub(crate) type MakeTls = fn(&Keypair, &mut Rng, UnixTime, &Names) -> Result<Arc<dyn Security>, LimitError>;

impl Tcp {
    pub(crate) fn new(
        id: EndpointId,
        config: &Arc<Config>,
        keypair: &Keypair,
        seed: [u8; 32],
        wall: UnixTime,
        tls: MakeTls,
    ) -> Result<Self, LimitError> {
        let mut rng = Rng::new(seed).child("tcp");
        let names = ProtocolNames::new(&config.protocols, &config.unserved)?;
        let identity = Arc::new(Identity::new(keypair, &mut rng.child("noise")));
        let fail = |field: &'static str, error: NameError| {
            LimitError::new(field, format!("has a name that is none: {error}"))
        };
        let unnamed = |error: NameError| fail("tcp.yamux", error);
        let mut setup = Setup::new(Arc::clone(&identity)).map_err(unnamed)?;
        setup.muxers = Names::new(config.tcp.yamux.iter().map(String::as_str)).map_err(unnamed)?;
        if !config.tcp.mplex.is_empty() {
            let unnamed = |error: NameError| fail("tcp.mplex", error);
            setup.mplex_names = Names::new(config.tcp.mplex.iter().map(String::as_str)).map_err(unnamed)?;
            setup.mplex = Some(mplex::Config::default());
        }
        setup.private.clone_from(&config.tcp.private);
        let muxers = setup.muxer_names();
        let mut secure = |security: &config::Security| match security {
            config::Security::Noise => Ok(Arc::new(Noise(Arc::clone(&identity))) as Arc<dyn Security>),
            config::Security::Tls => tls(keypair, &mut rng, wall, &muxers),
        };
        if !config.tcp.security.is_empty() {
            setup.security = config.tcp.security.iter().map(&mut secure).collect::<Result<_, _>>()?;
        }
        // Windows bound what a peer may have in flight, not what this side holds: beyond the link's window it does not read.
        setup.budget = config.budget.max_lent;
        setup.yamux = yamux::Config {
            max_inbound: config.tcp.max_inbound,
            max_outbound: config.tcp.max_outbound,
            window_max: u32::try_from(config.streams.window).unwrap_or(u32::MAX).max(yamux::WINDOW_MIN),
            interval: config.tcp.ping_interval,
            timeout: config.tcp.ping_timeout,
            ..yamux::Config::default()
        };
        let shared = Arc::new(Shared { config: Arc::clone(config), setup: Arc::new(setup), names });
        Ok(Self {
            id,
            shared,
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
}
