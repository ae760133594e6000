//! Which link sends next. What leaves a node is dealt by `docs/spec/fairness.md` ("What leaves"), whatever it carries.
//!
//! - a link is up → [`join`](Outputs::join): from now on its bytes are dealt by side, group and link;
//! - it may have something to send → [`mark`](Outputs::mark), and [`next`](Outputs::next) names it when it has its turn;
//! - it sent → [`sent`](Outputs::sent), and it keeps waiting; it has nothing, or may not → [`idle`](Outputs::idle).
//!
//! A host whose processor or socket is slower than the links leaves most of them waiting; then this order decides who is served.
//! Links in their handshake, and those that say their last words, belong to nobody yet or any more: they take turns among
//! themselves, every other turn is theirs, and admission bounds their number.

use weir_base::stream::LinkInfo;
use weir_base::{Dealer, LinkId, Ready};

/// Bytes that a link keeps of what it leaves to others: a link that sends little goes before those that always have something.
const CREDIT: u64 = 64 * 1024;

/// Bytes after which a turn of a link that is up ends, so that what it sends is dealt by turns and not by each packet or frame.
const TURN: u64 = 16 * 1024;

/// Bytes that a link may be behind: a second and more of what a node sends.
const DEBT: u64 = 32 << 20;

/// The links of one endpoint that may have something to send.
#[derive(Debug)]
pub(crate) struct Outputs {
    members: Dealer<LinkId>,     // those that are up
    turn: Option<(LinkId, u64)>, // whose turn it is of those that are up, and the bytes it has sent in it
    others: Ready<LinkId>,
    others_next: bool,
}

impl Default for Outputs {
    fn default() -> Self {
        // Without a quantum whoever was served least is next: a turn of a link is what it sends at once.
        let members = Dealer::new(0, DEBT).with_credit(CREDIT);
        Self { members, turn: None, others: Ready::default(), others_next: true }
    }
}

impl Outputs {
    /// A link is up.
    pub(crate) fn join(&mut self, link: LinkId, info: &LinkInfo) {
        self.others.remove(link);
        self.members.add(link, info.side, info.group);
        self.members.set_waiting(link, true);
    }

    /// A link is down. Its connection may be marked again.
    pub(crate) fn remove(&mut self, link: LinkId) {
        self.others.remove(link);
        self.turn = self.turn.filter(|(of, _)| *of != link);
        self.members.remove(link);
    }

    /// A link may have something to send.
    pub(crate) fn mark(&mut self, link: LinkId) {
        if !self.members.set_waiting(link, true) {
            self.others.mark(link);
        }
    }

    /// Whose turn it is. The same link until it [sent](Self::sent) or is [idle](Self::idle).
    pub(crate) fn next(&mut self) -> Option<LinkId> {
        if let Some((link, _)) = self.turn {
            return Some(link);
        }
        let other = self.others.first();
        if self.others_next && other.is_some() {
            return other;
        }
        self.turn = self.members.whose_turn().map(|link| (link, 0));
        self.turn.map(|(link, _)| link).or(other)
    }

    /// A link sent so many bytes. It may have more.
    pub(crate) fn sent(&mut self, link: LinkId, bytes: usize) {
        if let Some((_, sent)) = self.turn.as_mut().filter(|(of, _)| *of == link) {
            *sent += bytes as u64;
            if *sent >= TURN {
                self.end_turn();
            }
        } else if self.members.contains(link) {
            self.members.charge(link, bytes as u64); // out of turn
        } else {
            self.idle(link);
            self.others.mark(link);
            self.others_next = false;
        }
    }

    fn end_turn(&mut self) {
        if let Some((link, sent)) = self.turn.take().filter(|(_, sent)| *sent > 0) {
            self.members.charge(link, sent);
            self.others_next = true;
        }
    }

