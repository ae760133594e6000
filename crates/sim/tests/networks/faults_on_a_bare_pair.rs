//! What the simulator can do to nodes and paths, each shown on two bare nodes.

use crate::common;
use crate::pair::{A, B, accepted, both, insert, linked_after, millis, pair};

use std::time::Duration;

use weir_base::Instant;
use weir_sim::flood::{TXS, transaction};
use weir_sim::misbehave::{Damage, Garbler};
use weir_sim::{
    Actor, Checking, Dials, Host, LAN, Model, Network, Node, NodeId, Note, Path, Place, Processor, Rng,
    Transport, Udp,
};
use weir_stack::{Event, Stack};

/// A line down on which many datagrams wait.
const NARROW: weir_sim::Line = weir_sim::Line { down: 2_000_000, up: 1_000_000_000 };

#[test]
fn a_dial_into_silence_is_tried_again_after_a_second() {
    let mut net = pair(|_| {});
    both(&mut net, Path::Silent);
    net.dial(A, B);
    net.run(millis(500), |_, _, _| {});
    both(&mut net, Path::Open);
    assert!(!linked_after(&mut net, 450));
    assert!(linked_after(&mut net, 250));
}

#[test]
fn where_only_the_way_back_is_silent_no_wire_comes_up() {
    let mut net = pair(|_| {});
    net.host.set_path(B, A, Path::Silent);
    net.dial(A, B);
    assert!(!linked_after(&mut net, 2_500));
    net.host.heal(B, A);
    assert!(linked_after(&mut net, 1_000), "at the third attempt, after 3 s");
}

#[test]
fn what_waits_for_a_silent_path_goes_on_at_its_systems_next_attempt() {
    let mut net = pair(|_| {});
    net.link_up();
    net.run(millis(1_000), |_, _, _| {});
    net.host.block(A, B);
    insert(&mut net, A, 0..1);
    let began = net.host.now();
    assert_eq!(accepted(&mut net, 2_000, B), []);
    net.host.heal(A, B);
    let times = accepted(&mut net, 3_000, B);
    let after = times[0].since(began);
    // offered within 100 ms, then tried again 0.2, 0.6, 1.4 and 3.0 s later
    assert!((millis(3_000)..millis(3_300)).contains(&after), "{after:?}");
}

#[test]
fn of_a_crash_the_peer_hears_and_of_a_loss_of_power_it_does_not() {
    let mut crashed = pair(|_| {});
    crashed.link_up();
    crashed.host.computer(B).crash();
    crashed.run(millis(50), |_, _, _| {});
    assert!(!crashed.linked(A, B));

    let mut dark = pair(|_| {});
    dark.link_up();
    dark.host.computer(B).power_off();
    dark.run(millis(10_000), |_, _, _| {});
    assert!(dark.linked(A, B));
    dark.restart(B).unwrap();
    dark.run(millis(20_000), |_, _, _| {});
    assert!(!dark.linked(A, B), "the restarted system resets what it does not know, at the next ping");
}

#[test]
fn a_dial_to_a_crashed_node_is_refused_and_one_to_a_dark_node_is_not_answered() {
    let failed = |net: &mut Network| {
        net.dial(A, B);
        let mut failed = false;
        net.run(millis(100), |_, _, note| failed |= matches!(note, Note::Told(Event::DialFailed { .. })));
        failed
    };
    let mut net = pair(|_| {});
    net.host.computer(B).crash();
    assert!(failed(&mut net));
    let mut net = pair(|_| {});
    net.host.computer(B).power_off();
    assert!(!failed(&mut net));
}

#[test]
fn a_hung_node_accepts_wires_and_answers_when_it_goes_on() {
    let mut net = pair(|_| {});
    net.host.computer(B).hang();
    net.dial(A, B);
    assert!(!linked_after(&mut net, 2_000));
    net.host.computer(B).go_on();
    assert!(linked_after(&mut net, 100));
}

