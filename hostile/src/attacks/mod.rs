//! What hostile peers do, a file an attack: each function runs until it is dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::peer::{Answer, Items, Peer};
use crate::stranger::Stranger;
use crate::victim::USELESS;
use crate::wire;

mod blame;
mod calls;
mod floods;
mod handshakes;
mod muxer;
mod storms;
mod streams;
mod tcp;

pub use storms::most_answered;

/// Every attack, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Deliver items that are wrong, leave, come back as somebody else.
    HitAndRun,
    /// Call for a megabyte again and again and read no answer.
    UnreadAnswers,
    /// Requests a byte at a time.
    SlowRequests,
    /// Items that are not wrong, as many as are granted, on 24 links.
    ManyItems,
    /// As many calls as are allowed, on 24 links.
    ManyCalls,
    /// First packets of handshakes that never go on, from many addresses of one prefix.
    FirstPackets,
    /// Handshakes without end from addresses that are proven, completed and dropped, or begun and never ended.
    Handshakes,
    /// Offer everything, answer every get with *gone*.
    GoneStorm,
    /// Stream heads of which the second byte never comes.
    HalfHeads,
    /// Move the victim's cursor back to 0 as often as allowed.
    MovesBack,
    /// Six streams that each break the protocol, in one instant.
    SixFaults,
    /// Hundreds of raw streams that nobody uses.
    RawStreams,
    /// Messages of unknown odd types without end.
    OddMessages,
    /// The same over TCP.
    TcpHandshakes,
    /// TCP connections that say nothing, 4,800 at once.
    TcpSilent,
    /// Over TCP: streams opened without end.
    TcpOpenings,
    /// Over TCP: streams opened and broken off without end.
    TcpResets,
    /// Over TCP: more on a stream than its window.
    TcpOverrun,
    /// Over TCP: pings of the muxer without end, whose answers nobody reads.
    TcpPings,
    /// Over TCP: streams that never say what they are.
    TcpNameless,
    /// Over TCP: questions without end, whose answers nobody reads.
    TcpUnread,
    /// Over TCP: handshakes cut at every byte.
    TcpCut,
    /// Over TCP: handshakes a byte a second.
    TcpSlow,
    /// Over TCP: peers that stop at each state of the set-up and read nothing.
    TcpStops,
    /// Over TCP: handshakes with wrong signatures, keys and payloads, and replayed ones.
    TcpForged,
    /// Over TCP: proposals of protocols without end on one stream.
    TcpTokens,
    /// Over TCP: frames of yamux with a field that cannot be.
    TcpFields,
    /// Over TCP: credit beyond 32 bits.
    TcpCredit,
    /// Over TCP: bytes without end for a stream that is gone.
    TcpGone,
    /// Over TCP: frames of yamux that change nothing, and records without a byte.
    TcpUseless,
    /// Over TCP: streams without end for a protocol that nobody serves.
    TcpUnknown,
    /// Over TCP: peers that answer no ping and acknowledge no stream.
    TcpDeaf,
    /// Over TCP: an identify of a gigabyte.
    TcpIdentify,
    /// Over TCP: pushes of identify without end.
    TcpPushes,
    /// Over TCP: streams of mplex without end, with names that nobody reads and messages that move nothing.
    TcpMplex,
}

/// Where attackers are, as the victim's address groups see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arrangement {
    /// Each in a group of its own, the honest pair in another.
    Apart,
    /// All in the honest pair's group.
    Together,
    /// All in the honest pair's group, but the victim has dialled the pair.
    Dialled,
}

impl Arrangement {
    /// The address of attacker number `index`: no two in one /24, so that only groups are shared.
    fn address(self, index: u32) -> IpAddr {
        let low = index as u8;
        match self {
            Self::Apart => Ipv4Addr::new(127, 20 + low, 1, 1).into(),
            Self::Together | Self::Dialled => Ipv4Addr::new(127, 1, 20 + low, 1).into(),
        }
    }
}

/// What, whom, and from where.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Field {
    pub attack: Attack,
    /// Where it listens for what the attack goes over.
    pub victim: SocketAddr,
    pub arrangement: Arrangement,
}

/// How long attackers have to leave.
const LEAVING: Duration = Duration::from_secs(2);

/// Attacks until standard input ends, then leaves and says how many handshakes were answered, where it counts them: the work of a
/// process of its own.
pub fn run(field: &Field) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (end, ended) = watch::channel(false);
    let answered = storms::Answered::default();
    let work = runtime.spawn(field.attack.run(*field, ended, answered.clone()));
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    end.send_replace(true);
    // who has no connection yet has none to close
    runtime.block_on(async { drop(tokio::time::timeout(LEAVING, work).await) });
    runtime.shutdown_background();
    println!("{}", answered.load(std::sync::atomic::Ordering::Relaxed));
    Ok(())
}

/// Waits for the end of the attack.
async fn end_of(ended: &mut watch::Receiver<bool>) {
    drop(ended.wait_for(|ended| *ended).await);
}

impl Attack {
    /// Whether it goes over TCP.
    pub const fn is_tcp(self) -> bool {
        !matches!(
            self,
            Self::HitAndRun
                | Self::UnreadAnswers
                | Self::SlowRequests
                | Self::ManyItems
                | Self::ManyCalls
                | Self::FirstPackets
                | Self::Handshakes
                | Self::GoneStorm
                | Self::HalfHeads
                | Self::MovesBack
                | Self::SixFaults
                | Self::RawStreams
                | Self::OddMessages
        )
    }

