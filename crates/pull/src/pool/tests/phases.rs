//! What a peer learns of when an item came: between which two strikes of its link's clock, whatever it asks.

use bytes::BytesMut;
use weir_base::codec::put_varint;
use weir_base::{Chunk, Rope};

use super::super::*;
use super::mesh::{Mesh, RULES, item, ms, pool};
use crate::machine::Opened;
use crate::pool::inventory::Phase;

/// Of the clock of a link: twice the offer delay.
const PERIOD: u64 = 200;

fn message(kind: u64, encode: impl FnOnce(&mut BytesMut)) -> Chunk {
    let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
    put_varint(&mut body, kind);
    encode(&mut body);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    Chunk::whole(out.freeze())
}

/// A permit for so many entries in all.
fn want(entries: u64) -> Chunk {
    let want = codec::Want { entries, bytes: 1 << 60, through: 0, floor: 0, from: None };
    message(codec::WANT, |body| codec::encode_want(&want, body))
}

/// A node, a peer of it, and the streams on which that peer grants (0) and asks (1).
fn scene() -> (Mesh, [StreamKey; 2]) {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, Config { offer_delay: ms(PERIOD / 2), ..Config::new(RULES) }, 1)));
    mesh.add(None);
    let link = mesh.link(1, 0, 50);
    mesh.run_for(ms(10));
    let keys = [77, 78].map(|stream| StreamKey { link, stream });
    let now = mesh.now;
    for (lane, key) in (0..).zip(keys) {
        mesh.pool(0).handle_opened(now, key, Opened::Peer { lane });
    }
    (mesh, keys)
}

/// What the node writes at once when the peer sends this.
fn answer(mesh: &mut Mesh, key: StreamKey, sent: Option<Chunk>) -> usize {
    let now = mesh.now;
    let server = mesh.pool(0);
    server.handle_timeout(now);
    if let Some(chunk) = sent {
        server.handle_incoming(now, key, Incoming::Data(chunk));
    }
    while server.poll_ask().is_some() {}
    let mut out = Rope::new();
    server.poll_write(now, key, 65_536, &mut out);
    out.len()
}

#[test]
fn permits_of_one_entry_tell_no_more_than_the_clock() {
    let (mut mesh, [permits, _]) = scene();
    let (mut strikes, mut granted, mut offered) = (Vec::new(), 1, 0);
    answer(&mut mesh, permits, Some(want(1)));
    for milli in 0..20 * PERIOD {
        mesh.now = mesh.now + ms(1);
        if milli % 7 == 0 {
            mesh.insert(0, &item(5, milli, 50));
        }
        // whenever it has an entry it grants another one
        let mut begun = false;
        let mut written = answer(&mut mesh, permits, None);
        while written > 0 {
            (begun, granted, offered) = (true, granted + 1, offered + 1);
            written = answer(&mut mesh, permits, Some(want(granted)));
        }
        strikes.extend(begun.then_some(milli));
    }
    assert!(offered >= 540, "{offered} of 572: all but those of the last period");
    assert!((19..=20).contains(&strikes.len()), "{strikes:?}");
    assert!(strikes.windows(2).all(|pair| pair[1] - pair[0] == PERIOD), "{strikes:?}");
}

#[test]
fn a_get_for_what_is_not_offered_yet_finds_nothing() {
    let (mut mesh, [_, gets]) = scene();
    mesh.insert(0, &item(5, 1, 5_000));
    let now = mesh.now;
    let common = &mesh.pool(0).common;
    let phase = common.links.iter().next().unwrap().1.outlet.phase();
    let strike = now + common.inventory.heads.until_strike(now, phase);
    for _ in 0..PERIOD + 10 {
        mesh.now = mesh.now + ms(1);
        let get = message(codec::GET, |body| codec::encode_indices([0].into_iter(), body));
        let found = answer(&mut mesh, gets, Some(get)) > 5_000;
        assert_eq!(found, mesh.now >= strike);
    }
}

#[test]
fn all_links_of_a_peer_have_one_clock_and_peers_have_their_own() {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, Config { offer_delay: ms(PERIOD / 2), ..Config::new(RULES) }, 1)));
    (0..20).for_each(|_| _ = mesh.add(None));
    let mut phases = std::collections::BTreeMap::<_, Vec<Phase>>::new();
    for round in 0..3 {
        let links: Vec<LinkId> = (1..=20).map(|peer| mesh.link(peer, 0, 5)).collect();
        mesh.run_for(ms(20));
        for (_, link) in mesh.pool(0).common.links.iter() {
            phases.entry(link.info.peer).or_default().push(link.outlet.phase());
        }
        if round > 0 {
            links.into_iter().for_each(|link| mesh.unlink(link)); // those of the first round stay
        }
    }
    assert!(
        phases.values().all(|of| of.len() > 4 && of.windows(2).all(|pair| pair[0] == pair[1])),
        "{phases:?}"
    );
    let mut different: Vec<Phase> = phases.into_values().filter_map(|of| of.first().copied()).collect();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() >= 12, "of 20 peers: {different:?}");
}
