//! Windows, both ways.

use super::*;

/// Writes as much as is taken, `most` bytes in all at most.
fn fill(yamux: &mut Yamux, id: u32, most: usize) -> usize {
    let mut written = 0;
    while written < most && yamux.write_room(id) > 0 {
        let mut bytes = Bytes::from(vec![1; (most - written).min(QUEUE_MAX)]);
        let len = bytes.len();
        yamux.write(id, &mut bytes);
        written += len - bytes.len();
    }
    written
}

#[test]
fn a_writer_stops_at_the_window_and_is_told_of_credit() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    let mut written = 0;
    for _ in 0..20 {
        written += fill(&mut pair.dialler, id, usize::MAX);
        pair.cross();
    }
    assert_eq!(written, WINDOW_MIN as usize);
    assert_eq!(pair.listener.unread(), WINDOW_MIN as usize);
    events(&mut pair.dialler);
    assert!(matches!(pair.listener.read(id, 1000), Read::Data(chunk) if chunk.len() == 1000));
    pair.cross();
    pair.cross();
    assert_eq!(pair.dialler.write_room(id), 0, "less than half a window is not told");
    assert_eq!(read_all(&mut pair.listener, id).0.len(), WINDOW_MIN as usize - 1000);
    pair.cross();
    pair.cross();
    assert!(events(&mut pair.dialler).contains(&Event::Writable(id)));
    assert_eq!(pair.dialler.write_room(id), QUEUE_MAX);
}

#[test]
fn one_byte_beyond_the_window_is_a_fault() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    let now = pair.now;
    pair.listener.received(now, Bytes::from(data(0, id, &vec![0; WINDOW_MIN as usize])));
    assert_eq!(events(&mut pair.listener), [Event::Readable(id)]);
    pair.listener.received(now, Bytes::from(data(0, id, &[0])));
    assert_eq!(events(&mut pair.listener), [Event::Faulted(OVERRUN)]);
}

/// Moves bytes for `rounds` round trips with a reader that takes all. The most that came in one.
fn rush(pair: &mut Pair, id: u32, rounds: usize) -> usize {
    let mut most = 0;
    for _ in 0..rounds {
        let mut came = 0;
        // Half a round trip each: the writer keeps its pipe full, the reader reads at once.
        for _ in 0..2 {
            loop {
                if fill(&mut pair.dialler, id, usize::MAX) == 0 {
                    break;
                }
                let there = sent(&mut pair.dialler, pair.now);
                pair.listener.received(pair.now, there);
                came += read_all(&mut pair.listener, id).0.len();
                events(&mut pair.listener);
            }
            pair.cross();
            came += read_all(&mut pair.listener, id).0.len();
        }
        most = most.max(came);
    }
    most
}

#[test]
fn a_window_doubles_while_its_reader_empties_it_within_the_budget() {
    let budget = 3 * 1024 * 1024;
    let mut pair = Pair::new(&Config::default(), budget);
    let id = pair.stream();
    let most = rush(&mut pair, id, 20);
    let window = usize::try_from(u64::from(WINDOW_MIN) + budget).unwrap();
    assert!(most > 8 * WINDOW_MIN as usize, "{most}");
    assert!(most <= 2 * window, "{most}: the reader gives a window back twice in a round trip");
    assert_eq!(pair.listener.budget(), 0, "all of it is lent");
    pair.dialler.finish(id);
    pair.listener.finish(id);
    pair.cross();
    read_all(&mut pair.listener, id);
    pair.cross();
    assert_eq!(
        (pair.listener.open_streams(), pair.listener.budget()),
        (0, budget),
        "it comes back with the end"
    );
}

#[test]
fn a_window_does_not_grow_without_budget_nor_above_its_limit() {
    let mut poor = Pair::new(&Config::default(), 0);
    let id = poor.stream();
    assert!(rush(&mut poor, id, 10) <= 2 * WINDOW_MIN as usize);
    let config = Config { window_max: 512 * 1024, ..Config::default() };
    let mut limited = Pair::new(&config, u64::MAX);
    let id = limited.stream();
    assert!(rush(&mut limited, id, 10) <= 4 * WINDOW_MIN as usize);
}

