//! What gives way to whom, and how much is kept for each channel.

use super::*;

const NOW: Instant = Instant::from_millis(1_000);
/// Of a link whose answers are as large as they may be.
const LARGE: Hold = Hold::Handling { weighs: 6_000 };

fn key(link: u64, stream: u64) -> StreamKey {
    StreamKey { link: LinkId(link), stream }
}

fn with_links(groups: &[u8]) -> Memory {
    let mut memory = Memory::new(8_000);
    for (link, group) in (0..).zip(groups) {
        memory.add(LinkId(link), Side::Inbound, Group::V4([*group, 0]));
    }
    memory
}

#[test]
fn room_for_a_request_comes_from_the_link_that_holds_most_its_newest_first() {
    let mut memory = with_links(&[1, 2, 3]);
    for stream in 0..3 {
        assert_eq!(memory.reserve(NOW, 4, key(0, stream), (200, Hold::Request)), Ok(()));
    }
    assert_eq!(memory.reserve(NOW, 4, key(1, 0), (1_300, Hold::Request)), Ok(()));
    let no_room = memory.reserve(NOW, 4, key(2, 0), (200, Hold::Request));
    assert_eq!(no_room, Err(NoRoom { victim: Some((4, key(1, 0))) }));
    memory.free(key(1, 0));
    assert!(!memory.take_freed(), "nobody waits for room for requests");
    assert_eq!(memory.reserve(NOW, 5, key(2, 0), (1_300, Hold::Request)), Ok(()));
    let no_room = memory.reserve(NOW, 4, key(0, 3), (800, Hold::Request));
    assert_eq!(no_room, Err(NoRoom { victim: None }), "it would hold more than anybody");
    assert_eq!(memory.used(), 1_900);
}

#[test]
fn a_link_of_a_crowded_group_gives_way_to_one_of_another() {
    let mut memory = with_links(&[1, 1, 1, 1, 2]);
    for link in 0..4 {
        assert_eq!(memory.reserve(NOW, 0, key(link, 0), (375, Hold::Request)), Ok(()));
    }
    assert_eq!(memory.reserve(NOW, 0, key(4, 0), (400, Hold::Request)), Ok(()));
    let no_room = memory.reserve(NOW, 0, key(4, 1), (150, Hold::Request));
    assert!(
        matches!(no_room, Err(NoRoom { victim: Some((0, key)) }) if key.link != LinkId(4)),
        "{no_room:?}"
    );
}

#[test]
fn an_answer_gives_way_to_a_link_with_less_once_nothing_of_it_has_moved_for_a_while() {
    let mut memory = with_links(&[1, 2]);
    assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_000, LARGE)), Ok(()));
    let asks = |memory: &mut Memory, now, link| memory.reserve(now, 0, key(link, 1), (1_200, LARGE));
    let later = NOW + STALLED_AFTER;
    assert_eq!(asks(&mut memory, later, 1), Err(NoRoom { victim: None }), "the application has it");
    memory.keep(0, key(0, 0), 6_000, Hold::Answer(NOW));
    assert_eq!(asks(&mut memory, later - Duration::from_millis(1), 1), Err(NoRoom { victim: None }));
    assert_eq!(asks(&mut memory, later, 0), Err(NoRoom { victim: None }), "it has as much");
    assert_eq!(asks(&mut memory, later, 1), Err(NoRoom { victim: Some((0, key(0, 0))) }));
}

