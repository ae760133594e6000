//! What one node puts into a channel reaches the others: an item, a tip, a request.

use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_stack::{Command, Event, call, pool, tip};

use crate::net::{CALL, Carrier, Net, POOL, TIP};

fn each(test: fn(Carrier)) {
    for carrier in Carrier::ALL {
        test(carrier);
    }
}

#[test]
fn an_item_spreads_over_a_line_of_three() {
    each(|carrier| {
        let mut net = Net::line(carrier, 1, 3);
        let item = Bytes::from(vec![7; 3000]);
        net.pull(0, weir_pull::Command::Pool(POOL, pool::Command::Insert { bytes: item.clone() }));
        for node in [1, 2] {
            let (ticket, bytes) = net.wait(node, |event| match event {
                Event::Pool(POOL, pool::Event::Candidate { ticket, bytes, .. }) => {
                    Some((*ticket, bytes.clone()))
                }
                _ => None,
            });
            assert_eq!(bytes, item);
            let verdict = pool::Command::Verdict { ticket, at: net.now, verdict: pool::Verdict::Accept };
            net.pull(node, weir_pull::Command::Pool(POOL, verdict));
        }
    });
}

#[test]
fn over_frames_an_item_is_one_buffer_in_all_pools() {
    let mut net = Net::line(Carrier::Frames, 1, 3);
    let item = Bytes::from(vec![7; 3000]);
    net.pull(0, weir_pull::Command::Pool(POOL, pool::Command::Insert { bytes: item.clone() }));
    for node in [1, 2] {
        let (ticket, bytes) = net.wait(node, |event| match event {
            Event::Pool(POOL, pool::Event::Candidate { ticket, bytes, .. }) => Some((*ticket, bytes.clone())),
            _ => None,
        });
        assert_eq!(bytes.as_ptr(), item.as_ptr(), "node {node}");
        let verdict = pool::Command::Verdict { ticket, at: net.now, verdict: pool::Verdict::Accept };
        net.pull(node, weir_pull::Command::Pool(POOL, verdict));
    }
}

#[test]
fn a_tip_spreads_over_a_line_of_three() {
    each(|carrier| {
        let mut net = Net::line(carrier, 2, 3);
        let value = Bytes::from_static(b"height 1");
        let grounds = tip::Grounds { slot: tip::SlotKey([1; 32]), unvalidated: 0, begins: None };
        let publish = tip::Command::Publish { value: value.clone(), grounds };
        net.pull(0, weir_pull::Command::Tip(TIP, publish));
        for node in [1, 2] {
            let (ticket, received) = net.wait(node, |event| match event {
                Event::Tip(TIP, tip::Event::Received { ticket, value, .. }) => Some((*ticket, value.clone())),
                _ => None,
            });
            assert_eq!(received, value);
            let verdict = tip::Command::Verdict { ticket, verdict: tip::Verdict::Adopt(grounds) };
            net.pull(node, weir_pull::Command::Tip(TIP, verdict));
        }
    });
}

#[test]
fn a_call_is_answered_and_a_large_answer_arrives_whole() {
    each(|carrier| {
        let mut net = Net::line(carrier, 3, 2);
        let peer: PeerId = net.nodes[1].peer;
        let link = net.nodes[0].stack.peers().ready_link(&peer).unwrap();
        for size in [0, 1, 1000, 60_000, 1_000_000] {
            let request = Bytes::from(vec![1; size.min(60_000)]);
            let call = call::Command::Call { link, request: request.clone(), deadline: None };
            let asked = net.pull(0, weir_pull::Command::Call(CALL, call));
            let (ticket, heard) = net.wait(1, |event| match event {
                Event::Call(CALL, call::Event::Request { ticket, request, .. }) => {
                    Some((*ticket, request.clone()))
                }
                _ => None,
            });
            assert_eq!(heard, request);
            let response = Bytes::from(vec![2; size]);
            let answer = call::Command::Answer { ticket, at: net.now, response: Ok(response.clone()) };
            net.pull(1, weir_pull::Command::Call(CALL, answer));
            let result = net.wait(0, |event| match event {
                Event::Call(CALL, call::Event::Response { ticket, result }) if *ticket == asked => {
                    Some(result.clone())
                }
                _ => None,
            });
            assert_eq!(result, Ok(response));
        }
        net.run_for(Duration::from_secs(5));
        for node in [0, 1] {
            let stats = net.nodes[node].stack.stats();
            assert_eq!(stats.faults, 0);
            assert!(stats.windows_hold());
            assert!(stats.streams < 12, "streams of calls are gone: {}", stats.streams);
        }
    });
}

/// On base windows alone, or with each request begun only after the one before it, this takes twice the calls' deadline.
#[test]
fn as_many_large_calls_as_allowed_need_few_round_trips_of_a_long_path() {
    each(|carrier| {
        let mut net = Net::line(carrier, 5, 2);
        net.delay = Duration::from_millis(140);
        let link = net.nodes[0].stack.peers().ready_link(&net.nodes[1].peer).unwrap();
        let begun = net.now;
        for _ in 0..64 {
            let call = call::Command::Call { link, request: Bytes::from(vec![1; 60_000]), deadline: None };
            net.pull(0, weir_pull::Command::Call(CALL, call));
        }
        for _ in 0..64 {
            let ticket = net.wait(1, |event| match event {
                Event::Call(CALL, call::Event::Request { ticket, .. }) => Some(*ticket),
                _ => None,
            });
            let answer =
                call::Command::Answer { ticket, at: net.now, response: Ok(Bytes::from(vec![2; 60_000])) };
            net.pull(1, weir_pull::Command::Call(CALL, answer));
        }
        for _ in 0..64 {
            let result = net.wait(0, |event| match event {
                Event::Call(CALL, call::Event::Response { result, .. }) => Some(result.clone()),
                _ => None,
            });
            assert_eq!(result.map(|response| response.len()), Ok(60_000));
        }
        let took = net.now - begun;
        assert!(took < Duration::from_secs(5), "{carrier:?}: {took:?}");
        net.run_for(Duration::from_secs(5));
        for node in [0, 1] {
            let stats = net.nodes[node].stack.stats();
            assert!(stats.faults == 0 && stats.windows_hold());
            assert_eq!(stats.link.receive.lent, 0, "messages that are over leave no credit lent");
        }
    });
}

#[test]
fn an_unanswered_call_ends_in_time_and_frees_its_stream() {
    each(|carrier| {
        let mut net = Net::line(carrier, 4, 2);
        let before = net.nodes[0].stack.stats().streams;
        let link = net.nodes[0].stack.peers().ready_link(&net.nodes[1].peer).unwrap();
        let deadline = Some(Duration::from_millis(700));
        let call = call::Command::Call { link, request: Bytes::from_static(b"?"), deadline };
        net.command(0, Command::Pull(weir_pull::Command::Call(CALL, call)));
        let result = net.wait(0, |event| match event {
            Event::Call(CALL, call::Event::Response { result, .. }) => Some(result.clone()),
            _ => None,
        });
        assert_eq!(result, Err(call::CallError::Timeout));
        net.run_for(Duration::from_secs(2));
        assert!(net.nodes[0].stack.stats().streams <= before);
        assert!(net.nodes[1].stack.stats().streams <= before);
    });
}