#[test]
fn a_slow_reader_gets_no_larger_window() {
    let mut pair = Pair::new(&Config::default(), u64::MAX);
    let id = pair.stream();
    for _ in 0..5 {
        fill(&mut pair.dialler, id, WINDOW_MIN as usize);
        pair.cross();
        pair.now = pair.now + Duration::from_secs(5);
        read_all(&mut pair.listener, id);
        pair.cross();
    }
    assert_eq!(pair.listener.budget(), u64::MAX);
}

#[test]
fn streams_take_turns_and_no_frame_is_above_16_kib() {
    let mut pair = Pair::new(&Config::default(), 0);
    let ids = [pair.stream(), pair.stream(), pair.stream()];
    for id in ids {
        assert_eq!(fill(&mut pair.dialler, id, 60_000), 60_000);
    }
    let wire = sent(&mut pair.dialler, pair.now);
    let mut order = Vec::new();
    let mut rest = &wire[..];
    while let Some((header, after)) = rest.split_first_chunk::<12>() {
        let header = Header::decode(*header).unwrap();
        assert_eq!(header.kind, Kind::Data);
        assert!(header.length as usize <= FRAME_MAX);
        order.push(header.stream);
        rest = &after[header.length as usize..];
    }
    assert_eq!(order, [ids; 4].concat(), "16 KiB each, four times");
}

#[test]
fn the_room_of_a_record_is_filled_and_never_passed() {
    for room in [0, 11, 12, 13, 500, 1036, 1500, 65_519] {
        let mut pair = Pair::new(&Config::default(), 0);
        let id = pair.stream();
        fill(&mut pair.dialler, id, 60_000);
        let mut total = 0;
        loop {
            let mut out = BytesMut::new();
            if !pair.dialler.poll_transmit(pair.now, &mut out, room) {
                break;
            }
            assert!(out.len() <= room, "{} into {room}", out.len());
            total += out.len();
        }
        assert!(if room < 1036 { total == 0 } else { total > 60_000 }, "{total} of {room}");
    }
}

#[test]
fn unread_bytes_of_all_streams_together_stop_the_transport() {
    let config = Config { unread_max: 512 * 1024, ..Config::default() };
    let mut yamux = listener(config.clone());
    for n in 0..2 {
        yamux.received(at(0), Bytes::from(data(flag::SYN, 2 * n + 1, &vec![0; WINDOW_MIN as usize - 10])));
    }
    assert_eq!((yamux.room(), yamux.unread()), (20, config.unread_max - 20), "headers are not kept");
    let mut third = Bytes::from(data(flag::SYN, 5, &[0; 100]));
    while yamux.room() > 0 {
        let room = yamux.room().min(third.len());
        yamux.received(at(0), third.split_to(room));
    }
    assert_eq!(third.len(), 80);
    assert_eq!(yamux.unread(), config.unread_max);
    yamux.reset(1, 0);
    assert_eq!(yamux.room(), WINDOW_MIN as usize - 10, "what was unread is gone with its stream");
}

#[test]
fn what_stays_unread_pins_at_most_twice_its_length() {
    let mut yamux = listener(Config::default());
    yamux.received(at(0), Bytes::from(data(flag::SYN, 1, b"")));
    // One byte for the stream in each buffer of 12 KiB.
    let padding: Vec<u8> = (0..1000).flat_map(|_| frame(Kind::Window, 0, 1, 0)).collect();
    let mut pins = Vec::new();
    for n in 0..50 {
        let buffer = Bytes::from([data(0, 1, b"x"), padding.clone()].concat());
        pins.push(buffer.clone());
        yamux.received(at(n * 10_000), buffer); // so many frames that move nothing are allowed in that time
    }
    yamux.received(at(0), Bytes::new());
    assert_eq!(yamux.unread(), 50);
    assert!(pins.iter().all(Bytes::is_unique), "nobody else keeps a buffer");
}