#[test]
fn an_answer_gives_way_at_once_to_a_link_whose_answers_are_small() {
    let mut memory = with_links(&[1, 2, 3]);
    memory.keep(0, key(0, 0), 2_000, Hold::Answer(NOW));
    memory.keep(0, key(1, 0), 1_000, Hold::Answer(NOW + Duration::from_millis(2)));
    memory.keep(0, key(1, 1), 3_000, Hold::Answer(NOW + Duration::from_millis(1)));
    let mut asks = |weighs| memory.reserve(NOW, 0, key(2, 0), (6_000, Hold::Handling { weighs }));
    assert_eq!(asks(2_010), Err(NoRoom { victim: None }), "it may hold more than half as much");
    assert_eq!(asks(2_000), Err(NoRoom { victim: Some((0, key(1, 1))) }), "of two the one read more slowly");
    memory.free(key(1, 1));
    let asks = memory.reserve(NOW, 0, key(2, 0), (6_000, Hold::Handling { weighs: 1_000 }));
    assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 0))) }));
    memory.free(key(0, 0));
    memory.free(key(1, 0));
    for stream in 1..4 {
        let hold = Hold::Handling { weighs: 300 };
        assert_eq!(memory.reserve(NOW, 0, key(2, stream), (1_500, hold)), Ok(()));
    }
    memory.keep(0, key(0, 0), 1_500, Hold::Answer(NOW));
    let mut asks = |link| memory.reserve(NOW, 0, key(link, 9), (1_500, Hold::Handling { weighs: 10 }));
    assert_eq!(
        asks(2),
        Err(NoRoom { victim: None }),
        "three that weigh 300 each are more than half of the answer"
    );
    assert_eq!(asks(1), Err(NoRoom { victim: Some((0, key(0, 0))) }));
}

#[test]
fn of_links_that_hold_as_much_the_one_that_reads_more_slowly_gives_way_at_once() {
    let mut memory = with_links(&[1, 2, 3]);
    memory.keep(0, key(0, 0), 3_000, Hold::Answer(NOW));
    memory.keep(0, key(1, 0), 3_000, Hold::Answer(NOW + Duration::from_millis(1)));
    let asks = memory.reserve(NOW, 0, key(2, 0), (1_000, Hold::Handling { weighs: 10 }));
    assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 0))) }));
}

#[test]
fn an_answer_that_stalls_gives_way_before_larger_ones_that_move() {
    let mut memory = with_links(&[1, 2, 3]);
    memory.keep(0, key(0, 0), 1_000, Hold::Answer(NOW));
    memory.keep(0, key(1, 0), 5_000, Hold::Answer(NOW + STALLED_AFTER));
    let asks = memory.reserve(NOW + STALLED_AFTER, 0, key(2, 0), (1_000, Hold::Handling { weighs: 10 }));
    assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 0))) }));
}

#[test]
fn an_answer_that_trickles_gives_way_too() {
    let mut memory = with_links(&[1, 2]);
    assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_000, LARGE)), Ok(()));
    let later = NOW + Duration::from_secs(10);
    memory.keep(0, key(0, 0), 6_000, Hold::Answer(moving_until(later, NOW, 5_000)));
    let asks = memory.reserve(later, 0, key(1, 1), (1_200, LARGE));
    assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 0))) }), "5 kB in 10 s");
    memory.keep(0, key(0, 0), 6_000, Hold::Answer(moving_until(later, NOW, 5_000_000)));
    let asks = memory.reserve(later, 0, key(1, 1), (1_200, LARGE));
    assert_eq!(asks, Err(NoRoom { victim: None }), "5 MB in 10 s");
}

#[test]
fn a_method_that_never_answers_leaves_room_for_the_largest_of_another() {
    let mut memory = with_links(&[1]); // one link: nobody holds more than it
    memory.guarantee(0, 100, 900);
    memory.guarantee(1, 100, 1_900);
    let handling = |memory: &mut Memory, machine, stream| {
        memory.reserve(NOW, machine, key(0, stream), (if machine == 0 { 1_000 } else { 2_000 }, LARGE))
    };
    let held = (0..9).filter(|stream| handling(&mut memory, 0, *stream).is_ok()).count();
    assert_eq!(held, 4, "6,000 bytes less 2,000");
    assert_eq!(handling(&mut memory, 1, 10), Ok(()));
    let coming =
        (20..99).filter(|stream| memory.reserve(NOW, 0, key(0, *stream), (100, Hold::Request)).is_ok());
    assert_eq!(coming.count(), 19, "2,000 bytes less 100");
    assert_eq!(memory.reserve(NOW, 1, key(0, 100), (100, Hold::Request)), Ok(()));
}

