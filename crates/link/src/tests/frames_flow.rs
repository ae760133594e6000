//! Streams over frames: what is theirs alone, credit and order.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Class, OpenError};
use weir_base::{ProtocolId, StreamKey};

use super::harness::{Net, Over};
use crate::Read;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn opens_beyond_the_peers_limit_wait_and_even_their_ends_arrive_in_order() {
    opens_wait(Over::Frames);
}

fn opens_wait(over: Over) {
    let mut net = Net::pair();
    let (link, other) = net.join(over, 0, 1);
    let keys: Vec<StreamKey> = (0..40).map(|_| net.open(0, link, 8, Class::Pool)).collect();
    assert_eq!(net.write(0, keys[39], &Bytes::from_static(b"x")), 0, "it waits");
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().reset(now, keys[38].stream, 5);
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 32);
    net.nodes[1].links.link(other).unwrap().hello_accepted();
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 40);
    assert_eq!(net.nodes[0].writable, vec![keys[39]]);
    assert!(net.nodes[1].blamed.is_empty());
    let now = net.now;
    let far = net.nodes[1].links.link(other).unwrap();
    assert!(matches!(far.read(now, keys[38].stream, 9), Read::Reset(5)));
    for _ in 0..280 {
        let _ = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
    }
    let more = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
    assert_eq!(more, Err(OpenError::Limit));
}