#[test]
fn a_resetting_path_ends_wires_and_refuses_dials() {
    let mut net = pair(|_| {});
    net.link_up();
    both(&mut net, Path::Resetting);
    net.run(millis(10), |_, _, _| {});
    assert!(!net.linked(A, B) && !net.linked(B, A));
    net.dial(A, B);
    assert!(!linked_after(&mut net, 1_000));
    both(&mut net, Path::Open);
    net.dial(A, B);
    assert!(linked_after(&mut net, 100));
}

#[test]
fn a_busy_node_answers_late() {
    let round = |turn| {
        let mut net = pair(|setup| setup.model.processor = Processor { turn, ..Processor::INSTANT });
        net.dial(A, B);
        let mut up = None;
        net.run(millis(5_000), |net, _, note| {
            if matches!(note, Note::Told(Event::PeerUp { .. })) {
                up.get_or_insert(net.host.now());
            }
        });
        up.unwrap()
    };
    let late = round(millis(20)).since(round(Duration::ZERO));
    assert!(late >= millis(40), "{late:?}");
}

#[test]
fn a_turn_takes_as_many_datagrams_as_the_native_host_takes() {
    let mut net = pair(|setup| setup.transport = Transport::Quic);
    net.host.computer(B).hang();
    for port in 1..=100 {
        let from = std::net::SocketAddr::from(([9, 9, 9, 9], port));
        net.host.inject(from, B, &[0; 20]);
    }
    net.run(millis(100), |_, _, _| {});
    net.host.computer(B).go_on();
    let mut turns = 0;
    let limit = net.host.now() + millis(100);
    while let Some(step) = net.host.step(limit) {
        turns += u32::from(step == weir_sim::Step::Turned(B));
    }
    assert_eq!(turns, 4, "32 runs of one sender each, three times, and the rest");
}

#[test]
fn a_full_socket_drops_datagrams() {
    let mut net = pair(|setup| setup.transport = Transport::Quic);
    net.host.computer(B).hang();
    let from = std::net::SocketAddr::from(([9, 9, 9, 9], 9));
    for _ in 0..4_000 {
        net.host.inject(from, B, &[0; 1_200]);
        net.host.run(Duration::from_micros(20));
    }
    let dropped = net.host.traffic(B).dropped;
    assert!((500..520).contains(&dropped), "4 MiB wait: {dropped}");
}

#[test]
fn a_fast_clock_comes_to_its_deadlines_early() {
    let wait = |drift| {
        let mut net = pair(|setup| setup.checking = Checking::After(millis(10_000)));
        net.link_up();
        net.host.computer(B).set_drift(drift);
        net.run(millis(1_000), |_, _, _| {});
        insert(&mut net, A, 0..1);
        let began = net.host.now();
        accepted(&mut net, 20_000, B)[0].since(began)
    };
    let (usual, fast) = (wait(0), wait(100_000));
    let earlier = usual.checked_sub(fast).unwrap();
    assert!((millis(850)..millis(950)).contains(&earlier), "a tenth of ten seconds, and {earlier:?}");
}

#[test]
fn a_link_outlives_datagrams_that_come_twice_or_with_a_wrong_bit() {
    let mut net = pair(|setup| {
        setup.transport = Transport::Quic;
        setup.model.duplicated_per_million = 500_000;
        setup.model.corrupted_per_million = 20_000;
    });
    assert!(net.link_up());
    net.run(millis(1_000), |_, _, _| {});
    insert(&mut net, A, 0..20);
    assert_eq!(accepted(&mut net, 10_000, B).len(), 20);
    assert!(net.faults.is_empty(), "{:?}", net.faults);
    let (sent, came) = (net.host.traffic(A).packets_out, net.host.traffic(B).packets_in);
    assert!(came > sent + sent / 4, "{came} of {sent}");
}