    /// Whether nobody who does so has proved who it is: none of them may become a link.
    pub const fn is_unproven(self) -> bool {
        matches!(self, Self::FirstPackets | Self::TcpSilent | Self::TcpSlow | Self::TcpForged)
    }

    /// Whether its handshakes are counted, and how many may be answered bounded.
    pub const fn is_storm(self) -> bool {
        matches!(self, Self::Handshakes | Self::TcpHandshakes)
    }

    /// Whether honest newcomers try to get in meanwhile.
    pub const fn has_newcomers(self) -> bool {
        self.is_storm() || matches!(self, Self::FirstPackets | Self::TcpSilent)
    }

    /// Attackers at work at once.
    pub const fn peers(self) -> u32 {
        match self {
            Self::SixFaults | Self::FirstPackets => 1,
            Self::HitAndRun => 8,
            Self::UnreadAnswers | Self::SlowRequests => 60,
            _ => 24,
        }
    }

    /// Runs it until `ended`.
    async fn run(self, field: Field, mut ended: watch::Receiver<bool>, answered: storms::Answered) {
        if self == Self::FirstPackets {
            return tokio::select! {
                () = floods::first_packets(field) => (),
                () = end_of(&mut ended) => (),
            };
        }
        let mut peers = JoinSet::new();
        for index in 0..self.peers() {
            let (mut ended, answered) = (ended.clone(), answered.clone());
            peers.spawn(async move {
                while !*ended.borrow() {
                    // refused, closed or banned: it comes back as somebody else after a moment
                    let local = field.arrangement.address(index);
                    if self.is_storm() {
                        tokio::select! {
                            () = storms::run(field, local, &answered) => {}
                            () = end_of(&mut ended) => return,
                        }
                    } else if self.is_tcp() {
                        tokio::select! {
                            done = self.once_over_tcp(field.victim, local) => drop(done),
                            () = end_of(&mut ended) => return, // the system closes what it had
                        }
                    } else {
                        drop(self.once(field.victim, local, &mut ended).await);
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        while peers.join_next().await.is_some() {}
    }

    /// The life of one identity.
    async fn once(
        self,
        victim: SocketAddr,
        local: IpAddr,
        ended: &mut watch::Receiver<bool>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let peer = Peer::dial(victim, local).await?;
        let done = tokio::select! {
            done = self.with(&peer) => Some(done),
            () = end_of(ended) => None,
        };
        let Some(done) = done else {
            peer.leave().await;
            return Ok(());
        };
        done
    }

    /// What a peer does once it has said hello.
    async fn with(self, peer: &Peer) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::HitAndRun => {
                let serve = peer.serve(Items::new(b'x')?, Answer::Item);
                drop(tokio::time::timeout(Duration::from_millis(150), serve).await);
                peer.connection.close(0_u8.into(), b"");
                Ok(())
            }
            Self::ManyItems => peer.serve(Items::new(USELESS)?, Answer::Item).await,
            Self::GoneStorm => peer.serve(Items::new(USELESS)?, Answer::Gone).await,
            Self::UnreadAnswers => calls::unread(peer).await,
            Self::SlowRequests => calls::a_byte_at_a_time(peer).await,
            Self::ManyCalls => calls::many(peer).await,
            Self::HalfHeads => streams::half_heads(peer).await,
            Self::MovesBack => streams::moves_back(peer).await,
            Self::SixFaults => streams::six_faults(peer).await,
            Self::RawStreams => streams::raw(peer).await,
            Self::OddMessages => floods::odd_messages(peer).await,
            _ => Ok(()), // not of these
        }
    }

    /// The same over TCP.
    async fn once_over_tcp(
        self,
        victim: SocketAddr,
        local: IpAddr,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::TcpSilent => return tcp::silent(victim, local).await,
            Self::TcpCut => return handshakes::cut(victim, local).await,
            Self::TcpSlow => return handshakes::slow(victim, local).await,
            Self::TcpStops => return handshakes::stops(victim, local).await,
            Self::TcpForged => return handshakes::forged(victim, local).await,
            Self::TcpMplex => return muxer::mplex(victim, local).await,
            _ => {}
        }
        let peer = Stranger::dial(victim, local).await?;
        match self {
            Self::TcpOpenings => tcp::openings(peer).await,
            Self::TcpResets => tcp::resets(peer).await,
            Self::TcpOverrun => tcp::overrun(peer).await,
            Self::TcpPings => tcp::pings(peer).await,
            Self::TcpNameless => tcp::nameless(peer).await,
            Self::TcpUnread => tcp::unread(peer).await,
            Self::TcpTokens => muxer::tokens(peer).await,
            Self::TcpFields => muxer::fields(peer).await,
            Self::TcpCredit => muxer::credit(peer).await,
            Self::TcpGone => muxer::gone(peer).await,
            Self::TcpUseless => muxer::useless(peer).await,
            Self::TcpUnknown => muxer::unknown(peer).await,
            Self::TcpDeaf => muxer::deaf(peer).await,
            Self::TcpIdentify => muxer::identify(peer).await,
            Self::TcpPushes => muxer::pushes(peer).await,
            _ => Ok(()), // not of these
        }
    }
}

/// The victim's largest answer, as a request of this program's method asks for it.
const LARGEST: [u8; 4] = (1_u32 << 20).to_le_bytes();

/// The whole of a call's stream but its head.
fn ask(size: [u8; 4]) -> Vec<u8> {
    wire::request(&size)
}
