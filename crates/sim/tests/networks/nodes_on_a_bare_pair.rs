//! What processors, clocks and misbehaving peers do to two bare nodes, and what becomes of links that both dial.

use crate::common;
use crate::pair::{A, B, accepted, insert, millis, pair};

use std::time::Duration;

use weir_sim::flood::{Arrivals, Flood, pool_of};
use weir_sim::misbehave::Late;
use weir_sim::{Checking, Dials, Network, Node as _, NodeId, Note, Processor, Transport};
use weir_stack::Event;

/// How long items take from A to B, one after the other.
fn latencies(net: &mut Network) -> Vec<Duration> {
    assert!(net.link_up());
    let latency = |number| {
        let began = net.host.now();
        insert(net, A, number..number + 1);
        accepted(net, 3_000, B)[0].since(began)
    };
    (0..40).map(latency).collect()
}

/// The shortest and the longest of them, with this processor, and an application that decides so late.
fn range(processor: Processor, checking: Checking) -> (Duration, Duration) {
    let mut net = pair(|setup| {
        pool_of(&mut setup.config).unwrap().offer_delay = Duration::ZERO;
        (setup.model.processor, setup.checking) = (processor, checking);
    });
    let latencies = latencies(&mut net);
    (*latencies.iter().min().unwrap(), *latencies.iter().max().unwrap())
}

#[test]
fn frames_bytes_and_verdicts_take_a_node_time() {
    let last = |processor| {
        let mut net = pair(|setup| setup.model.processor = processor);
        assert!(net.link_up());
        net.run(millis(1_000), |_, _, _| {});
        let began = net.host.now();
        insert(&mut net, A, 0..200);
        let times = accepted(&mut net, 60_000, B);
        assert_eq!(times.len(), 200);
        times[199].since(began)
    };
    let usual = last(Processor::INSTANT);
    for (what, processor) in [
        ("frames", Processor { packet: millis(20), ..Processor::INSTANT }),
        ("bytes", Processor { kilobyte: millis(5), ..Processor::INSTANT }),
        ("verdicts", Processor { verdict: millis(5), ..Processor::INSTANT }),
    ] {
        let late = last(processor);
        assert!(late > usual + millis(100), "{what}: {late:?}, and {usual:?} where nothing takes time");
    }
}

#[test]
fn turns_take_longer_by_chance_and_begin_late_where_the_system_stalls() {
    let steady = Processor { turn: millis(4), ..Processor::INSTANT };
    let (least, most) = range(steady, Checking::AtOnce);
    let (_, jittered) = range(Processor { jitter_percent: 200, ..steady }, Checking::AtOnce);
    assert!(jittered > most + millis(4), "{jittered:?}, and {least:?} to {most:?} of steady turns");
    let stalling = Processor { stalls_per_million: 200_000, stall: millis(400), ..steady };
    let (_, stalled) = range(stalling, Checking::AtOnce);
    assert!(stalled > most + millis(100), "{stalled:?}, and {least:?} to {most:?} of steady turns");
}

#[test]
fn timers_are_late_by_up_to_what_the_processor_says() {
    let after = Checking::After(millis(500));
    let (least, most) = range(Processor::INSTANT, after);
    assert!(most < least + millis(5), "{least:?} to {most:?}");
    let (sooner, later) = range(Processor { timer: millis(300), ..Processor::INSTANT }, after);
    assert!(sooner >= least && later > most + millis(150), "{sooner:?} to {later:?}, and {least:?} on time");
}

fn links(net: &mut Network, id: NodeId) -> u64 {
    net.host.node(id).unwrap().stack().stats().link.links
}

#[test]
fn of_two_links_that_both_ends_dial_one_stays_and_nobody_is_blamed() {
    let mut crossed = 0;
    for transport in [Transport::Frames, Transport::Quic, Transport::Tcp] {
        for seed in 0..16 {
            let mut net = pair(|setup| {
                (setup.transport, setup.dials, setup.seed) = (transport, Dials::BothEnds, seed);
            });
            net.dial_edges();
            let (mut most, limit) = (0, net.host.now() + millis(10_000));
            while let Some(step) = net.host.step(limit) {
                net.notes(step);
                most = most.max(links(&mut net, A));
            }
            crossed += u32::from(most > 1);
            assert_eq!([A, B].map(|id| links(&mut net, id)), [1; 2], "{transport:?}, seed {seed}");
            assert!(net.linked(A, B) && net.linked(B, A), "{transport:?}, seed {seed}");
            assert_eq!((net.up(), net.faults.len()), (2, 0), "{transport:?}, seed {seed}: {:?}", net.faults);
        }
    }
    assert!(crossed > 1, "{crossed} times two links were up at once");
}

#[test]
fn a_link_that_has_ended_is_not_counted_where_that_is_known() {
    let mut net = pair(|_| {});
    assert!(net.link_up());
    assert_eq!(net.up(), 2);
    net.host.computer(B).crash();
    let mut downs = 0;
    net.run(millis(1_000), |_, id, note| {
        downs += u32::from(id == A && matches!(note, Note::Told(Event::PeerDown { .. })));
    });
    assert_eq!((downs, net.up()), (1, 1), "who crashed tells nothing");
}

#[test]
fn a_load_in_bursts_comes_mostly_at_few_nodes() {
    let came = |arrivals| {
        let load = weir_sim::flood::Load { arrivals, ..common::load(100, 4, 4) };
        let mut flood = Flood::new(pair(|_| {}).setup().clone(), load).unwrap();
        flood.run();
        [A, B].map(|id| flood.net.pool_traffic([id].into_iter()).bodies)
    };
    let [at_a, at_b] = came(Arrivals::Even);
    assert!(at_a > 150 && at_b > 150, "{at_a} and {at_b} of 400");
    let [at_a, at_b] = came(Arrivals::Bursts);
    assert!(at_a < 130 && at_b > 270, "A, the first tenth, has three of four: {at_a} and {at_b} came");
}

#[test]
fn a_misbehaving_peer_acts_at_its_own_time() {
    let first = |late: Option<Duration>| {
        let mut net = pair(|_| {});
        if let Some(late) = late {
            net.host.computer(A).tamper(Box::new(Late::new(late)));
        }
        assert!(net.link_up());
        let began = net.host.now();
        insert(&mut net, A, 0..1);
        accepted(&mut net, 20_000, B)[0].since(began)
    };
    let (usual, late) = (first(None), first(Some(millis(2_000))));
    assert!(late >= usual + millis(3_900), "its offer and its item: {late:?}, and {usual:?} otherwise");
}