#[test]
fn a_link_outlives_datagrams_that_are_overtaken() {
    let run = |reordered_per_million| {
        let mut net = pair(|setup| {
            setup.transport = Transport::Quic;
            (setup.model.reordered_per_million, setup.model.jitter_percent) = (reordered_per_million, 50);
        });
        assert!(net.link_up());
        net.run(millis(1_000), |_, _, _| {});
        insert(&mut net, A, 0..200);
        assert_eq!(accepted(&mut net, 10_000, B).len(), 200);
        assert!(net.faults.is_empty() && net.linked(A, B), "{:?}", net.faults);
        net.host.traffic(B).overtaken
    };
    assert_eq!(run(0), 0, "jitter alone changes no order");
    let overtaken = run(300_000);
    assert!(overtaken > 10, "{overtaken}");
}

/// A links to B over this transport and damages what it sends from then on: what B has of A's 200 items after 10 s, and the network.
fn garbled(transport: Transport, damage: Damage) -> (usize, Network) {
    let mut net = pair(|setup| setup.transport = transport);
    assert!(net.link_up());
    net.run(millis(1_000), |_, _, _| {});
    net.host.computer(A).tamper(Box::new(Garbler::new(damage, Rng::from_number(1))));
    insert(&mut net, A, 0..200);
    let came = accepted(&mut net, 10_000, B).len();
    (came, net)
}

#[test]
fn a_peer_that_damages_its_datagrams_delivers_over_quic_and_is_not_blamed() {
    let damage = Damage { corrupted: 200_000, doubled: 500_000, overtaken: 200_000, flipped: 0 };
    let (came, net) = garbled(Transport::Quic, damage);
    assert_eq!(came, 200);
    assert!(net.faults.is_empty(), "{:?}", net.faults);
    let (from, to) = (net.host.traffic(A), net.host.traffic(B));
    let (_, untouched) = garbled(Transport::Quic, Damage::default());
    let (usual, usually) = (untouched.host.traffic(A).packets_out, untouched.host.traffic(B).overtaken);
    assert!(from.packets_out > usual + usual / 4, "{} of {usual}: many are sent twice", from.packets_out);
    assert!(to.overtaken > 10 && usually == 0, "{} and {usually}", to.overtaken);
}

#[test]
fn a_flipped_bit_ends_a_link_over_tcp_and_delivers_nothing_false() {
    let (came, mut net) = garbled(Transport::Tcp, Damage { flipped: 1_000_000, ..Damage::default() });
    assert_eq!((came, net.linked(B, A)), (0, false), "the first record with a wrong bit ends it");
    assert!(net.faults.is_empty(), "a path may have done it: {:?}", net.faults);
    let (came, mut net) = garbled(Transport::Tcp, Damage::default());
    assert_eq!((came, net.linked(B, A)), (200, true));
}

#[test]
fn a_path_that_turns_bits_ends_byte_streams_and_they_come_again() {
    let mut net = pair(|setup| {
        setup.transport = Transport::Tcp;
        setup.model.flipped_per_million = 20_000;
    });
    net.name(A, &[B]).unwrap();
    net.run(millis(5_000), |_, _, _| {});
    let mut downs = 0;
    for number in 0..100 {
        insert(&mut net, A, number..number + 1);
        net.run(millis(500), |_, id, note| {
            downs += u32::from(id == B && matches!(note, Note::Told(Event::PeerDown { .. })));
        });
    }
    net.run(millis(30_000), |_, _, _| {});
    let altered = net.host.traffic(A).altered + net.host.traffic(B).altered;
    assert!(downs > 0 && altered >= u64::from(downs), "{downs} ends of {altered} turned bits");
    assert!(net.faults.is_empty(), "{:?}", net.faults);
    let has = net.host.with(B, |actor, _| actor.stack().stats().pools[0].1.items);
    assert_eq!(has, Some(100));
}

