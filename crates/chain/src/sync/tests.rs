use weir::Keypair;

use super::*;
use crate::SigningKey;
use crate::block::{Draft, items_root};

fn peer(number: u8) -> PeerId {
    Keypair::ed25519_from_seed([number; 32]).peer_id()
}

fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A chain from the genesis, whose hash is zero; `salt` makes another one.
fn chain(length: u64, salt: u8) -> Vec<Block> {
    let key = SigningKey::from_bytes(&[1; 32]);
    let mut blocks: Vec<Block> = Vec::new();
    for height in 1..=length {
        let parent = blocks.last().map_or([0; 32], |block| *block.header.hash());
        let draft =
            Draft { height, parent, time: height, state_root: [salt; 32], items_root: items_root(&[]) };
        blocks.push(Block { header: Header::sign(draft, &key, &[9; 32]), transfers: Vec::new() });
    }
    blocks
}

fn at(blocks: &[Block], height: u64) -> &Block {
    &blocks[usize::try_from(height).unwrap() - 1]
}

/// The machine, and a chain that adds what it is told to.
struct Rig {
    sync: Sync,
    ours: Vec<Block>,
    side_blocks: Vec<Block>,
    asked: Vec<(PeerId, Request)>, // ever
    open: BTreeMap<AskId, (PeerId, Request)>,
    reports: Vec<(PeerId, Misconduct)>,
}

impl Rig {
    fn new(ours: &[Block]) -> Self {
        let mut rig = Self {
            sync: Sync::new(Config::default(), Head { height: 0, hash: [0; 32] }),
            ours: ours.to_vec(),
            side_blocks: Vec::new(),
            asked: Vec::new(),
            open: BTreeMap::new(),
            reports: Vec::new(),
        };
        let head = rig.head();
        rig.sync.advanced(ms(0), head);
        rig
    }

    fn head(&self) -> Head {
        self.ours.last().map_or(Head { height: 0, hash: [0; 32] }, |block| Head {
            height: block.header.draft.height,
            hash: *block.header.hash(),
        })
    }

    fn announce(&mut self, now: Instant, from: u8, block: &Block) {
        self.sync.announced(now, peer(from), &block.header);
        self.drain(now);
    }

    fn knows(&self, hash: &Hash) -> bool {
        self.ours.iter().chain(&self.side_blocks).any(|block| block.header.hash() == hash)
    }

    fn drain(&mut self, now: Instant) {
        while let Some(action) = self.sync.poll_action() {
            match action {
                Action::Ask { ask, peer, request, .. } => {
                    self.asked.push((peer, request));
                    self.open.insert(ask, (peer, request));
                }
                Action::Cancel(ask) => _ = self.open.remove(&ask),
                Action::Report { peer, misconduct } => self.reports.push((peer, misconduct)),
                Action::Add { blocks, .. } => {
                    let outcome =
                        blocks.into_iter().map(|block| self.add(block)).find(|one| *one != Outcome::Added);
                    let head = self.head();
                    self.sync.advanced(now, head);
                    self.sync.added(now, outcome.unwrap_or(Outcome::Added));
                }
            }
        }
        if let Some(due) = self.sync.poll_timeout() {
            assert!(due > now, "a timeout that is due already comes again and again");
        }
    }

    fn add(&mut self, block: Block) -> Outcome {
        let parent = block.header.draft.parent;
        if self.knows(block.header.hash()) {
            return Outcome::Added;
        }
        if parent == self.head().hash {
            self.ours.push(block);
            return Outcome::Added;
        }
        if parent != [0; 32] && !self.knows(&parent) {
            return Outcome::Orphan;
        }
        let height = block.header.draft.height;
        self.side_blocks.push(block);
        if height > self.head().height {
            let side_blocks = std::mem::take(&mut self.side_blocks);
            let first = side_blocks.first().map_or(1, |block| block.header.draft.height);
            self.ours.retain(|block| block.header.draft.height < first);
            self.ours.extend(side_blocks);
        }
        Outcome::Added
    }

    /// Answers what `from` was asked as a node with this chain would.
    fn serve(&mut self, now: Instant, from: u8, theirs: &[Block]) {
        while let Some((ask, (_, request))) =
            self.open.iter().find(|(_, (id, _))| *id == peer(from)).map(|(ask, what)| (*ask, *what))
        {
            self.open.remove(&ask);
            let found: Vec<Block> = match request {
                Request::Body(hash) => {
                    theirs.iter().filter(|block| *block.header.hash() == hash).cloned().collect()
                }
                Request::Blocks(Range { start: Start::Height(height), count }) => {
                    let from = theirs.iter().filter(|block| block.header.draft.height >= height);
                    from.take(usize::from(count)).cloned().collect()
                }
                Request::Blocks(_) => Vec::new(),
            };
            let blocks = found.into_iter().map(|block| (self.knows(block.header.hash()), block));
            let answer = Answer::Blocks(blocks.map(|(known, block)| (block, known)).collect());
            self.sync.answered(now, ask, answer);
            self.drain(now);
        }
    }

