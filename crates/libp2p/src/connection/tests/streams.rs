//! Streams once the connection is up.

use super::*;

fn up() -> Pair {
    let mut pair = Pair::usual();
    pair.run();
    assert!(pair.a.connection.is_up() && pair.b.connection.is_up());
    pair
}

#[test]
fn sixteen_mib_are_echoed_with_a_half_close() {
    const LEN: usize = 16 * 1024 * 1024;
    let mut pair = up();
    let id = pair.a.muxer().open(pair.now).unwrap();
    let byte = |at: usize| at.to_le_bytes()[0] ^ at.to_le_bytes()[1];
    let (mut written, mut echoed, mut ended) = (0, 0, false);
    let mut echo = Vec::new();
    for _ in 0..10_000 {
        while written < LEN && pair.a.muxer().write_room(id) > 0 {
            let room = pair.a.muxer().write_room(id).min(LEN - written);
            pair.a.muxer().write(id, &mut (written..written + room).map(byte).collect());
            written += room;
        }
        if written == LEN {
            pair.a.muxer().finish(id);
        }
        if !pair.b.opened().is_empty() {
            let room = pair.b.muxer().write_room(id);
            if echo.len() < room {
                let (more, end) = read_all(&mut pair.b, id);
                echo.extend(more);
                ended |= end;
            }
            let now: Vec<u8> = echo.drain(..room.min(echo.len())).collect();
            pair.b.muxer().write(id, &mut Bytes::from(now));
            if ended && echo.is_empty() {
                pair.b.muxer().finish(id);
            }
        }
        let (got, end) = read_all(&mut pair.a, id);
        for got in got {
            assert_eq!(got, byte(echoed));
            echoed += 1;
        }
        if end {
            assert_eq!((echoed, written), (LEN, LEN));
            return;
        }
        pair.cross();
    }
    panic!("{echoed} of {LEN}");
}

#[test]
fn a_thousand_streams_carry_a_request_and_an_answer_each() {
    let mut pair = up();
    let mut open: Vec<(u32, u32)> = Vec::new();
    let mut answered = 0;
    let mut asked = 0;
    while answered < 1_000 {
        while asked < 1_000
            && let Ok(id) = pair.a.muxer().open(Instant::ZERO)
        {
            pair.a.muxer().write(id, &mut Bytes::copy_from_slice(&id.to_be_bytes()));
            pair.a.muxer().finish(id);
            open.push((id, asked));
            asked += 1;
        }
        pair.cross();
        for id in std::mem::take(&mut pair.b.told).into_iter().filter_map(|event| match event {
            Event::Muxer(yamux::Event::Opened(id)) => Some(id),
            _ => None,
        }) {
            let (request, ended) = read_all(&mut pair.b, id);
            assert!(ended);
            pair.b.muxer().write(id, &mut Bytes::from(request));
            pair.b.muxer().finish(id);
        }
        pair.cross();
        open.retain(|(id, _)| {
            let (answer, ended) = read_all(&mut pair.a, *id);
            assert!(answer.is_empty() || answer == id.to_be_bytes());
            answered += u32::from(ended);
            !ended
        });
    }
    assert_eq!((pair.a.muxer().open_streams(), pair.b.muxer().open_streams()), (0, 0));
}

#[test]
fn small_writes_of_many_streams_share_one_record() {
    let mut pair = up();
    for _ in 0..100 {
        let id = pair.a.muxer().open(pair.now).unwrap();
        pair.a.muxer().write(id, &mut Bytes::from_static(b"small"));
    }
    let mut out = BytesMut::new();
    assert!(pair.a.connection.poll_transmit(pair.now, &mut out));
    assert_eq!(out.len(), 2 + 100 * (12 + 5) + 16, "one length, a hundred frames, one tag");
    assert!(!pair.a.connection.poll_transmit(pair.now, &mut out));
}