#[test]
fn what_would_be_kept_for_its_own_channel_is_not_dropped_for_another() {
    let mut memory = with_links(&[1, 2, 3]);
    memory.guarantee(0, 0, 3_000);
    memory.guarantee(1, 0, 1_000);
    memory.keep(0, key(0, 0), 3_000, Hold::Answer(NOW));
    memory.keep(1, key(1, 0), 2_500, Hold::Answer(NOW));
    let later = NOW + Duration::from_secs(1);
    let asks = memory.reserve(later, 1, key(2, 0), (1_000, LARGE));
    assert_eq!(asks, Err(NoRoom { victim: Some((1, key(1, 0))) }));
    let at_once = memory.reserve(NOW, 1, key(2, 0), (1_000, Hold::Handling { weighs: 10 }));
    assert_eq!(at_once, Err(NoRoom { victim: Some((1, key(1, 0))) }));
    memory.keep(1, key(1, 0), 1_000, Hold::Answer(NOW));
    memory.keep(2, key(1, 1), 2_000, Hold::Answer(NOW));
    let asks = memory.reserve(later, 1, key(2, 0), (1_000, LARGE));
    assert_eq!(asks, Err(NoRoom { victim: Some((1, key(1, 0))) }), "its own channel's guarantee is for it");
}

#[test]
fn a_quarter_is_for_requests_and_the_rest_for_answers() {
    let mut memory = with_links(&[1]);
    let refused = Err(NoRoom { victim: None });
    assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_001, LARGE)), refused);
    assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_000, LARGE)), Ok(()));
    assert_eq!(memory.reserve(NOW, 0, key(0, 1), (2_001, Hold::Request)), refused);
    assert_eq!(memory.reserve(NOW, 0, key(0, 1), (2_000, Hold::Request)), Ok(()));
    assert_eq!((Memory::least(0, 6_000), Memory::least(2_000, 4_000)), (8_000, 8_000));
    assert_eq!((Memory::least(3_000, 0), memory.used(), memory.total()), (12_000, 8_000, 8_000));
    memory.remove(LinkId(0));
    assert_eq!(memory.used(), 0);
}

#[test]
fn the_next_answer_may_be_dropped_when_the_oldest_has_not_moved_for_200_ms() {
    let mut memory = with_links(&[1, 2]);
    assert_eq!(memory.next_stalled(NOW), NOW + STALLED_AFTER, "there is none");
    let at = |millis: u64| NOW + Duration::from_millis(millis);
    memory.keep(0, key(0, 0), 100, Hold::Answer(at(50)));
    memory.keep(0, key(1, 0), 100, Hold::Answer(at(20)));
    memory.keep(0, key(1, 1), 100, Hold::Answer(at(90)));
    assert_eq!(memory.next_stalled(at(100)), at(220));
    assert_eq!(memory.next_stalled(at(220)), at(250), "that one may be dropped already");
    assert_eq!(memory.next_stalled(at(260)), at(460), "all may");
}

#[test]
fn room_for_answers_is_freed_where_a_stream_holds_less_of_it_or_a_request_again() {
    let mut memory = with_links(&[1]);
    let mut kept = |bytes, hold| {
        memory.keep(0, key(0, 0), bytes, hold);
        memory.take_freed()
    };
    assert!(!kept(100, Hold::Request) && !kept(200, Hold::Request) && !kept(200, Hold::Request));
    assert!(!kept(199, Hold::Request) && !kept(500, LARGE), "nobody waits for room for requests");
    assert!(!kept(500, Hold::Answer(NOW)) && kept(400, Hold::Answer(NOW)));
    assert!(kept(400, Hold::Request), "it left the answers");
    memory.free(key(0, 0));
    assert!(!memory.take_freed());
    memory.keep(0, key(0, 0), 100, Hold::Answer(NOW));
    memory.free(key(0, 0));
    assert!(memory.take_freed() && !memory.take_freed());
}

#[test]
fn a_link_that_would_hold_as_much_as_another_takes_nothing_from_it() {
    let mut memory = with_links(&[1, 2, 3]);
    assert_eq!(memory.reserve(NOW, 0, key(0, 0), (1_000, Hold::Request)), Ok(()));
    assert_eq!(memory.reserve(NOW, 0, key(1, 0), (900, Hold::Request)), Ok(()));
    let asks = |memory: &mut Memory, bytes| memory.reserve(NOW, 0, key(2, 0), (bytes, Hold::Request));
    assert_eq!(asks(&mut memory, 1_000), Err(NoRoom { victim: None }));
    assert_eq!(asks(&mut memory, 990), Err(NoRoom { victim: Some((0, key(0, 0))) }));
}

