//! Handshakes with the vectors, with each other and with strangers; then records.

mod handshakes;
mod hostile;
mod records;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use weir_base::{Instant, Keypair, Rng};

use super::*;
use crate::multistream::Names;

const FILE: &str = include_str!("../../../../../vectors/noise.txt");

fn vector(name: &str) -> BytesMut {
    let line = FILE.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    let text = line.split(' ').nth(1).unwrap();
    let bytes: Bytes =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    BytesMut::from(&bytes[..])
}

fn keypair(seed: u8) -> Keypair {
    Keypair::ed25519_from_seed([seed; 32])
}

fn names(list: &[&str]) -> Option<Names> {
    (!list.is_empty()).then(|| Names::new(list.iter().copied()).unwrap())
}

/// The identities of the vectors: host key 1 with static secret 3, and 2 with 4.
fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::with_secret(&keypair(seed), [seed + 2; 32]))
}

const DIALER_MUXERS: &[&str] = &["/yamux/1.0.0", "/mplex/6.7.0"];
const LISTENER_MUXERS: &[&str] = &["/mplex/6.7.0", "/yamux/1.0.0"];

fn dialer(muxers: &[&str]) -> Handshake {
    let expected = Some(keypair(2).peer_id());
    Handshake::dialer(identity(1), expected, names(muxers), Rng::from_number(1), Instant::ZERO).unwrap()
}

fn listener(muxers: &[&str]) -> Handshake {
    Handshake::listener(identity(2), names(muxers), Rng::from_number(2), Instant::ZERO).unwrap()
}

/// What a machine has to send, whole.
fn sent(handshake: &mut Handshake) -> BytesMut {
    let mut out = BytesMut::new();
    while handshake.poll_transmit(&mut out) {}
    out
}

fn done(handshake: &mut Handshake) -> Secured {
    match handshake.poll_event() {
        Some(Event::Done(secured)) => *secured,
        other => panic!("{other:?}"),
    }
}

fn fault(handshake: &mut Handshake) -> Option<Fault> {
    match handshake.poll_event() {
        Some(Event::Faulted(fault)) => Some(fault),
        None => None,
        done => panic!("{done:?}"),
    }
}

/// Runs both to their end.
fn shake(dialer: &mut Handshake, listener: &mut Handshake) {
    for _ in 0..2 {
        listener.received(&mut sent(dialer));
        dialer.received(&mut sent(listener));
    }
}

/// Both ends of an encrypted connection.
fn connected() -> (Secured, Secured) {
    let (mut d, mut l) = (dialer(DIALER_MUXERS), listener(LISTENER_MUXERS));
    shake(&mut d, &mut l);
    (done(&mut d), done(&mut l))
}

/// One record of `text`.
fn sealed(sealer: &mut Sealer, text: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    let record = sealer.begin(&mut out);
    out.extend_from_slice(text);
    assert!(sealer.seal(&mut out, &record));
    out
}