    /// The oldest open request comes to this.
    fn reply(&mut self, now: Instant, answer: Answer) {
        let (ask, _) = self.open.pop_first().unwrap();
        self.sync.answered(now, ask, answer);
        self.drain(now);
    }

    fn wait(&mut self, now: Instant) {
        self.sync.handle_timeout(now);
        self.drain(now);
    }

    fn asks_of(&self, from: u8) -> usize {
        self.asked.iter().filter(|(id, _)| *id == peer(from)).count()
    }
}

#[test]
fn a_peer_that_announces_first_and_never_answers_costs_one_short_wait() {
    let theirs = chain(100, 1);
    let mut rig = Rig::new(&[]);
    let (mut now, mut at_once) = (0, 0);
    for height in 1..=100 {
        let block = at(&theirs, height).clone();
        rig.announce(ms(now), 66, &block);
        rig.announce(ms(now), 1, &block);
        rig.serve(ms(now), 1, &theirs);
        at_once += u32::from(rig.head().height == height);
        rig.wait(ms(now + 250));
        rig.serve(ms(now + 250), 1, &theirs);
        assert_eq!(rig.head().height, height);
        now += 1000;
    }
    assert_eq!(at_once, 99, "its record outlives the header it was made for");
}

#[test]
fn a_mute_peer_that_claims_the_most_costs_one_short_wait_beside_others() {
    let theirs = chain(1000, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 66, at(&theirs, 1000));
    rig.announce(ms(0), 1, at(&theirs, 900));
    let mut now = 0;
    while rig.head().height < 900 {
        assert!(now < 1000, "at {} after {now} ms", rig.head().height);
        rig.wait(ms(now));
        rig.serve(ms(now), 1, &theirs[..900]);
        now += 50;
    }
}

#[test]
fn a_second_source_is_asked_beside_the_first_and_the_first_good_answer_counts() {
    let theirs = chain(1, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, &theirs[0]);
    rig.announce(ms(1), 2, &theirs[0]);
    assert_eq!((rig.asks_of(1), rig.asks_of(2)), (1, 0));
    assert_eq!(rig.sync.poll_timeout(), Some(ms(250)));
    rig.wait(ms(250));
    assert_eq!(rig.asks_of(2), 1);
    rig.serve(ms(260), 2, &theirs);
    assert_eq!((rig.head().height, rig.open.len()), (1, 0), "the other request is cancelled");
    assert_eq!(rig.sync.poll_timeout(), None);
}

#[test]
fn whoever_announced_an_earlier_block_is_still_a_source_below_it() {
    let theirs = chain(10, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, at(&theirs, 8));
    rig.reply(ms(1), Answer::Nothing);
    rig.announce(ms(2), 66, at(&theirs, 10));
    for step in [2, 252, 502] {
        rig.wait(ms(step));
        rig.serve(ms(step), 1, &theirs[..8]);
    }
    assert_eq!(rig.head().height, 8);
}

#[test]
fn a_peer_that_has_nothing_where_it_claims_something_loses_its_claim_and_its_height() {
    let theirs = chain(3, 1);
    let key = SigningKey::from_bytes(&[1; 32]);
    let draft = Draft { height: u64::MAX, ..theirs[0].header.draft };
    let far =
        Block { header: Header::sign(Draft { parent: [5; 32], ..draft }, &key, &[9; 32]), transfers: vec![] };
    let mut rig = Rig::new(&theirs[..1]);
    rig.announce(ms(0), 66, &far);
    rig.serve(ms(1), 66, &[]);
    assert!(!rig.sync.awaits(far.header.hash()));
    assert_eq!(rig.sync.poll_timeout(), None, "nothing is wanted any more");
    rig.announce(ms(2), 1, &theirs[2]);
    rig.serve(ms(3), 1, &theirs);
    assert_eq!(rig.head().height, 3);
}

