//! A reader without room still hears of ends, on every transport.

use std::time::Duration;

use bytes::Bytes;
use weir_base::StreamKey;
use weir_base::stream::Class;

use super::harness::{Net, Over};
use crate::Read;

#[test]
fn ends_and_resets_reach_a_reader_without_room() {
    for over in Over::ALL {
        let mut net = Net::pair();
        let (link, other) = net.join(over, 0, 1);
        let keys = [300, 301, 302].map(|protocol| net.open(0, link, protocol, Class::Pool));
        let there = keys.map(|key| StreamKey { link: other, stream: key.stream });
        keys.iter().for_each(|key| assert_eq!(net.write(0, *key, &Bytes::from_static(b"x")), 1));
        net.run(Duration::from_millis(200));
        let now = net.now;
        let far = net.nodes[1].links.link(other).unwrap();
        for key in there {
            assert!(matches!(far.read(now, key.stream, 0), Read::Blocked), "a byte waits");
        }
        assert!(matches!(far.read(now, there[0].stream, 9), Read::Data(_)));
        assert!(matches!(far.read(now, there[0].stream, 0), Read::Blocked));
        let near = net.nodes[0].links.link(link).unwrap();
        near.finish(now, keys[0].stream);
        near.finish(now, keys[1].stream);
        near.reset(now, keys[2].stream, 9);
        net.nodes[1].readable.clear();
        net.run(Duration::from_millis(200));
        assert!(net.nodes[1].readable.contains(&there[0]) && net.nodes[1].readable.contains(&there[2]));
        let now = net.now;
        let far = net.nodes[1].links.link(other).unwrap();
        assert!(matches!(far.read(now, there[0].stream, 0), Read::End));
        assert!(matches!(far.read(now, there[1].stream, 0), Read::Blocked), "its byte first");
        assert!(matches!(far.read(now, there[2].stream, 0), Read::Reset(9)));
        assert!(matches!(far.read(now, there[1].stream, 9), Read::Data(_)));
        assert!(matches!(far.read(now, there[1].stream, 0), Read::End));
    }
}
