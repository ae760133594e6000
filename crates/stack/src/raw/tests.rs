use weir_base::identity::Keypair;
use weir_base::stream::{Group, LinkInfo, Side};
use weir_pull::Channel;

use super::*;

const RAW: ChannelId = ChannelId(4);

/// Places for 8 streams, 6 of one link.
fn raw(links: &[(Side, u8)]) -> Raw {
    let config = Config { max_per_link: 6, max_streams: 8 };
    let channel = Channel { id: RAW, name: "raw".into(), version: 1, oldest: 1, shape: Shape::Raw };
    let mut raw = Raw::new(&config, &Profile { channels: vec![channel], ..Profile::default() });
    for (id, (side, group)) in (1..).zip(links) {
        let peer = PeerId::from_public_key(&Keypair::ed25519_from_seed([*group; 32]).public());
        let group = Group::V4([10, *group]);
        let info = LinkInfo { peer, side: *side, dialler: *side == Side::Dialled, group };
        raw.handle_link(Instant::ZERO, LinkId(id), &LinkChange::Up(info));
        raw.handle_known(LinkId(id), None);
    }
    raw
}

/// A peer opens streams; how many its link has then.
fn open(raw: &mut Raw, link: u64, streams: std::ops::Range<u64>) -> u64 {
    let link = LinkId(link);
    for stream in streams {
        raw.handle_opened(Instant::ZERO, StreamKey { link, stream }, Origin::Peer(RAW.protocol(0)));
    }
    count(raw, link)
}

fn counts(raw: &Raw) -> Vec<u64> {
    raw.quotas.held()
}

/// Links are numbered from 1 on.
fn count(raw: &Raw, LinkId(link): LinkId) -> u64 {
    counts(raw)[usize::try_from(link).unwrap() - 1]
}

#[test]
fn a_link_has_its_most_and_no_more() {
    let mut raw = raw(&[(Side::Inbound, 1)]);
    assert_eq!(open(&mut raw, 1, 0..100), 6);
    assert_eq!(raw.poll_ask(), Some(Ask::Reset(StreamKey { link: LinkId(1), stream: 6 }, code::LIMIT)));
}

#[test]
fn places_go_from_who_has_most_to_who_has_fewer_whoever_came_first() {
    let mut raw = raw(&[(Side::Inbound, 1), (Side::Inbound, 2), (Side::Inbound, 3)]);
    open(&mut raw, 1, 0..6);
    open(&mut raw, 2, 0..6);
    assert_eq!(counts(&raw), [4, 4, 0]);
    assert_eq!(open(&mut raw, 3, 0..1), 1);
    open(&mut raw, 3, 1..6);
    let mut all = counts(&raw);
    all.sort_unstable();
    assert_eq!(all, [2, 3, 3]);
    let lost = std::iter::from_fn(|| raw.poll_event()).filter(|event| matches!(event, Event::Lost(_)));
    assert_eq!(lost.count(), 4, "the application is told of each");
}

#[test]
fn many_links_of_one_group_have_together_what_one_of_another_has() {
    let mut raw = raw(&[(Side::Inbound, 1), (Side::Inbound, 1), (Side::Inbound, 1), (Side::Inbound, 2)]);
    for link in 1..4 {
        open(&mut raw, link, 0..3);
    }
    assert_eq!(open(&mut raw, 4, 0..6), 4);
    assert_eq!(counts(&raw).iter().take(3).sum::<u64>(), 4);
}

#[test]
fn links_that_this_node_chose_have_half_of_the_places_whoever_else_wants_them() {
    let mut raw = raw(&[(Side::Inbound, 1), (Side::Inbound, 2), (Side::Dialled, 3)]);
    open(&mut raw, 1, 0..4);
    open(&mut raw, 2, 0..4);
    assert_eq!(open(&mut raw, 3, 0..6), 4);
    assert_eq!(open(&mut raw, 1, 10..16), 2);
    assert_eq!(count(&raw, LinkId(3)), 4);
}
