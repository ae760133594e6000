//! Published defects of other implementations, replayed: remote crashes first.

use super::*;

/// rust-yamux: a SYN with more data than the first window made it panic.
#[test]
fn ghsa_vxx9_2994_q338_data_with_syn_beyond_the_first_window() {
    let header = frame(Kind::Data, flag::SYN, 1, WINDOW_MIN + 1);
    assert_eq!(fault_of(std::slice::from_ref(&header)), Some(OVERRUN), "before a byte of it has come");
    let whole = [header, vec![0; WINDOW_MIN as usize + 1]].concat();
    assert_eq!(fault_of(&[whole]), Some(OVERRUN));
    assert_eq!(
        fault_of(&[data(flag::SYN, 1, &vec![0; WINDOW_MIN as usize])]),
        None,
        "the window itself is allowed"
    );
}

/// rust-yamux: credit that overflowed 32 bits made it panic.
#[test]
fn ghsa_4w32_2493_32g7_credit_that_overflows() {
    let most = u32::MAX - WINDOW_MIN;
    assert_eq!(fault_of(&[frame(Kind::Window, flag::SYN, 1, most)]), None);
    assert_eq!(fault_of(&[frame(Kind::Window, flag::SYN, 1, most + 1)]), Some(CREDIT));
    assert_eq!(fault_of(&[frame(Kind::Window, flag::SYN, 1, u32::MAX)]), Some(CREDIT));
    let twice = [frame(Kind::Window, flag::SYN, 1, most), frame(Kind::Window, 0, 1, 1)];
    assert_eq!(fault_of(&twice), Some(CREDIT));
}

/// rust-libp2p: memory of one connection grew with what its peer opened and sent.
#[test]
fn cve_2022_23486_streams_and_bytes_without_end() {
    let config = Config::default();
    let mut yamux = listener(config.clone());
    let mut fault = None;
    for n in 0..10_000_u32 {
        let bytes = data(flag::SYN, 2 * n + 1, &[0; 4096]);
        let room = yamux.room();
        yamux.received(at(0), Bytes::from(bytes[..bytes.len().min(room)].to_vec()));
        assert!(yamux.unread() <= config.unread_max);
        assert!(yamux.open_streams() <= ACK_BACKLOG, "nobody accepted any");
        fault = events(&mut yamux).into_iter().find(|event| matches!(event, Event::Faulted(_))).or(fault);
        if room < bytes.len() {
            return; // the transport stops reading here
        }
    }
    panic!("{fault:?}");
}

/// rust-yamux (CVE-2024-32984): frames that waited for a peer that read nothing were kept without a bound.
#[test]
fn ghsa_3999_5ffv_wp2r_frames_that_wait_for_a_peer_that_does_not_read() {
    let ping: fn(u32) -> Vec<u8> = |n| frame(Kind::Ping, flag::SYN, 0, n);
    let opening: fn(u32) -> Vec<u8> = |n| frame(Kind::Window, flag::SYN, 2 * n + 1, 0);
    // Whatever asks for a frame in answer: an echo of a ping, a refusal of a stream, credit for what is read.
    for (makes, refuses) in [(ping, false), (opening, false), (opening, true)] {
        let mut yamux = listener(Config::default());
        let mut ended = false;
        for n in 0..20_000 {
            yamux.received(at(0), Bytes::from(makes(n)));
            if refuses {
                yamux.reset(2 * n + 1, 0);
            }
            ended |= events(&mut yamux).contains(&Event::Faulted(STORM));
        }
        let waits = sent(&mut yamux, at(0)).len();
        assert!(ended && waits <= 12, "{waits} bytes wait: the reason alone");
    }
    let mut yamux = listener(Config::default());
    yamux.received(at(0), Bytes::from(data(flag::SYN, 1, b"")));
    yamux.accept(1);
    for _ in 0..10_000 {
        yamux.received(at(0), Bytes::from(data(0, 1, &[7; 16])));
        read_all(&mut yamux, 1);
    }
    assert!(
        sent(&mut yamux, at(0)).len() <= 24,
        "credit adds up in one frame, beside the answer to the opening"
    );
}

/// mina-rust: the window was not enforced, and a frame of 256 MiB was taken.
#[test]
fn a_frame_of_256_mib_is_refused_by_its_header() {
    let open = data(flag::SYN, 1, b"");
    assert_eq!(fault_of(&[open, frame(Kind::Data, 0, 1, 256 * 1024 * 1024)]), Some(OVERRUN));
}

/// mina-rust: the reset of one stream ended the connection.
#[test]
fn a_reset_of_one_stream_leaves_the_others() {
    let mut yamux = listener(Config::default());
    let frames =
        [data(flag::SYN, 1, b"one"), data(flag::SYN, 3, b"two"), frame(Kind::Window, flag::RST, 1, 9)];
    yamux.received(at(0), Bytes::from(frames.concat()));
    assert!(events(&mut yamux).contains(&Event::Reset(1, 9)));
    assert_eq!(read_all(&mut yamux, 3), (b"two".to_vec(), false));
}

/// rust-libp2p 1849, rust-yamux 162: windows that did not grow made a response of 10 MiB take 39 round trips.
#[test]
fn ten_mib_take_few_round_trips() {
    const LEN: usize = 10 * 1024 * 1024;
    let mut pair = Pair::new(&Config::default(), 16 * 1024 * 1024);
    let id = pair.stream();
    let (mut written, mut read, mut half_trips) = (0, 0, 0);
    while read < LEN {
        let mut wire = BytesMut::new();
        while written < LEN && pair.listener.write_room(id) > 0 {
            let room = pair.listener.write_room(id).min(LEN - written);
            pair.listener.write(id, &mut Bytes::from(vec![0; room]));
            written += room;
            wire.extend_from_slice(&sent(&mut pair.listener, pair.now));
        }
        let back = sent(&mut pair.dialler, pair.now);
        pair.now = pair.now + pair.delay;
        pair.dialler.received(pair.now, wire.freeze());
        pair.listener.received(pair.now, back);
        read += read_all(&mut pair.dialler, id).0.len();
        half_trips += 1;
    }
    assert!(half_trips <= 16, "{half_trips} half round trips");
}

/// rust-libp2p 5410: two sides that wrote until their windows were full waited for each other for ever.
#[test]
fn two_writers_that_both_wait_go_on_once_both_read() {
    const LEN: usize = 4 * 1024 * 1024;
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    let (mut written, mut read) = ([0; 2], [0; 2]);
    for round in 0..1_000 {
        for (yamux, written) in [&mut pair.dialler, &mut pair.listener].into_iter().zip(&mut written) {
            let room = yamux.write_room(id).min(LEN - *written);
            yamux.write(id, &mut Bytes::from(vec![0; room]));
            *written += room;
        }
        pair.cross();
        // Nobody reads before both windows are full.
        if round > 20 {
            for (yamux, read) in [&mut pair.dialler, &mut pair.listener].into_iter().zip(&mut read) {
                *read += read_all(yamux, id).0.len();
            }
        }
        if read == [LEN; 2] {
            return;
        }
    }
    panic!("{written:?} written, {read:?} read");
}