#[test]
fn datagrams_longer_than_a_path_carries_vanish() {
    let linked = |mtu: usize| {
        let mut net = pair(|setup| {
            setup.transport = Transport::Quic;
            setup.model.mtu = mtu;
        });
        net.dial(A, B);
        let linked = linked_after(&mut net, 5_000);
        insert(&mut net, A, 0..20);
        (linked, accepted(&mut net, 5_000, B).len(), net.host.traffic(A).dropped > 0)
    };
    assert_eq!(
        linked(1_100),
        (false, 0, true),
        "a handshake takes datagrams of 1,200 bytes (RFC 9000, section 14.1)"
    );
    assert_eq!(linked(1_250), (true, 20, true), "the longest that gets through is found");
}

#[test]
fn what_waits_long_before_a_line_is_marked_and_the_sender_drives_slower() {
    let carried = |narrow: bool| {
        let mut net = pair(|setup| {
            setup.transport = Transport::Quic;
            setup.model.queue = millis(400);
            if narrow {
                setup.place =
                    |number, _| if number == 1 { Place { line: NARROW, ..Place::NEAR } } else { Place::NEAR };
            }
        });
        assert!(net.link_up());
        net.run(millis(1_000), |_, _, _| {});
        insert(&mut net, A, 0..1_000);
        assert_eq!(accepted(&mut net, 30_000, B).len(), 1_000);
        let traffic = net.host.traffic(B);
        (traffic.marked > 0, traffic.dropped)
    };
    assert_eq!(carried(true), (true, 0), "marks came before any loss");
    assert_eq!(carried(false), (false, 0));
}

#[test]
fn behind_a_rebound_port_a_link_goes_on_from_another_address() {
    let mut net = pair(|setup| setup.transport = Transport::Quic);
    net.dial(A, B);
    assert!(linked_after(&mut net, 1_000));
    let address = net.host.world().udp_of(A);
    net.host.computer(A).rebind();
    net.host.capture();
    insert(&mut net, A, 0..20);
    assert_eq!(accepted(&mut net, 1_000, B).len(), 20);
    insert(&mut net, B, 20..40);
    assert_eq!(accepted(&mut net, 1_000, A).len(), 20);
    let sent = net.host.capture();
    let mut from_a = sent.iter().filter(|captured| captured.to == B);
    assert!(from_a.all(|captured| captured.from != address), "the flow has another port");
    assert!(net.faults.is_empty(), "{:?}", net.faults);
}

#[test]
fn a_flow_that_came_to_a_forwarded_port_keeps_it() {
    let mut net = pair(|setup| setup.transport = Transport::Quic);
    net.dial(A, B);
    assert!(linked_after(&mut net, 1_000));
    let address = net.host.world().udp_of(B);
    net.host.computer(B).rebind();
    net.host.capture();
    insert(&mut net, B, 0..20);
    assert_eq!(accepted(&mut net, 1_000, A).len(), 20);
    assert!(
        net.host
            .capture()
            .iter()
            .filter(|captured| captured.to == A)
            .all(|captured| captured.from == address)
    );
}

#[test]
fn a_node_that_moves_loses_its_wires() {
    let mut net = pair(|_| {});
    net.link_up();
    net.host.computer(B).relocate(Place { region: weir_sim::Region::Asia, ..Place::NEAR });
    net.run(millis(200), |_, _, _| {});
    assert!(!net.linked(A, B));
    net.dial(A, B);
    net.run(millis(200), |_, _, _| {});
    assert!(!net.linked(A, B), "a round trip takes 225 ms now");
    assert!(linked_after(&mut net, 1_000));
}

#[test]
fn a_wall_clock_that_is_set_changes_nothing_between_peers() {
    let mut net = pair(|_| {});
    net.link_up();
    let day = Duration::from_secs(86_400);
    for wall in [net.host.wall() + day, weir_sim::WALL] {
        net.host.computer(B).set_wall(wall);
        net.run(millis(1_000), |_, _, _| {});
        assert!(net.linked(A, B) && net.linked(B, A));
    }
    insert(&mut net, A, 0..20);
    assert_eq!(accepted(&mut net, 1_000, B).len(), 20);
    assert!(net.faults.is_empty(), "{:?}", net.faults);
}

