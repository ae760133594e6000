//! libp2p's perf as one more user of streams, over every transport.

use std::time::Duration;

use weir_stack::{Command, Event, Refused, Role, Ticket};

use crate::net::{Carrier, Net, config};

fn measured(net: &mut Net, node: usize) -> Vec<(Ticket, bool)> {
    let of = |event| {
        if let Event::Measured { ticket, took } = event { Some((ticket, took.is_some())) } else { None }
    };
    net.nodes[node].events.drain(..).filter_map(of).collect()
}

#[test]
fn who_serves_is_measured_and_who_does_not_says_so() {
    for carrier in Carrier::ALL {
        let mut net = Net::new(carrier, 1);
        let mut serving = config();
        serving.perf.max_inbound = 1;
        net.add(config());
        net.add(serving);
        net.know(0, 1, Role::Persistent);
        net.run_for(Duration::from_secs(1));
        assert!(net.are_peers(0, 1));
        let (one, two) = (net.nodes[0].peer, net.nodes[1].peer);
        let ticket = net.command(0, Command::Measure { peer: two, upload: 300_000, download: 100_000 });
        net.run_for(Duration::from_secs(10));
        assert_eq!(measured(&mut net, 0), [(ticket, true)], "{carrier:?}");
        let ticket = net.command(1, Command::Measure { peer: one, upload: 1, download: 1 });
        net.run_for(Duration::from_secs(1));
        assert_eq!(measured(&mut net, 1), [(ticket, false)], "{carrier:?}");
        let nobody = Command::Measure { peer: net.nodes[0].peer, upload: 1, download: 1 };
        assert_eq!(net.try_command(0, nobody), Err(Refused::NoPeer));
        assert!(net.nodes.iter().all(|node| node.stack.stats().faults == 0));
    }
}
