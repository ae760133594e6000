//! libp2p's ping as one more user of streams, over every transport.

use std::time::Duration;

use weir_stack::{Event, Role};

use crate::net::{Carrier, Net, config};

#[test]
fn a_node_pings_its_links_and_its_peer_echoes() {
    for carrier in Carrier::ALL {
        let mut net = Net::new(carrier, 1);
        let mut pinging = config();
        pinging.ping.interval = Duration::from_secs(1);
        net.add(pinging);
        net.add(config());
        net.know(0, 1, Role::Persistent);
        net.run_for(Duration::from_millis(500));
        assert!(net.are_peers(0, 1));
        net.nodes.iter_mut().for_each(|node| node.events.clear());
        net.run_for(Duration::from_secs(10));
        let measured = |net: &Net, node: usize| -> Vec<Duration> {
            let rtt = |event: &Event| if let Event::Rtt { rtt, .. } = event { Some(*rtt) } else { None };
            net.nodes[node].events.iter().filter_map(rtt).collect()
        };
        let rtts = measured(&net, 0);
        assert!(rtts.len() >= 9, "{carrier:?}: {rtts:?}");
        assert!(
            rtts.iter().all(|rtt| *rtt >= Duration::from_millis(40) && *rtt <= Duration::from_millis(50))
        );
        assert!(measured(&net, 1).len() <= 1, "control alone measures there");
        assert!(net.nodes.iter().all(|node| node.stack.stats().faults == 0));
    }
}