#[test]
fn another_block_than_was_asked_for_is_the_peers_fault_and_nothing_is_for_nobody() {
    let (theirs, others) = (chain(2, 1), chain(2, 2));
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, &theirs[0]);
    rig.reply(ms(1), Answer::Blocks(vec![(others[0].clone(), false)]));
    assert_eq!(rig.reports, [(peer(1), Misconduct::Invalid)]);
    assert_eq!(rig.head().height, 0);
    rig.announce(ms(2), 2, &theirs[1]);
    rig.reply(ms(3), Answer::Blocks(vec![(theirs[0].clone(), false), (others[1].clone(), false)]));
    assert_eq!(rig.reports.last(), Some(&(peer(2), Misconduct::Invalid)));
    rig.announce(ms(4), 3, &theirs[0]);
    rig.reply(ms(5), Answer::Nothing);
    assert_eq!(rig.reports.len(), 2);
}

#[test]
fn a_range_that_begins_elsewhere_or_is_longer_than_asked_is_the_peers_fault() {
    let theirs = chain(70, 1);
    let known = |blocks: &[Block]| Answer::Blocks(blocks.iter().map(|one| (one.clone(), false)).collect());
    let mut rig = Rig::new(&[]);
    for (number, answer) in [(1, known(&theirs[1..3])), (2, known(&theirs[..65]))] {
        rig.announce(ms(0), number, at(&theirs, 70));
        rig.reply(ms(1), answer);
        assert_eq!(rig.reports.last(), Some(&(peer(number), Misconduct::Invalid)));
    }
    rig.announce(ms(2), 3, at(&theirs, 70));
    rig.reply(ms(3), known(&theirs[..64]));
    assert_eq!((rig.reports.len(), rig.head().height), (2, 64));
}

#[test]
fn names_of_invalid_blocks_are_bounded() {
    let mut rig = Rig::new(&[]);
    for salt in 0..=255 {
        let block = chain(1, salt)[0].clone();
        rig.announce(ms(0), 1, &block);
        let (ask, _) = rig.open.pop_first().unwrap();
        rig.sync.answered(ms(1), ask, Answer::Blocks(vec![(block.clone(), false)]));
        assert!(matches!(rig.sync.poll_action(), Some(Action::Add { .. })));
        rig.sync.added(ms(1), Outcome::Invalid(*block.header.hash()));
    }
    assert_eq!(rig.sync.invalid.len(), Config::default().invalid);
}

#[test]
fn a_peer_that_fails_again_and_again_is_reported_once_as_useless() {
    let theirs = chain(1, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, &theirs[0]);
    let mut now = ms(0);
    for _ in 0..8 {
        rig.reply(now, Answer::Nothing);
        now = rig.sync.poll_timeout().unwrap();
        rig.wait(now);
    }
    assert_eq!(rig.reports, [(peer(1), Misconduct::Useless)]);
    assert!(now > ms(30_000), "the pauses grow: {now:?}");
    for _ in 0..4 {
        let before = now;
        rig.reply(now, Answer::Nothing);
        now = rig.sync.poll_timeout().unwrap();
        assert_eq!(now, before + Duration::from_secs(30), "and have an end");
        rig.wait(now);
    }
}

#[test]
fn a_fork_of_any_depth_is_searched_in_growing_steps_and_followed() {
    for depth in [1, 2, 63, 64, 65, 300] {
        let common = chain(20, 1);
        let fork = |salt: u8, length: u64| {
            let key = SigningKey::from_bytes(&[1; 32]);
            let mut blocks = common.clone();
            for height in 21..=20 + length {
                let parent = *blocks.last().unwrap().header.hash();
                let draft = Draft { height, parent, state_root: [salt; 32], ..common[0].header.draft };
                blocks.push(Block { header: Header::sign(draft, &key, &[9; 32]), transfers: vec![] });
            }
            blocks
        };
        let (ours, theirs) = (fork(1, depth), fork(2, depth + 30));
        let mut rig = Rig::new(&ours);
        rig.announce(ms(0), 1, theirs.last().unwrap());
        rig.serve(ms(1), 1, &theirs);
        assert_eq!(rig.head().hash, *theirs.last().unwrap().header.hash(), "depth {depth}");
        assert!(rig.asks_of(1) < 30, "depth {depth}: {} requests", rig.asks_of(1));
    }
}

#[test]
fn a_branch_that_never_joins_ours_ends_with_its_peers_claim() {
    let (ours, theirs) = (chain(5, 1), chain(40, 2));
    let mut rig = Rig::new(&ours);
    rig.announce(ms(0), 66, at(&theirs, 40));
    // It shows one block that is known, and from there another branch that does not follow it.
    let mixed: Vec<Block> = ours[..5].iter().chain(&theirs[5..]).cloned().collect();
    for step in 0..20 {
        rig.serve(ms(step), 66, &mixed);
    }
    assert!(rig.asks_of(66) <= 4, "{}", rig.asks_of(66));
    assert!(!rig.sync.awaits(at(&theirs, 40).header.hash()));
}

