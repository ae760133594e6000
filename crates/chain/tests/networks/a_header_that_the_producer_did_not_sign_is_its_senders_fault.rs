//! A header that the producer did not sign is rejected: it counts against whoever sent it, and changes nothing.

use weir::{Blame, Event};
use weir_chain::block::Draft;
use weir_chain::{Header, SigningKey};

use crate::rig::{Rig, identity};

#[test]
fn a_header_that_the_producer_did_not_sign_is_its_senders_fault() {
    let mut rig = Rig::new(46);
    let node = rig.start(1);
    let events = node.network().events();
    let (_net, _node, (tip, ..)) = rig.join(2, None, &[1]);
    rig.run(1_000);
    let right = rig.header(5, [9; 32]);
    let forged =
        Header::sign(Draft { height: 6, ..right.draft }, &SigningKey::from_bytes(&[9; 32]), &[8; 32]);
    tip.publish(&forged).unwrap();
    rig.run(2_000);
    let blamed = std::iter::from_fn(|| events.try_next()).find_map(|event| match event {
        Event::Fault { peer, fault, .. } => Some((peer, fault.blame)),
        _ => None,
    });
    assert_eq!(blamed, Some((identity(2).peer_id(), Blame::Invalid)));
    assert_eq!(node.head().height, 0);
}