#[test]
fn somebody_else_at_an_address_is_not_taken_for_who_was_there() {
    for transport in [Transport::Frames, Transport::Quic] {
        let mut net = pair(|setup| setup.transport = transport);
        net.name(A, &[B]).unwrap();
        assert!(linked_after(&mut net, 1_000));
        let before = net.host.world().peer(B).unwrap();
        net.host.computer(B).crash();
        net.replace(B).unwrap();
        net.run(millis(40_000), |_, _, _| {});
        assert_ne!(net.host.world().peer(B), Some(before));
        assert!(!net.linked(A, B), "{transport:?}: it is not who was named");
        net.dial(B, A);
        assert!(linked_after(&mut net, 1_000), "{transport:?}: but may dial");
        assert!(net.faults.is_empty(), "{:?}", net.faults);
    }
}

#[test]
fn neighbours_link_within_two_milliseconds() {
    let mut net = pair(|setup| setup.place = |_, _| Place { site: Some(1), ..Place::NEAR });
    assert_eq!(net.host.world().round_trip(A, B), LAN);
    net.dial(A, B);
    assert!(linked_after(&mut net, 2));
}

#[test]
fn what_an_application_kept_is_not_fetched_again_after_a_restart() {
    let bodies = |kept: bool| {
        let mut net = pair(|_| {});
        net.link_up();
        insert(&mut net, A, 0..20);
        net.run(millis(3_000), |_, _, _| {});
        net.host.computer(B).crash();
        let items = if kept { (0..20).map(|number| transaction(number, 1)).collect() } else { Vec::new() };
        net.restart_with(B, TXS, items).unwrap();
        net.run(millis(50), |_, _, _| {}); // A hears of the crash: before, a dial takes part in the link it believes in
        net.dial(A, B);
        net.run(millis(3_000), |_, _, _| {});
        net.pool_traffic([B].into_iter()).bodies
    };
    assert_eq!((bodies(false), bodies(true)), (40, 20));
}

#[test]
fn an_incast_is_dropped_before_the_receivers_line_and_comes_in_the_end() {
    let mut setup = common::setup(13, 12, 3);
    (setup.model, setup.dials) = (Model::calm(), Dials::OneEnd);
    setup.model.queue = millis(5);
    setup.place = |number, _| {
        let line = weir_sim::Line { down: 4_000_000, up: 100_000_000 };
        if number == 0 { Place { line, ..Place::NEAR } } else { Place::NEAR }
    };
    let mut net = Network::new(setup).unwrap();
    net.link_up();
    for id in 1..13 {
        insert(&mut net, NodeId(id), id * 20..id * 20 + 20);
    }
    let count = accepted(&mut net, 20_000, A).len();
    assert_eq!(count, 240);
    assert!(net.host.traffic(A).dropped > 0);
    assert!(net.faults.is_empty(), "{:?}", net.faults);
}

/// A node whose timer may always be due.
struct Spinning(Actor, bool);

impl Node for Spinning {
    fn stack(&mut self) -> &mut Stack {
        self.0.stack()
    }

    fn turned(&mut self, now: Instant) -> bool {
        self.0.turned(now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.1 { Some(Instant::ZERO) } else { self.0.poll_timeout() }
    }
}

#[test]
fn a_node_whose_turns_never_end_ends_the_run_and_is_named() {
    for processor in [Processor::INSTANT, Processor { timer: Duration::ZERO, ..Processor::default() }] {
        let mut host = Host::new(1, Model { processor, ..Model::calm() });
        let config = std::sync::Arc::new(common::setup(1, 1, 1).config);
        for _ in 0..2 {
            host.add(Place::NEAR, Udp::None, |birth| {
                let (actor, peer) = Actor::new(&birth, config.clone(), Checking::AtOnce)?;
                Ok::<_, weir_stack::ConfigError>((Spinning(actor, birth.id == B), peer))
            })
            .unwrap();
        }
        host.run(millis(1_000));
        assert_eq!(host.endless(), Some(B));
    }
}
