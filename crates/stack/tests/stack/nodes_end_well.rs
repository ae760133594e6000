//! A node that ends says goodbye, delivers what was written, and says how it went.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Goodbye;
use weir_base::{MIB, Rope, StreamKey};
use weir_stack::{Command, DownReason, Event, Refused, Report, Role, call, raw};

use crate::net::{CALL, Carrier, Net, config};

fn closed(net: &mut Net, node: usize) -> Report {
    net.wait(node, |event| match event {
        Event::Closed(report) => Some(*report),
        _ => None,
    })
}

#[test]
fn everything_written_is_delivered_before_the_end() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 1, 3);
        let link = net.nodes[1].stack.peers().ready_link(&net.nodes[2].peer).unwrap();
        let call = call::Command::Call { link, request: Bytes::from_static(b"large"), deadline: None };
        net.nodes[2].events.clear();
        net.pull(1, weir_pull::Command::Call(CALL, call));
        // Node 2 answers with as much as a link does not take at once, and ends right away.
        let ticket = net.wait(2, |event| match event {
            Event::Call(CALL, call::Event::Request { ticket, .. }) => Some(*ticket),
            _ => None,
        });
        let response = Bytes::from(vec![5; MIB]);
        let answer = call::Command::Answer { ticket, at: net.now, response: Ok(response.clone()) };
        net.pull(2, weir_pull::Command::Call(CALL, answer));
        net.command(2, Command::Shutdown { deadline: Duration::from_secs(20) });
        let result = net.wait(1, |event| match event {
            Event::Call(CALL, call::Event::Response { result, .. }) => Some(result.clone()),
            _ => None,
        });
        assert_eq!(result, Ok(response));
        assert_eq!(closed(&mut net, 2), Report { closed: 1, unfinished: 0 });
        let reason = net.wait(1, |event| match event {
            Event::PeerDown { reason, .. } => Some(*reason),
            _ => None,
        });
        assert!(
            matches!(reason, DownReason::ByPeer(Goodbye::Shutdown) | DownReason::Closed(Goodbye::Shutdown)),
            "{reason:?}"
        );
        assert_eq!(net.nodes[2].stack.stats().link.links, 0);
    }
}

#[test]
fn raw_bytes_in_the_link_are_delivered_too() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 2, 2);
        let (ours, theirs) = net.raw_stream(0, 1);
        let mut rope = Rope::new();
        rope.push(Bytes::from(vec![3; MIB]));
        let written = net.nodes[0].stack.raw_streams(net.now).write(ours, &mut rope).unwrap();
        assert!(written > 0);
        net.drain(0);
        net.command(0, Command::Raw(raw::Command::Finish(ours)));
        net.command(0, Command::Shutdown { deadline: Duration::from_secs(10) });
        let (read, end) = read_to_the_end(&mut net, theirs);
        assert_eq!(read, written);
        assert!(matches!(end, raw::Read::End), "{end:?}");
        closed(&mut net, 0);
    }
}

/// What node 1 reads on a stream, and how it ends.
fn read_to_the_end(net: &mut Net, key: StreamKey) -> (usize, raw::Read) {
    let (mut read, mut end) = (0, raw::Read::Blocked);
    let until = net.now + Duration::from_secs(10);
    net.run_until(until, |net| {
        let (bytes, how) = net.read(1, key);
        read += bytes.len();
        end = how;
        !matches!(end, raw::Read::Blocked)
    });
    (read, end)
}

#[test]
fn a_stream_that_was_not_finished_does_not_look_whole_when_its_node_ends_or_leaves() {
    for carrier in Carrier::ALL {
        for ends in [true, false] {
            let mut net = Net::line(carrier, 2, 2);
            let (ours, theirs) = net.raw_stream(0, 1);
            assert_eq!(net.write(0, ours, &[3; 1000]), 1000);
            net.run_for(Duration::from_secs(1));
            let peer = net.nodes[1].peer;
            net.command(
                0,
                if ends {
                    Command::Shutdown { deadline: Duration::from_secs(10) }
                } else {
                    Command::Disconnect(peer)
                },
            );
            let (_, end) = read_to_the_end(&mut net, theirs);
            assert!(matches!(end, raw::Read::Reset(0)), "{carrier:?} {end:?}");
        }
    }
}

#[test]
fn a_node_that_ends_begins_nothing_and_ends_in_time() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 3, 2);
        net.cut.insert(1); // nothing reaches anybody any more
        net.command(0, Command::Shutdown { deadline: Duration::from_secs(3) });
        let refused = net.try_command(0, Command::Disconnect(net.nodes[1].peer));
        assert_eq!(refused, Err(Refused::Closing));
        let before = net.now;
        closed(&mut net, 0);
        assert!(net.now.since(before) <= Duration::from_secs(3));
        let count = net.nodes[0].events.iter().filter(|event| matches!(event, Event::Closed(_))).count();
        net.run_for(Duration::from_secs(60));
        assert_eq!(count, 0, "told once");
        assert!(!net.nodes[0].events.iter().any(|event| matches!(event, Event::Closed(_))));
    }
}

#[test]
fn a_peer_that_acknowledged_nothing_is_told_when_the_time_is_up() {
    for carrier in [Carrier::Quic, Carrier::QuicNamed] {
        let mut net = Net::line(carrier, 6, 2);
        net.cut.insert(1);
        net.command(0, Command::Shutdown { deadline: Duration::from_secs(3) });
        net.run_for(Duration::from_millis(2_990));
        net.cut.remove(&1);
        assert_eq!(closed(&mut net, 0), Report { closed: 0, unfinished: 1 }, "{carrier:?}");
        let before = net.now;
        net.wait(1, |event| matches!(event, Event::PeerDown { .. }).then_some(()));
        assert!(net.now.since(before) < Duration::from_secs(1), "{carrier:?}: {:?}", net.now.since(before));
    }
}

#[test]
fn dials_under_way_are_given_up() {
    let mut net = Net::new(Carrier::Quic, 5);
    net.add(config());
    net.add(config());
    net.crash(1);
    net.know(0, 1, Role::Persistent);
    net.run_for(Duration::from_millis(500));
    net.command(0, Command::Shutdown { deadline: Duration::from_secs(10) });
    net.run_for(Duration::from_millis(100));
    net.logging = true;
    net.run_for(Duration::from_secs(9));
    assert_eq!(net.log.len(), 0, "no first packet is sent again");
}