#[test]
fn a_signed_block_that_is_invalid_is_not_asked_for_again() {
    let theirs = chain(2, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, &theirs[0]);
    let ask = *rig.open.keys().next().unwrap();
    rig.sync.answered(ms(1), ask, Answer::Blocks(vec![(theirs[0].clone(), false)]));
    assert!(matches!(rig.sync.poll_action(), Some(Action::Add { .. })));
    rig.sync.added(ms(2), Outcome::Invalid(*theirs[0].header.hash()));
    rig.open.clear();
    rig.announce(ms(3), 2, &theirs[0]);
    assert!(rig.open.is_empty() && rig.reports.is_empty());
    rig.announce(ms(4), 2, &theirs[1]);
    rig.serve(ms(5), 2, &theirs);
    assert_eq!((rig.head().height, rig.asks_of(2)), (0, 1), "what builds on it is looked at once");
}

#[test]
fn records_of_peers_that_went_are_bounded() {
    let theirs = chain(2, 1);
    let mut rig = Rig::new(&theirs[..1]);
    for number in 0..=255 {
        for salt in 0..3 {
            let id = Keypair::ed25519_from_seed([&[number, salt][..], &[7; 30]].concat().try_into().unwrap())
                .peer_id();
            rig.sync.announced(ms(1), id, &theirs[1].header);
            rig.sync.gone(ms(1), id);
        }
        rig.drain(ms(1));
    }
    assert!(rig.sync.peers.len() <= Config::default().peers + 1, "{}", rig.sync.peers.len());
}

#[test]
fn a_block_that_is_not_signed_as_it_must_be_is_its_senders_fault() {
    let theirs = chain(1, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, &theirs[0]);
    let (ask, _) = rig.open.pop_first().unwrap();
    rig.sync.answered(ms(1), ask, Answer::Blocks(vec![(theirs[0].clone(), false)]));
    assert!(matches!(rig.sync.poll_action(), Some(Action::Add { .. })));
    rig.sync.added(ms(2), Outcome::Forged);
    rig.drain(ms(2));
    assert_eq!(rig.reports, [(peer(1), Misconduct::Invalid)]);
    assert!(!rig.sync.awaits(theirs[0].header.hash()), "and its claim ends");
}

#[test]
fn a_peer_that_failed_is_asked_after_those_that_did_not_when_its_pause_is_over() {
    let theirs = chain(200, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, at(&theirs, 200));
    rig.announce(ms(0), 2, at(&theirs, 200));
    rig.reply(ms(1), Answer::Nothing);
    assert_eq!((rig.asks_of(1), rig.asks_of(2)), (1, 1));
    rig.serve(ms(600), 2, &theirs);
    assert_eq!((rig.head().height, rig.asks_of(1)), (200, 1));
}

#[test]
fn a_peer_that_has_served_is_waited_for_longer() {
    let theirs = chain(2, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, &theirs[0]);
    rig.serve(ms(1), 1, &theirs);
    rig.announce(ms(10), 1, &theirs[1]);
    rig.announce(ms(20), 2, &theirs[1]);
    assert_eq!(rig.sync.poll_timeout(), Some(ms(1010)));
}

#[test]
fn a_block_by_name_and_a_range_have_their_deadlines() {
    let theirs = chain(9, 1);
    let config = Config::default();
    for (announced, due) in [(1, config.body_deadline), (9, config.range_deadline)] {
        let mut rig = Rig::new(&[]);
        rig.sync.announced(ms(0), peer(1), &at(&theirs, announced).header);
        let Some(Action::Ask { deadline, .. }) = rig.sync.poll_action() else { panic!("nobody is asked") };
        assert_eq!(deadline, due);
    }
    assert!(
        config.body_deadline <= Duration::from_secs(2) && config.range_deadline <= Duration::from_secs(8)
    );
}

#[test]
fn a_peer_whose_range_has_an_invalid_block_is_not_asked_for_what_builds_on_it() {
    let theirs = chain(3, 1);
    let mut rig = Rig::new(&[]);
    rig.announce(ms(0), 1, at(&theirs, 3));
    let (ask, _) = rig.open.pop_first().unwrap();
    let blocks = theirs.iter().map(|block| (block.clone(), false)).collect();
    rig.sync.answered(ms(1), ask, Answer::Blocks(blocks));
    assert!(matches!(rig.sync.poll_action(), Some(Action::Add { .. })));
    rig.sync.added(ms(2), Outcome::Invalid(*theirs[0].header.hash()));
    rig.drain(ms(2));
    assert_eq!((rig.asks_of(1), rig.open.len(), rig.reports.len()), (1, 0, 0));
}
