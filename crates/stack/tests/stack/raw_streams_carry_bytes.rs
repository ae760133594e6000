//! Raw streams: bytes both ways, each direction with its own end, and nobody else waits for a slow reader.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Class;
use weir_base::{MIB, Rope, StreamKey};
use weir_stack::{Command, Config, Event, Refused, call, raw};

use crate::net::{CALL, Carrier, Net, RAW, config};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Sends all of `bytes` while the reader reads as it comes; what was read.
fn transfer(net: &mut Net, from: (usize, StreamKey), to: (usize, StreamKey), bytes: &[u8]) -> Vec<u8> {
    let mut rope = Rope::new();
    rope.push(Bytes::copy_from_slice(bytes));
    let mut read = Vec::new();
    let until = net.now + Duration::from_secs(120);
    let done = net.run_until(until, |net| {
        if !rope.is_empty() {
            net.nodes[from.0].stack.raw_streams(net.now).write(from.1, &mut rope).unwrap();
            net.drain(from.0);
        }
        read.extend(net.read(to.0, to.1).0);
        read.len() >= bytes.len()
    });
    assert!(done, "{} of {} bytes after {:?}", read.len(), bytes.len(), until);
    read
}

#[test]
fn four_mebibytes_go_each_way_with_half_close() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 1, 2);
        let (ours, theirs) = net.raw_stream(0, 1);
        let bytes = pattern(4 * MIB);
        assert_eq!(transfer(&mut net, (0, ours), (1, theirs), &bytes), bytes);
        net.command(0, Command::Raw(raw::Command::Finish(ours)));
        net.run_for(Duration::from_secs(1));
        let (left, end) = net.read(1, theirs);
        assert!(left.is_empty() && matches!(end, raw::Read::End), "{end:?}");
        assert_eq!(net.nodes[0].stack.raw_streams(net.now).room(ours), 0, "writing has ended");
        let mut rope = Rope::new();
        assert_eq!(net.nodes[0].stack.raw_streams(net.now).write(ours, &mut rope), Err(Refused::NoStream));
        // The other direction is still open.
        let back = pattern(MIB);
        assert_eq!(transfer(&mut net, (1, theirs), (0, ours), &back), back);
        net.command(1, Command::Raw(raw::Command::Finish(theirs)));
        net.run_for(Duration::from_secs(1));
        assert!(matches!(net.read(0, ours).1, raw::Read::End));
        net.run_for(Duration::from_secs(1));
        for node in [0, 1] {
            let stats = net.nodes[node].stack.stats();
            assert_eq!((stats.raw_streams, stats.faults), (0, 0));
            assert!(stats.windows_hold());
        }
        assert_eq!(net.nodes[1].stack.stats().raw_read, 4 * MIB as u64);
    }
}

#[test]
fn reset_and_stop_arrive_with_their_codes() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 2, 2);
        let (ours, theirs) = net.raw_stream(0, 1);
        net.write(0, ours, b"some bytes");
        net.run_for(Duration::from_secs(1));
        net.command(0, Command::Raw(raw::Command::Reset(ours, 77)));
        net.command(0, Command::Raw(raw::Command::Stop(ours, 88)));
        let again = net.try_command(0, Command::Raw(raw::Command::Reset(ours, 77)));
        assert_eq!(again, Err(Refused::NoStream));
        net.run_for(Duration::from_secs(1));
        let (_, end) = net.read(1, theirs);
        assert!(matches!(end, raw::Read::Reset(77)), "{end:?}");
        let stopped = net.take(1, |event| match event {
            Event::Raw(raw::Event::Stopped(key, code)) => Some((*key, *code)),
            _ => None,
        });
        // yamux has one reset for both directions, and its code comes first
        let code = if carrier == Carrier::Tcp { 77 } else { 88 };
        assert_eq!(stopped, Some((theirs, code)));
        assert!(matches!(net.read(1, theirs).1, raw::Read::Closed));
        net.run_for(Duration::from_secs(1));
        assert_eq!((net.nodes[0].stack.stats().raw_streams, net.nodes[1].stack.stats().raw_streams), (0, 0));
    }
}