    /// A link has nothing to send, or may not send now.
    pub(crate) fn idle(&mut self, link: LinkId) {
        self.members.set_waiting(link, false); // first: a charge moves only those that wait
        if self.turn.is_some_and(|(of, _)| of == link) {
            self.end_turn();
        }
        if self.others.first() == Some(link) {
            self.others.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_base::identity::{Keypair, PeerId};
    use weir_base::stream::{Group, Side};

    use super::*;

    fn outputs(links: &[(Side, u8)]) -> Outputs {
        let peer = PeerId::from_public_key(&Keypair::ed25519_from_seed([0; 32]).public());
        let mut outputs = Outputs::default();
        for (link, (side, group)) in (0..).zip(links) {
            let dialler = *side == Side::Dialled;
            let info = LinkInfo { peer, side: *side, dialler, group: Group::V4([10, *group]) };
            outputs.join(LinkId(link), &info);
        }
        outputs
    }

    /// All send batches of their own size without end: the bytes of each.
    fn send(outputs: &mut Outputs, batches: &[usize], total: usize) -> Vec<usize> {
        let (mut bytes, mut all) = (vec![0; batches.len()], 0);
        while all < total {
            let link = outputs.next().unwrap();
            let batch = batches[usize::try_from(link.0).unwrap()];
            outputs.sent(link, batch);
            bytes[usize::try_from(link.0).unwrap()] += batch;
            all += batch;
        }
        bytes
    }

    #[test]
    fn half_goes_to_links_of_ones_own_choice_the_rest_by_group_and_then_by_link() {
        let mut outputs =
            outputs(&[(Side::Dialled, 1), (Side::Inbound, 2), (Side::Inbound, 3), (Side::Inbound, 3)]);
        let bytes = send(&mut outputs, &[1_200, 60_000, 60_000, 9_000], 10_000_000);
        for (sent, part) in bytes.iter().zip([5_000_000_usize, 2_500_000, 1_250_000, 1_250_000]) {
            assert!(sent.abs_diff(part) <= 120_000, "{bytes:?}"); // two of the largest batches
        }
    }

    #[test]
    fn a_link_that_sends_little_goes_before_those_that_always_have_something() {
        let mut outputs = outputs(&[(Side::Inbound, 1); 60]);
        outputs.idle(LinkId(7));
        let mut batches = [60_000; 60];
        batches[7] = 300;
        send(&mut outputs, &batches, 30_000_000);
        for _ in 0..20 {
            outputs.mark(LinkId(7));
            assert_eq!(outputs.next(), Some(LinkId(7)));
            outputs.sent(LinkId(7), 300);
            outputs.idle(LinkId(7));
            send(&mut outputs, &batches, 600_000);
        }
    }

    #[test]
    fn handshakes_and_last_words_have_every_other_turn_and_no_more() {
        let mut outputs = outputs(&[(Side::Inbound, 1), (Side::Inbound, 2)]);
        for stranger in 100..200 {
            outputs.mark(LinkId(stranger));
        }
        let mut turns = Vec::new();
        for _ in 0..8 {
            let link = outputs.next().unwrap();
            let turn = if link.0 < 100 { 14 } else { 1 };
            for _ in 0..turn {
                assert_eq!(outputs.next(), Some(link), "a turn is not broken off");
                outputs.sent(link, 1_200);
            }
            turns.push(link.0);
        }
        assert_eq!(turns, [100, 0, 101, 1, 102, 0, 103, 1]);
        outputs.idle(LinkId(0));
        outputs.remove(LinkId(1));
        assert!(outputs.next().is_some_and(|link| link.0 >= 100));
    }

    #[test]
    fn small_frames_make_one_turn_and_what_is_sent_out_of_turn_counts() {
        let mut outputs = outputs(&[(Side::Inbound, 1), (Side::Inbound, 2)]);
        let bytes = send(&mut outputs, &[100, 100], 4_000_000);
        assert!(bytes[0].abs_diff(bytes[1]) <= 2 * 16 * 1024, "{bytes:?}");
        let (first, other) = if outputs.next() == Some(LinkId(0)) { (0, 1) } else { (1, 0) };
        outputs.sent(LinkId(first), 100_000); // its turn is over
        outputs.sent(LinkId(first), 500_000);
        let behind = send(&mut outputs, &[1_000, 1_000], 400_000)[other];
        assert!(behind >= 390_000, "the other link catches up: {behind}");
    }

    #[test]
    fn a_link_that_is_up_has_one_turn_whatever_it_was_before() {
        let mut outputs = outputs(&[]);
        outputs.mark(LinkId(0));
        let peer = PeerId::from_public_key(&Keypair::ed25519_from_seed([0; 32]).public());
        let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::V4([10, 0]) };
        outputs.join(LinkId(0), &info);
        outputs.idle(LinkId(0));
        assert_eq!(outputs.next(), None);
        outputs.remove(LinkId(0));
        outputs.mark(LinkId(0));
        assert_eq!(outputs.next(), Some(LinkId(0)), "its last words");
        outputs.idle(LinkId(0));
        assert_eq!(outputs.next(), None);
    }
}
