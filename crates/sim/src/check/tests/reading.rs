//! What cannot be read is told, once for each direction of a stream; what follows an end, or is of no interest, is not read.

use weir_stack::{Channel, Config, Shape, tip};

use super::*;

const TIP: ChannelId = ChannelId(4);
const TIP_STREAM: u64 = 8;
const CONTROL_STREAM: u64 = 12;

/// A length that says more than may be.
const ENDLESS: [u8; 10] = [0xff; 10];

fn with_tips() -> Pair {
    let channel = |id, shape| Channel { id, name: "channel".into(), version: 1, oldest: 1, shape };
    let mut config = Config::default();
    config.profile.channels = vec![
        channel(POOL, Shape::Pool(crate::flood::pool_config())),
        channel(TIP, Shape::Tip(tip::Config::default())),
    ];
    let mut pair = opened_with(Checker::of(&config));
    for (stream, protocol) in
        [(TIP_STREAM, TIP.protocol(0)), (CONTROL_STREAM, ChannelId::CONTROL.protocol(0))]
    {
        pair.client(&Frame::Open { stream, protocol });
    }
    pair
}

fn unread(act: impl FnOnce(&mut Pair)) -> u64 {
    let mut pair = with_tips();
    act(&mut pair);
    pair.checker.found().unread
}

#[test]
fn what_cannot_be_read_is_told_once_for_each_direction_of_a_stream() {
    for stream in [0, 4, TIP_STREAM, CONTROL_STREAM] {
        for times in [1, 3] {
            let from_server = unread(|pair| (0..times).for_each(|_| server(pair, stream, &ENDLESS, 10)));
            assert_eq!(from_server, 1, "stream {stream}");
            let from_client =
                unread(|pair| (0..times).for_each(|_| client(pair, stream, Bytes::from_static(&ENDLESS))));
            assert_eq!(from_client, 1, "stream {stream}");
        }
    }
    let both = unread(|pair| {
        server(pair, 0, &ENDLESS, 10);
        client(pair, 0, Bytes::from_static(&ENDLESS));
    });
    assert_eq!(both, 2);
}

#[test]
fn fields_that_cannot_be_read_are_told() {
    for (stream, fields) in [(0, &[0, 1, 0][..]), (0, &[2, 1, 7, 7]), (4, &[2, 0x80])] {
        assert_eq!(unread(|pair| server(pair, stream, &message(fields), 9)), 1, "{fields:?} of the server");
    }
    for (stream, fields) in [(0, &[0, 1, 2][..]), (4, &[0, 0x80])] {
        assert_eq!(unread(|pair| client(pair, stream, message(fields))), 1, "{fields:?} of the client");
    }
}

#[test]
fn what_follows_the_end_of_a_stream_is_not_read() {
    let server_after_its_end = unread(|pair| {
        pair.server(&Frame::End { stream: TIP_STREAM });
        server(pair, TIP_STREAM, &ENDLESS, 10);
    });
    let client_after_its_end = unread(|pair| {
        for stream in [0, 4, TIP_STREAM] {
            pair.client(&Frame::End { stream });
            client(pair, stream, Bytes::from_static(&ENDLESS));
        }
    });
    assert_eq!((server_after_its_end, client_after_its_end), (0, 0));
}

#[test]
fn streams_that_are_no_pools_or_have_another_lane_are_not_read() {
    let other = unread(|pair| {
        pair.client(&Frame::Open { stream: 16, protocol: POOL.protocol(2) });
        pair.client(&Frame::Open { stream: 20, protocol: ProtocolId(40) });
        for stream in [16, 20] {
            client(pair, stream, Bytes::from_static(&ENDLESS));
            server(pair, stream, &ENDLESS, 10);
        }
    });
    assert_eq!(other, 0);
}

#[test]
fn findings_of_parts_add_up_and_the_worst_of_each_is_kept() {
    let one = Found { checks: 2, peak_over: 3, peak_held: 50, peak_granted: 6, peak_tables: 70, unread: 1 };
    let other = Found { checks: 5, peak_over: 1, peak_held: 60, peak_granted: 4, peak_tables: 80, unread: 2 };
    let sum = Found { checks: 7, peak_over: 3, peak_held: 60, peak_granted: 6, peak_tables: 80, unread: 3 };
    for (mut first, second) in [(one, other), (other, one)] {
        first.add(&second);
        assert_eq!(first, sum);
    }
}