#[test]
fn readable_and_writable_are_told_once_until_the_host_acts() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 3, 2);
        let (ours, theirs) = net.raw_stream(0, 1);
        net.nodes[1].events.clear();
        net.read(1, theirs);
        for _ in 0..5 {
            net.write(0, ours, b"bytes");
            net.run_for(Duration::from_millis(200));
        }
        let told = |net: &Net, node: usize, wanted: raw::Event| {
            let same = |event: &&Event| matches!(event, Event::Raw(raw) if *raw == wanted);
            net.nodes[node].events.iter().filter(same).count()
        };
        assert_eq!(told(&net, 1, raw::Event::Readable(theirs)), 1);
        assert_eq!(net.read(1, theirs).0.len(), 25);
        // Fill the window, then let the reader take it all: one event for the writer.
        let mut rope = Rope::new();
        rope.push(Bytes::from(vec![1; 16 * MIB]));
        for _ in 0..20 {
            net.nodes[0].stack.raw_streams(net.now).write(ours, &mut rope).unwrap();
            net.drain(0);
            net.run_for(Duration::from_millis(100));
        }
        net.nodes[0].events.clear();
        assert!(!rope.is_empty(), "a reader that stalls stops the writer");
        for _ in 0..5 {
            net.read(1, theirs);
            net.run_for(Duration::from_millis(500));
        }
        assert_eq!(told(&net, 0, raw::Event::Writable(ours)), 1);
    }
}

#[test]
fn a_reader_that_stalls_does_not_stop_the_rest() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 4, 2);
        let (stalled, _) = net.raw_stream(0, 1);
        let (other, theirs) = net.raw_stream(0, 1);
        let mut rope = Rope::new();
        rope.push(Bytes::from(vec![1; 8 * MIB]));
        for _ in 0..20 {
            net.nodes[0].stack.raw_streams(net.now).write(stalled, &mut rope).unwrap();
            net.drain(0);
            net.run_for(Duration::from_millis(100));
        }
        assert!(!rope.is_empty());
        let request = Bytes::from(pattern(60_000));
        let link = net.nodes[0].stack.peers().ready_link(&net.nodes[1].peer).unwrap();
        let call = call::Command::Call { link, request: request.clone(), deadline: None };
        net.pull(0, weir_pull::Command::Call(CALL, call));
        let got = net.wait(1, |event| match event {
            Event::Call(CALL, call::Event::Request { request, .. }) => Some(request.clone()),
            _ => None,
        });
        assert_eq!(got, request);
        let bytes = pattern(MIB);
        assert_eq!(transfer(&mut net, (0, other), (1, theirs), &bytes), bytes);
        assert!(net.nodes[1].stack.stats().windows_hold());
    }
}

#[test]
fn streams_are_bounded_and_need_a_channel_both_have() {
    for carrier in Carrier::ALL {
        let mut net = Net::new(carrier, 5);
        let few = Config { raw: raw::Config { max_per_link: 2, ..raw::Config::default() }, ..config() };
        let mut without = config();
        without.profile.channels.retain(|channel| channel.id != RAW);
        for config in [config(), few, without] {
            net.add(config);
        }
        net.know(0, 1, weir_stack::Role::Persistent);
        net.know(0, 2, weir_stack::Role::Persistent);
        net.run_for(Duration::from_secs(2));
        let open = |net: &Net, to: usize| raw::Command::Open {
            peer: net.nodes[to].peer,
            protocol: RAW.protocol(0),
            class: Class::Bulk,
        };
        let command = Command::Raw(open(&net, 2));
        assert_eq!(net.try_command(0, command), Err(Refused::NotRaw));
        let mut keys = Vec::new();
        for _ in 0..3 {
            let command = Command::Raw(open(&net, 1));
            net.command(0, command);
            let key = net.wait(0, |event| match event {
                Event::Raw(raw::Event::Opened { key, .. }) => Some(*key),
                _ => None,
            });
            net.write(0, key, b"hello");
            keys.push(key);
        }
        net.run_for(Duration::from_secs(1));
        assert_eq!(net.nodes[1].stack.stats().raw_streams, 2);
        let refused = net.take(0, |event| match event {
            Event::Raw(raw::Event::Stopped(key, _)) => Some(*key),
            _ => None,
        });
        assert_eq!(refused, Some(keys[2]));
        net.crash(1);
        net.command(0, Command::Disconnect(net.nodes[1].peer));
        net.run_for(Duration::from_secs(40));
        assert_eq!(net.nodes[0].stack.stats().raw_streams, 0);
        let lost = |event: &&Event| matches!(event, Event::Raw(raw::Event::Lost(_)));
        assert_eq!(net.nodes[0].events.iter().filter(lost).count(), 3);
    }
}
