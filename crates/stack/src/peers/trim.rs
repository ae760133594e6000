//! Which links are closed where there are too many (`docs/spec/peers.md`, "Too many links").

use weir_base::stream::Side;
use weir_base::{Instant, LinkId};

use super::{Linked, Peers, Role, Trim};

/// What is above the bound now.
pub(crate) struct Surplus<'a> {
    peers: &'a Peers,
    trim: Trim,
    count: usize,
}

impl<'a> Surplus<'a> {
    /// `None`: there are not too many links, or nothing is to be done about it.
    pub(crate) fn of(peers: &'a Peers) -> Option<Self> {
        let trim = peers.config.trim?;
        let up = peers.links.values().filter(|linked| !linked.leaving).count();
        (up > trim.above as usize).then(|| Self { peers, trim, count: up - trim.to as usize })
    }

    /// The links to say goodbye on. Of those that may go first those against whose peers there is the most, then inbound ones, then
    /// the youngest.
    pub(crate) fn links(&self, now: Instant) -> Vec<LinkId> {
        let standing = self.peers.standing();
        let mut due: Vec<_> = self
            .spare()
            .filter(|(_, _, due)| *due <= now)
            .map(|(link, linked, _)| {
                let points = standing.points_against(now, &linked.info.peer);
                (points, linked.info.side == Side::Inbound, linked.since, link)
            })
            .collect();
        due.sort_unstable_by(|one, other| other.cmp(one));
        due.into_iter().take(self.count).map(|(.., link)| link).collect()
    }

    /// When the next link has had its time.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.spare().map(|(.., due)| (due, "there are too many links")).min()
    }

    /// Links that may go, and from when on: not those that are kept by the operator's word.
    fn spare(&self) -> impl Iterator<Item = (LinkId, &Linked, Instant)> {
        let kept = |peer| matches!(self.peers.book.role(peer), Some(Role::Persistent | Role::Pinned));
        self.peers
            .links()
            .filter(move |(_, linked)| !linked.leaving && !kept(&linked.info.peer))
            .map(|(link, linked)| (link, linked, linked.since + self.trim.grace))
    }
}