#[test]
fn what_a_stream_has_freed_counts_for_its_link_no_more() {
    let mut memory = with_links(&[1, 2, 3]);
    memory.keep(0, key(0, 0), 3_000, Hold::Answer(NOW));
    memory.keep(0, key(0, 1), 2_000, Hold::Answer(NOW));
    memory.keep(0, key(1, 0), 1_500, Hold::Answer(NOW));
    memory.free(key(0, 0));
    let asks = memory.reserve(NOW + STALLED_AFTER, 0, key(2, 0), (3_000, LARGE));
    assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 1))) }), "2,000 are left, more than 1,500");
}

#[test]
fn what_can_be_dropped_is_looked_up_again_once_something_or_the_time_has_changed() {
    let mut memory = with_links(&[1, 2]);
    let small = Hold::Handling { weighs: 100 };
    memory.keep(0, key(0, 0), 3_000, small);
    memory.keep(0, key(0, 1), 3_000, small);
    let asked = |memory: &mut Memory, now, hold| {
        memory.reserve(now, 0, key(1, 0), (3_000, hold)).map_err(|none| none.victim)
    };
    assert_eq!(asked(&mut memory, NOW, small), Err(None), "what is handled stays");
    memory.keep(0, key(0, 0), 3_000, Hold::Answer(NOW));
    assert_eq!(asked(&mut memory, NOW, small), Err(Some((0, key(0, 0)))));
    assert_eq!(
        asked(&mut memory, NOW, LARGE),
        Err(None),
        "it would hold as much, and the answer has just moved"
    );
    assert_eq!(asked(&mut memory, NOW + STALLED_AFTER, LARGE), Err(Some((0, key(0, 0)))));
    memory.keep(0, key(0, 0), 3_000, small);
    assert_eq!(asked(&mut memory, NOW + STALLED_AFTER, LARGE), Err(None));
    memory.remove(LinkId(0));
    assert_eq!(asked(&mut memory, NOW + STALLED_AFTER, LARGE), Ok(()));
}

#[test]
fn what_a_stream_holds_already_counts_only_in_its_own_part() {
    let mut memory = with_links(&[1]);
    assert_eq!(memory.reserve(NOW, 0, key(0, 0), (1_500, Hold::Request)), Ok(()));
    assert_eq!(memory.reserve(NOW, 0, key(0, 0), (2_000, Hold::Request)), Ok(()), "500 more");
    let refused = Err(NoRoom { victim: None });
    assert_eq!(memory.reserve(NOW, 0, key(0, 0), (2_001, Hold::Request)), refused);
    assert_eq!(memory.reserve(NOW, 0, key(0, 1), (5_000, LARGE)), Ok(()));
    let larger = memory.reserve(NOW, 0, key(0, 0), (1_001, LARGE));
    assert_eq!(larger, refused, "the request's bytes are no answer's");
    assert_eq!(memory.reserve(NOW, 0, key(0, 1), (6_000, LARGE)), Ok(()), "1,000 more");
    assert_eq!(memory.reserve(NOW, 0, key(0, 1), (6_000, Hold::Answer(NOW))), Ok(()));
}

#[test]
fn a_smaller_share_makes_a_link_give_way() {
    let mut memory = with_links(&[1, 2, 3]);
    for link in 0..2 {
        assert_eq!(memory.reserve(NOW, 0, key(link, 0), (900, Hold::Request)), Ok(()));
    }
    memory.set_share(LinkId(0), 1);
    let no_room = memory.reserve(NOW, 0, key(2, 0), (300, Hold::Request));
    assert_eq!(no_room, Err(NoRoom { victim: Some((0, key(0, 0))) }));
    memory.set_share(LinkId(0), 4);
    memory.set_share(LinkId(1), 1);
    let no_room = memory.reserve(NOW, 0, key(2, 0), (300, Hold::Request));
    assert_eq!(no_room, Err(NoRoom { victim: Some((0, key(1, 0))) }));
}
