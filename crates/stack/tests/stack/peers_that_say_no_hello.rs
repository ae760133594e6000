//! A peer is a peer because its link is authenticated: one that never opens control, but speaks something else.

use std::time::Duration;

use weir_base::stream::{Class, Goodbye};
use weir_base::{Fault, ProtocolId, StreamKey};
use weir_link::Read;
use weir_stack::{Command, DownReason, Event, Reaction, Refusal, Refused, raw};

use crate::duo::Duo;
use crate::net::RAW;

const PING: ProtocolId = ProtocolId(65_536);
/// A number that no node knows.
const NOBODYS: ProtocolId = ProtocolId(70_000);
#[test]
fn with_raw_streams_and_ping_it_is_a_whole_peer() {
    let mut duo = Duo::linked();
    let ping = duo.say(PING, &[7; 32]);
    duo.say(RAW.protocol(0), b"hello");
    let echo = duo.peer.link(duo.link).unwrap().read(duo.now, ping, 100);
    assert!(matches!(echo, Read::Data(chunk) if chunk[..] == [7; 32]), "ping needs no hello");
    duo.run_for(Duration::from_millis(4_900));
    assert_eq!((duo.up(), duo.node.stats().peers), (None, 0), "hello may still come");
    duo.run_for(Duration::from_millis(200));
    let speaks = duo.up().expect("it is up");
    assert_eq!((speaks.hello, speaks.protocols), (None, vec![RAW.protocol(0), PING]));
    assert_eq!(duo.node.stats().peers, 1);
    // Its stream is shown, and it can be called over raw streams.
    let accepted = duo.events.iter().find_map(|event| match event {
        Event::Raw(raw::Event::Accepted { key, .. }) => Some(*key),
        _ => None,
    });
    let read = |duo: &mut Duo, key: StreamKey| match duo.node.raw_streams(duo.now).read(key, 100) {
        Read::Data(chunk) => chunk.to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&mut duo, accepted.unwrap()), b"hello");
    let open = raw::Command::Open { peer: duo.id, protocol: RAW.protocol(0), class: Class::Bulk };
    duo.node.command(duo.now, Command::Raw(open)).unwrap();
    duo.settle();
    let opened = duo.heard.iter().any(
        |event| matches!(event, weir_link::Event::Opened { protocol, .. } if *protocol == RAW.protocol(0)),
    );
    assert!(opened);
    // It is scored and banned.
    for _ in 0..2 {
        let fault = Fault::misbehaved("of the application's own protocol");
        duo.node.command(duo.now, Command::Report { peer: duo.id, fault }).unwrap();
        duo.settle();
    }
    let banned = |event: &Event| matches!(event, Event::Fault { reaction: Reaction::Ban { .. }, .. });
    assert!(duo.events.iter().any(banned));
    duo.run_for(Duration::from_secs(6));
    let down = |event: &Event| matches!(event, Event::PeerDown { .. });
    assert!(duo.events.iter().any(down) && duo.node.stats().peers == 0);
    duo.dial();
    duo.run_for(Duration::from_secs(1));
    let refused = |event: &Event| match event {
        Event::ConnectionRefused { peer, refusal, .. } => {
            *peer == Some(duo.id) && matches!(refusal, Refusal::BannedPeer { .. })
        }
        _ => false,
    };
    assert!(duo.events.iter().any(refused), "{:?}", duo.events);
}

#[test]
fn with_nothing_else_it_is_nobody() {
    let mut duo = Duo::linked();
    duo.run_for(Duration::from_millis(5_100));
    let refused =
        |event: &Event| matches!(event, Event::Refused { reason: DownReason::Closed(Goodbye::Idle), .. });
    duo.run_for(Duration::from_secs(6));
    assert!(duo.events.iter().any(refused), "{:?}", duo.events);
    assert_eq!(
        (duo.up(), duo.node.stats().faults),
        (None, 0),
        "nothing was heard: it may have ended the link already"
    );
    let open = raw::Command::Open { peer: duo.id, protocol: RAW.protocol(0), class: Class::Bulk };
    assert_eq!(duo.node.command(duo.now, Command::Raw(open)), Err(Refused::NoPeer));
}

#[test]
fn who_uses_the_link_and_says_no_hello_is_to_blame() {
    let mut duo = Duo::linked();
    duo.say(NOBODYS, b"?");
    duo.run_for(Duration::from_millis(5_100));
    assert_eq!((duo.up(), duo.node.stats().faults), (None, 1));
}

#[test]
fn a_stream_whose_protocol_nobody_takes_is_refused_without_a_fault() {
    let mut duo = Duo::linked();
    let before = duo.node.stats().streams; // its own permits
    let stream = duo.say(NOBODYS, b"?");
    let key = StreamKey { link: duo.link, stream };
    assert!(duo.heard.iter().any(|event| matches!(event, weir_link::Event::Stopped(of, 1) if *of == key)));
    assert!(matches!(duo.peer.link(duo.link).unwrap().read(duo.now, stream, 10), Read::Reset(1)));
    duo.run_for(Duration::from_secs(4));
    assert_eq!((duo.node.stats().faults, duo.node.stats().streams), (0, before));
}
