//! Every kind of frame as the vectors have it.

use super::*;

const FILE: &str = include_str!("../../../../../vectors/yamux.txt");

fn vector(name: &str) -> Bytes {
    let line = FILE.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    let text = line.split(' ').nth(1).unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_streams_life_is_sent_as_in_the_vectors() {
    let now = Instant::ZERO;
    let mut dialler = Yamux::new(Config::default(), Side::Dialler, 0, now);
    let mut listener = listener(Config::default());
    assert_eq!(sent(&mut dialler, now), vector("ping"));
    let first_ping = sent(&mut listener, now);
    listener.received(now, vector("ping"));
    assert_eq!(sent(&mut listener, now), vector("pong"));
    dialler.received(now, first_ping);
    assert_eq!(sent(&mut dialler, now), vector("pong"));

    let id = dialler.open(now).unwrap();
    assert_eq!(sent(&mut dialler, now), vector("open"));
    listener.received(now, vector("open"));
    listener.accept(id);
    assert_eq!(sent(&mut listener, now), vector("accept"));
    dialler.received(now, vector("accept"));

    let second = dialler.open(now).unwrap();
    dialler.write(second, &mut Bytes::from_static(b"hi"));
    dialler.finish(second);
    assert_eq!(sent(&mut dialler, now), [vector("open-with-data"), vector("end")].concat());
    listener.received(now, vector("open-with-data-and-end"));
    assert_eq!(read_all(&mut listener, second), (b"hi".to_vec(), true));
    listener.finish(second);
    assert_eq!(sent(&mut listener, now), vector("accept-and-end"));

    dialler.reset(id, 0x1001);
    assert_eq!(sent(&mut dialler, now), vector("reset-with-code"));
    events(&mut listener);
    listener.received(now, vector("reset-with-code"));
    assert_eq!(events(&mut listener), [Event::Reset(id, 0x1001)]);

    dialler.close(away::NORMAL);
    assert_eq!(sent(&mut dialler, now), vector("go-away"));
    listener.received(now, vector("go-away"));
    assert_eq!(events(&mut listener), [Event::Away(away::NORMAL)]);
}

#[test]
fn what_a_reader_took_is_advertised_as_in_the_vectors() {
    let mut yamux = listener(Config::default());
    sent(&mut yamux, at(0));
    yamux.received(at(0), Bytes::from(data(flag::SYN, 1, &vec![7; 131_072])));
    assert_eq!(read_all(&mut yamux, 1).0.len(), 131_072);
    assert_eq!(sent(&mut yamux, at(0)), vector("window-update-with-ack"));
}

#[test]
fn malformed_frames_of_the_vectors_are_refused() {
    let refused: Vec<&str> = FILE.lines().filter(|line| line.starts_with("refused-")).collect();
    assert!(refused.len() >= 8);
    for line in refused {
        let name = line.split(' ').next().unwrap();
        assert!(fault_of(&[vector(name).to_vec()]).is_some(), "{name}");
    }
}
