//! Handshakes that succeed.

use super::*;

#[test]
fn both_sides_send_what_the_vectors_have() {
    for (name, ours, theirs) in [("early", DIALER_MUXERS, LISTENER_MUXERS), ("plain", &[][..], &[][..])] {
        let (mut d, mut l) = (dialer(ours), listener(theirs));
        let first = sent(&mut d);
        assert_eq!(first, vector(&format!("{name}-1")));
        l.received(&mut vector(&format!("{name}-1")));
        assert_eq!(sent(&mut l), vector(&format!("{name}-2")));
        d.received(&mut vector(&format!("{name}-2")));
        assert_eq!(sent(&mut d), vector(&format!("{name}-3")));
        l.received(&mut vector(&format!("{name}-3")));
        let (mut at_dialer, mut at_listener) = (done(&mut d), done(&mut l));
        assert_eq!((at_dialer.peer, at_dialer.key.clone()), (keypair(2).peer_id(), keypair(2).public()));
        assert_eq!((at_listener.peer, at_listener.key.clone()), (keypair(1).peer_id(), keypair(1).public()));
        if name == "early" {
            assert_eq!(sealed(&mut at_dialer.sealer, b"hello"), vector("record-of-dialer"));
            assert_eq!(sealed(&mut at_listener.sealer, b"world"), vector("record-of-listener"));
            let text = at_listener.opener.next(&mut vector("record-of-dialer")).unwrap().unwrap();
            assert_eq!(text, b"hello"[..]);
        }
    }
}

#[test]
fn the_first_of_the_diallers_muxers_that_the_listener_has_is_agreed_on() {
    let agreed = |ours: &[&str], theirs: &[&str]| {
        let (mut d, mut l) = (dialer(ours), listener(theirs));
        shake(&mut d, &mut l);
        (done(&mut d).muxer, done(&mut l).muxer)
    };
    assert_eq!(agreed(DIALER_MUXERS, LISTENER_MUXERS), (Some(0), Some(1)));
    assert_eq!(agreed(LISTENER_MUXERS, DIALER_MUXERS), (Some(0), Some(1)));
    assert_eq!(agreed(&["/a", "/b", "/c"], &["/c", "/b"]), (Some(1), Some(1)));
    assert_eq!(agreed(&[], DIALER_MUXERS), (None, None), "it is negotiated afterwards");
    assert_eq!(agreed(DIALER_MUXERS, &[]), (None, None));
}

#[test]
fn without_a_common_muxer_both_sides_end() {
    let (mut d, mut l) = (dialer(&["/a"]), listener(&["/b"]));
    l.received(&mut sent(&mut d));
    d.received(&mut sent(&mut l));
    assert_eq!(fault(&mut d), Some(NO_MUXER));
    assert!(sent(&mut d).is_empty(), "the dialler has not shown who it is");
}

#[test]
fn application_data_may_follow_the_last_message_at_once() {
    let (mut d, mut l) = (dialer(&[]), listener(&[]));
    l.received(&mut sent(&mut d));
    d.received(&mut sent(&mut l));
    let mut flight = sent(&mut d);
    let mut at_dialer = done(&mut d);
    let record = at_dialer.sealer.begin(&mut flight);
    flight.extend_from_slice(b"request");
    assert!(at_dialer.sealer.seal(&mut flight, &record));
    l.received(&mut flight);
    let mut at_listener = done(&mut l);
    assert_eq!(at_listener.opener.next(&mut flight).unwrap().unwrap(), b"request"[..]);
    assert!(flight.is_empty());
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let (mut d, mut l) = (dialer(&[]), listener(&[]));
    let (mut at_d, mut at_l) = (BytesMut::new(), BytesMut::new());
    for _ in 0..2 {
        for byte in sent(&mut d) {
            at_l.extend_from_slice(&[byte]);
            l.received(&mut at_l);
        }
        for byte in sent(&mut l) {
            at_d.extend_from_slice(&[byte]);
            d.received(&mut at_d);
        }
    }
    assert_eq!((done(&mut d).peer, done(&mut l).peer), (keypair(2).peer_id(), keypair(1).peer_id()));
}

#[test]
fn a_secp256k1_host_key_is_taken_and_a_dialler_may_expect_nobody() {
    let host = Keypair::secp256k1_from_bytes([7; 32]).unwrap();
    let mut rng = Rng::from_number(9);
    let identity = Arc::new(Identity::new(&host, &mut rng));
    assert_eq!(identity.peer_id(), host.peer_id());
    let mut d = Handshake::dialer(super::identity(1), None, None, rng.child("d"), Instant::ZERO).unwrap();
    let mut l = Handshake::listener(identity, None, rng.child("l"), Instant::ZERO).unwrap();
    shake(&mut d, &mut l);
    assert_eq!((done(&mut d).peer, done(&mut l).peer), (host.peer_id(), keypair(1).peer_id()));
}

#[test]
fn two_handshakes_of_the_same_identities_have_other_keys() {
    let mut first = connected();
    let mut d = Handshake::dialer(identity(1), None, None, Rng::from_number(77), Instant::ZERO).unwrap();
    let mut l = listener(&[]);
    shake(&mut d, &mut l);
    let mut second = (done(&mut d), done(&mut l));
    assert_eq!(second.1.opener.next(&mut sealed(&mut first.0.sealer, b"x")), Err(BAD_RECORD));
    assert_eq!(first.1.opener.next(&mut sealed(&mut second.0.sealer, b"x")), Err(BAD_RECORD));
}
