use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn a_large_body_is_shared_on_its_way_out_and_a_message_that_fits_is_not_held() {
    let body = Bytes::from(vec![7; 5_000]);
    let (mut pending, mut out) = (Rope::new(), Rope::new());
    send(&mut pending, 6_000, &mut out, 0, b"fields", body.clone());
    assert!(pending.is_empty());
    assert_eq!(out.pop(100).map(|head| head.len()), Some(2 + 1 + 6));
    assert_eq!(out.pop(6_000).map(|part| part.as_ptr()), Some(body.as_ptr()));
    send(&mut pending, 1_000, &mut out, 0, b"fields", body.clone());
    assert_eq!((out.len(), pending.len()), (1_000, 4_009));
    assert_eq!(pour(&mut pending, 10_000, &mut out), 4_009);
    out.pop(9);
    assert_eq!(out.pop(10_000).map(|part| part.as_ptr()), Some(body.as_ptr()));
}

#[test]
fn a_message_has_ten_seconds_and_the_time_of_its_size() {
    let mut inbox = Inbox::new(100_000);
    assert_eq!((inbox.room(), inbox.deadline()), (100_003, None));
    let mut wire = Rope::new();
    put(&mut wire, 0, |fields| fields.extend_from_slice(&vec![0; 31_998]));
    let wire = wire.into_bytes();
    inbox.push(Chunk::whole(wire.slice(..1)));
    assert_eq!(inbox.next(at(0)), Ok(None));
    assert_eq!(inbox.deadline(), Some(at(10_000)), "the size is not known yet");
    inbox.push(Chunk::whole(wire.slice(1..1_000)));
    assert_eq!(inbox.next(at(1_000)), Ok(None));
    assert_eq!(inbox.deadline(), Some(at(12_000)));
    assert_eq!(inbox.room(), wire.len() - 1_000);
    assert_eq!((inbox.held(), inbox.message_len()), (1_000, wire.len()));
    inbox.push(Chunk::whole(wire.slice(1_000..)));
    assert!(matches!(inbox.next(at(52_000)), Ok(Some(message)) if message.body.len() == 31_998));
    assert_eq!((inbox.deadline(), inbox.is_partial()), (None, false));
}

#[test]
fn what_is_kept_of_a_small_message_does_not_pin_a_large_buffer() {
    let mut wire = Rope::new();
    put(&mut wire, 0, |fields| fields.extend_from_slice(b"small"));
    let wire = wire.into_bytes();
    let mut inbox = Inbox::new(100);
    inbox.push(Chunk::new(wire.clone(), 64_000));
    let message = inbox.next(at(0)).ok().flatten().map(|message| message.body).unwrap_or_default();
    assert_eq!(message.as_ptr(), wire.slice(2..).as_ptr());
    let kept = inbox.keep(message.clone());
    assert!(kept == message && kept.as_ptr() != message.as_ptr());
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in(
        sent in proptest::collection::vec((any::<u64>(), proptest::collection::vec(any::<u8>(), 0..600)), 1..8),
        cuts in proptest::collection::vec(1_usize..300, 1..20),
        room in 1_usize..700,
    ) {
        let mut wire = Rope::new();
        for (kind, body) in &sent {
            let (mut pending, mut out) = (Rope::new(), Rope::new());
            send(&mut pending, room, &mut out, *kind, &[], body.clone().into());
            prop_assert!(out.len() <= room);
            wire.push(out.into_bytes());
            wire.push(pending.into_bytes());
        }
        let (mut inbox, mut got) = (Inbox::new(700), Vec::new());
        let mut cuts = cuts.into_iter().cycle();
        while let Some(part) = wire.pop(cuts.next().unwrap_or(1)) {
            inbox.push(Chunk::whole(part));
            while let Some(message) = inbox.next(at(1)).unwrap() {
                got.push((message.kind, message.body.to_vec()));
            }
            prop_assert_eq!(inbox.is_partial(), inbox.deadline().is_some());
        }
        prop_assert_eq!(got, sent);
    }
}
