//! Peers that abuse streams by name, by name. What a node keeps for them is bounded, and nobody else notices.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use weir_base::stream::{Class, OpenError};
use weir_base::{Fault, LinkId, Rope, StreamKey};
use weir_libp2p::multistream;

use super::by_name::speaking;
use super::harness::{Net, Over};
use crate::{BY_NAME, NAMED};

const SECOND: Duration = Duration::from_secs(1);

/// Where streams have numbers.
const NUMBERED: [Over; 2] = [Over::Frames, Over::Quic];

/// Node 0 speaks two protocols by name; node 1 opens what it likes.
fn victim(over: Over) -> (Net, LinkId, LinkId) {
    let mut config = speaking(&[&["/a/1"], &["/b/1"]]);
    config.streams.max_negotiating = 16;
    let mut net = Net::new(vec![config, speaking(&[&["/a/1"]])]);
    let (there, link) = net.join(over, 1, 0);
    (net, link, there)
}

fn token(text: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(u8::try_from(text.len() + 1).unwrap());
    out.put_slice(text.as_bytes());
    out.put_u8(b'\n');
    out.freeze()
}

/// A stream by name whose negotiation is this test's own.
fn open(net: &mut Net, there: LinkId) -> Result<StreamKey, OpenError> {
    let now = net.now;
    let link = net.nodes[1].links.link(there).unwrap();
    let stream = link.carrier.streams().open(now, BY_NAME, Class::Pool)?;
    Ok(StreamKey { link: there, stream })
}

fn say(net: &mut Net, key: StreamKey, bytes: &Bytes) {
    assert_eq!(net.write(1, key, bytes), bytes.len());
}

fn blamed(over: Over, said: &[Bytes]) -> Vec<Fault> {
    let (mut net, _, there) = victim(over);
    let key = open(&mut net, there).unwrap();
    for said in said {
        net.write(1, key, said); // until the link ends
        net.run(Duration::from_millis(100));
    }
    net.run(SECOND);
    assert_eq!(net.nodes[0].opened, []);
    net.nodes[0].blamed.iter().map(|(_, fault)| *fault).collect()
}

#[test]
fn a_malformed_token_and_proposals_without_end_are_faults() {
    for over in NUMBERED {
        let header = token(multistream::HEADER);
        assert_eq!(
            blamed(over, &[header.clone(), Bytes::from_static(b"\x05/abcd")]),
            [multistream::BAD_TOKEN]
        );
        assert_eq!(blamed(over, &[Bytes::from_static(&[0xff; 32])]), [multistream::BAD_TOKEN]);
        let mut many = vec![header];
        many.extend((0..70).map(|number| token(&format!("/no/{number}"))));
        assert_eq!(blamed(over, &many), [multistream::TOO_MANY]);
    }
}

#[test]
fn another_header_and_a_lost_interest_are_no_faults() {
    for over in NUMBERED {
        assert_eq!(blamed(over, &[token("/multistream/2.0.0")]), []);
        let (mut net, link, there) = victim(over);
        let key = open(&mut net, there).unwrap();
        say(&mut net, key, &token(multistream::HEADER));
        let now = net.now;
        net.nodes[1].links.link(there).unwrap().reset(now, key.stream, 5);
        net.run(SECOND);
        assert_eq!(undecided(&mut net, link), 0);
        assert_eq!((net.nodes[0].opened.len(), net.nodes[0].blamed.len()), (0, 0));
    }
}

#[test]
fn tokens_in_single_bytes_and_data_in_one_piece_with_them_mean_the_same() {
    for over in NUMBERED {
        let (mut net, _, there) = victim(over);
        let mut all = BytesMut::from(&token(multistream::HEADER)[..]);
        all.extend_from_slice(&token("/b/1"));
        all.extend_from_slice(b"data");
        let all = all.freeze();
        let (slow, fast) = (open(&mut net, there).unwrap(), open(&mut net, there).unwrap());
        say(&mut net, fast, &all);
        for at in 0..all.len() {
            say(&mut net, slow, &all.slice(at..=at));
            net.run(Duration::from_millis(10));
        }
        net.run(SECOND);
        let opened = net.nodes[0].opened.clone();
        assert_eq!(opened.iter().map(|(_, protocol)| protocol.0 - NAMED.0).collect::<Vec<_>>(), [1, 1]);
        for (key, _) in opened {
            assert_eq!(net.read(0, key), (b"data".to_vec(), false), "{over:?}");
        }
    }
}

