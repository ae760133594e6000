//! Who was lent credit and delivers a byte now and then does not keep it while others wait.

use std::time::Duration;

use bytes::Bytes;
use weir_base::MIB;
use weir_base::stream::Class;

use super::harness::{Net, config};

#[test]
fn who_trickles_does_not_keep_the_credit_that_others_wait_for() {
    let mut tight = config();
    tight.admission.max_links = 16;
    tight.admission.max_inbound = 12;
    tight.admission.dial_target = 4;
    tight.admission.max_half_open = 8;
    tight.dial.max_dials = 8;
    tight.budget.receive_total = (16 + 8 + 8) * 64 * 1024 + 4 * MIB as u64;
    tight.budget.max_lent = 2 * MIB as u64;
    tight.budget.max_raw = 2 * MIB as u64;
    let mut net = Net::new(vec![config(), tight, config(), config(), config()]);
    let mut hoards = Vec::new();
    for hoarder in [0, 2, 3] {
        net.join_quic(hoarder, 1);
        let link = net.nodes[hoarder].up[0].0;
        let key = net.open(hoarder, link, 9, Class::Pool);
        net.write(hoarder, key, &Bytes::from_static(b"the first bytes, and no more"));
        net.run(Duration::from_millis(100));
        let (there, _) = *net.nodes[1].opened.last().unwrap();
        net.nodes[1].links.link(there.link).unwrap().expect(there.stream, 2 * MIB as u64);
        net.read(1, there);
        net.run(Duration::from_millis(100));
        hoards.push((hoarder, key, there));
    }
    assert_eq!(net.nodes[1].links.stats().receive.lent, 4 * MIB as u64, "all is lent");
    net.join_quic(4, 1);
    let link = net.nodes[4].up[0].0;
    let key = net.open(4, link, 9, Class::Pool);
    net.write(4, key, &Bytes::from_static(b"x"));
    net.run(Duration::from_millis(200));
    let (there, _) = *net.nodes[1].opened.last().unwrap();
    net.nodes[1].links.link(there.link).unwrap().expect(there.stream, 32 * MIB as u64);
    for _ in 0..60 {
        for (hoarder, key, there) in hoards.clone() {
            net.write(hoarder, key, &Bytes::from_static(b"y"));
            net.run(Duration::from_millis(100));
            net.read(1, there);
        }
        net.run(Duration::from_millis(4_700));
        net.write(4, key, &Bytes::from_static(b"x"));
        net.run(Duration::from_millis(100));
        net.read(1, there);
    }
    let stats = net.nodes[1].links.stats();
    assert!(stats.credit_closed >= 1, "an honest link waits: {:?}", stats.receive);
}