#[test]
fn long_writes_fill_records() {
    let mut pair = up();
    for _ in 0..2 {
        let id = pair.a.muxer().open(pair.now).unwrap();
        pair.a.muxer().write(id, &mut Bytes::from(vec![0; 64 * 1024]));
    }
    let mut out = BytesMut::new();
    assert!(pair.a.connection.poll_transmit(pair.now, &mut out));
    assert!(out.len() > noise::RECORD_MAX - 1_024 && out.len() <= noise::RECORD_MAX + 2, "{}", out.len());
}

#[test]
fn reset_codes_arrive() {
    let mut pair = up();
    let id = pair.a.muxer().open(pair.now).unwrap();
    pair.cross();
    pair.b.muxer().reset(id, 0xdead_beef);
    pair.run();
    assert!(pair.a.told.contains(&Event::Muxer(yamux::Event::Reset(id, 0xdead_beef))));
}

#[test]
fn a_reader_that_stops_holds_the_transport_and_nothing_else_grows() {
    let mut pair = up();
    let ids: Vec<u32> = (0..20).map(|_| pair.a.muxer().open(Instant::ZERO).unwrap()).collect();
    let mut waiting = BytesMut::new();
    for _ in 0..200 {
        for id in &ids {
            if pair.a.muxer().write_room(*id) > 0 {
                pair.a.muxer().write(*id, &mut Bytes::from(vec![0; 64 * 1024]));
            }
        }
        pair.a.settle(pair.now);
        waiting.unsplit(std::mem::take(&mut pair.a.wire));
        let room = pair.b.connection.room().min(waiting.len());
        pair.b.connection.received(pair.now, waiting.split_to(room));
        pair.b.settle(pair.now);
        assert!(pair.b.muxer().unread() <= yamux::Config::default().unread_max);
    }
    assert!(!waiting.is_empty() && pair.b.connection.room() == 0, "TCP pushes back");
    assert!(pair.b.muxer().unread() > 900 * 1024);
    // Reading lets it go on.
    let mut read = 0;
    for id in &ids {
        read += read_all(&mut pair.b, *id).0.len();
        pair.b.connection.resume(pair.now);
    }
    assert!(read > 900 * 1024 && pair.b.connection.room() > 0);
    assert_eq!(pair.b.fault(), None);
}

#[test]
fn what_is_sent_goes_into_the_memory_that_the_caller_has() {
    let mut pair = up();
    let id = pair.a.muxer().open(pair.now).unwrap();
    let mut out = BytesMut::with_capacity(70_000);
    let memory = out.as_ptr();
    for _ in 0..3 {
        pair.a.muxer().write(id, &mut Bytes::from(vec![0; 60_000]));
        out.clear();
        assert!(pair.a.connection.poll_transmit(pair.now, &mut out) && out.len() > 60_000);
        assert_eq!(out.as_ptr(), memory);
    }
}

#[test]
fn what_a_long_record_holds_is_read_from_the_memory_in_which_it_arrived() {
    let mut pair = up();
    let id = pair.a.muxer().open(pair.now).unwrap();
    let mut lent = vec![0; 70_000];
    for round in 0..3 {
        pair.a.muxer().write(id, &mut Bytes::from(vec![round; 60_000]));
        pair.a.settle(pair.now);
        let mut wire = std::mem::take(&mut pair.a.wire);
        let mut memory = lent.as_ptr_range();
        while !wire.is_empty() {
            pair.b.connection.read(pair.now, usize::MAX, &mut lent, &mut |room| {
                let len = room.len().min(wire.len());
                room[..len].copy_from_slice(&wire.split_to(len));
                memory = room.as_ptr_range();
                len
            });
        }
        pair.b.settle(pair.now);
        let Read::Data(chunk) = pair.b.muxer().read(id, usize::MAX) else { panic!("nothing came") };
        assert_eq!(memory.contains(&chunk.as_ptr()), round > 0, "in round {round}");
        let (rest, _) = read_all(&mut pair.b, id);
        assert!(chunk.len() + rest.len() == 60_000 && rest.iter().all(|byte| *byte == round));
    }
}