#[test]
fn streams_that_never_say_what_they_are_have_so_many_places_for_10_seconds() {
    for over in NUMBERED {
        let (mut net, link, there) = victim(over);
        let mut silent = Vec::new();
        while silent.len() < 20 {
            let key = open(&mut net, there).unwrap();
            say(&mut net, key, &token(multistream::HEADER));
            silent.push(key);
        }
        net.run(SECOND);
        assert_eq!(undecided(&mut net, link), 16, "{over:?}");
        let stopped =
            |net: &Net, code: u32| net.nodes[1].stopped.iter().filter(|(_, with)| *with == code).count();
        assert_eq!(stopped(&net, 4), 4, "{over:?}");
        // An honest stream of another kind is not held up.
        let other = net.open(1, there, 8, Class::Pool);
        net.write(1, other, &Bytes::from_static(b"hello"));
        net.run(SECOND);
        assert_eq!(net.nodes[0].opened.len(), 1);
        net.run(9 * SECOND);
        assert_eq!((undecided(&mut net, link), stopped(&net, 3)), (0, 16), "{over:?}");
        assert_eq!(net.nodes[0].blamed, []);
        // And the places are free again.
        let key = net.open(1, there, NAMED.0, Class::Pool);
        net.run(SECOND);
        assert!(net.nodes[1].agreed.iter().any(|(agreed, _)| *agreed == key));
    }
}

#[test]
fn a_peer_that_asks_without_reading_the_answers_has_one_answer_kept() {
    for over in NUMBERED {
        let (mut net, link, there) = victim(over);
        // All that the victim may have in flight lies in a stream that the peer does not read.
        let full = net.open(0, link, 8, Class::Pool);
        for _ in 0..1000 {
            if net.write(0, full, &Bytes::from(vec![1; 64 << 10])) == 0 {
                break;
            }
            net.run(Duration::from_millis(30));
        }
        let key = open(&mut net, there).unwrap();
        say(&mut net, key, &token(multistream::HEADER));
        for number in 0..40 {
            say(&mut net, key, &token(&format!("/no/{number}")));
            net.run(Duration::from_millis(5));
        }
        assert!(net.nodes[0].links.link(link).unwrap().named.waiting() <= 64, "{over:?}");
        assert_eq!(net.nodes[0].blamed, []);
    }
}

fn undecided(net: &mut Net, link: LinkId) -> u32 {
    net.nodes[0].links.link(link).unwrap().named.undecided()
}

#[test]
fn a_peer_without_any_protocol_by_name_refuses_them_all() {
    for over in NUMBERED {
        let mut net = Net::new(vec![super::harness::config(), speaking(&[&["/a/1"]])]);
        let (there, _) = net.join(over, 1, 0);
        let key = net.open(1, there, NAMED.0, Class::Pool);
        let mut rope = Rope::new();
        rope.push(Bytes::from_static(b"x"));
        let now = net.now;
        net.nodes[1].links.link(there).unwrap().write(now, key.stream, &mut rope);
        net.run(SECOND);
        // Nobody there takes the number: whoever is above refuses it.
        let [(theirs, protocol)] = net.nodes[0].opened[..] else { panic!("{:?}", net.nodes[0].opened) };
        assert_eq!(protocol, BY_NAME);
        let now = net.now;
        let link = net.nodes[0].links.link(theirs.link).unwrap();
        link.reset(now, theirs.stream, 1);
        link.stop(now, theirs.stream, 1);
        net.run(SECOND);
        assert!(net.nodes[1].stopped.contains(&(key, 1)));
    }
}
