//! Streams: opened, accepted, refused, counted.

use super::*;

#[test]
fn what_is_written_at_once_goes_with_the_opening() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.dialler.open(pair.now).unwrap();
    pair.dialler.write(id, &mut Bytes::from_static(b"request"));
    pair.dialler.finish(id);
    pair.cross();
    assert_eq!(events(&mut pair.listener), [Event::Opened(id), Event::Readable(id)]);
    assert_eq!(read_all(&mut pair.listener, id), (b"request".to_vec(), true));
    pair.listener.write(id, &mut Bytes::from_static(b"response"));
    pair.listener.finish(id);
    pair.cross();
    assert_eq!(read_all(&mut pair.dialler, id), (b"response".to_vec(), true));
    assert_eq!((pair.dialler.open_streams(), pair.listener.open_streams()), (0, 0));
}

#[test]
fn both_sides_open_streams_with_numbers_of_their_own() {
    let mut pair = Pair::new(&Config::default(), 0);
    let now = pair.now;
    assert_eq!([1, 3, 5].map(|_| pair.dialler.open(now).unwrap()), [1, 3, 5]);
    assert_eq!([2, 4].map(|_| pair.listener.open(now).unwrap()), [2, 4]);
    pair.cross();
    let opened = |yamux: &mut Yamux| events(yamux).iter().filter(|e| matches!(e, Event::Opened(_))).count();
    assert_eq!((opened(&mut pair.dialler), opened(&mut pair.listener)), (2, 3));
}

#[test]
fn an_opener_waits_once_256_are_not_acknowledged() {
    let mut pair = Pair::new(&Config::default(), 0);
    for _ in 0..ACK_BACKLOG {
        pair.dialler.open(pair.now).unwrap();
    }
    assert_eq!(pair.dialler.open(pair.now), Err(OpenError::Limit));
    pair.cross();
    let offered = events(&mut pair.listener);
    assert_eq!(offered.iter().filter(|event| matches!(event, Event::Opened(_))).count(), ACK_BACKLOG);
    pair.cross();
    assert_eq!(pair.dialler.open(pair.now), Err(OpenError::Limit), "nobody accepts");
    pair.listener.accept(1);
    pair.cross();
    assert!(events(&mut pair.dialler).contains(&Event::Openable));
    assert!(pair.dialler.open(pair.now).is_ok());
}

#[test]
fn streams_beyond_the_limit_are_reset_with_its_code_and_their_bytes_dropped() {
    let config = Config { max_inbound: 2, ..Config::default() };
    let mut yamux = listener(config);
    sent(&mut yamux, at(0));
    let frames: Vec<u8> = [1, 3, 5, 7].iter().flat_map(|id| data(flag::SYN, *id, b"x")).collect();
    yamux.received(at(0), Bytes::from(frames));
    let opened = [Event::Opened(1), Event::Readable(1), Event::Opened(3), Event::Readable(3)];
    assert_eq!(events(&mut yamux), opened);
    let refused = [5, 7].map(|id| frame(Kind::Window, flag::RST, id, code::LIMIT)).concat();
    assert_eq!(sent(&mut yamux, at(0)), refused);
    yamux.reset(1, 0);
    yamux.received(at(0), Bytes::from(data(flag::SYN, 9, b"")));
    assert_eq!(events(&mut yamux), [Event::Opened(9)], "a place is free again");
}

#[test]
fn own_streams_have_a_limit_too() {
    let config = Config { max_outbound: 3, ..Config::default() };
    let mut pair = Pair::new(&config, 0);
    let ids = [0; 3].map(|_| pair.dialler.open(at(0)).unwrap());
    assert_eq!(pair.dialler.open(at(0)), Err(OpenError::Limit));
    pair.dialler.reset(ids[1], 0);
    assert!(events(&mut pair.dialler).contains(&Event::Openable));
    assert_eq!(pair.dialler.open(at(0)), Ok(7));
    let wire = sent(&mut pair.dialler, at(0));
    let rst = frame(Kind::Window, flag::RST, ids[1], 0);
    assert!(!wire.windows(12).any(|window| window == rst), "the peer never heard of it");
}

#[test]
fn after_go_away_nobody_opens_streams_and_open_ones_go_on() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    pair.listener.close(away::NORMAL);
    pair.cross();
    assert_eq!(events(&mut pair.dialler), [Event::Away(away::NORMAL)]);
    assert_eq!(pair.dialler.open(pair.now), Err(OpenError::Closed));
    assert_eq!(pair.listener.open(pair.now), Err(OpenError::Closed));
    pair.dialler.write(id, &mut Bytes::from_static(b"last words"));
    pair.cross();
    assert_eq!(read_all(&mut pair.listener, id).0, b"last words");
    // One that had not heard it yet.
    pair.listener.received(pair.now, Bytes::from(data(flag::SYN, 99, b"")));
    assert_eq!(sent(&mut pair.listener, pair.now), frame(Kind::Window, flag::RST, 99, code::CLOSING));
}
