//! Who is dialled, who is refused, who is banned, and for how long.

use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::stream::{Goodbye, Side};
use weir_base::{Blame, Fault, Instant, NetworkId};
use weir_stack::{
    Action, BannedBy, Command, Config, DialProblem, DownReason, Event, Known, Network, Profile, Reaction,
    Refusal, Refused, Role, peers, tip,
};

use crate::net::{Carrier, Net, TIP, config, profile};

fn wrong_network(reason: DownReason) -> bool {
    matches!(reason, DownReason::Closed(Goodbye::WrongNetwork) | DownReason::ByPeer(Goodbye::WrongNetwork))
}

#[test]
fn another_network_is_refused_with_its_reason_and_without_blame() {
    for carrier in Carrier::ALL {
        let mut net = Net::new(carrier, 1);
        net.add(config());
        let other = Profile { network: NetworkId([8; 32]), ..profile() };
        net.add(Config { profile: other, ..config() });
        let (peer, addresses) = (Some(net.nodes[1].peer), vec![net.address(1)]);
        let dial = net.command(0, Command::Dial { peer, addresses });
        let reason = net.wait(0, |event| match event {
            Event::DialFailed { ticket, reason: DialProblem::Hello(reason) } if *ticket == dial => {
                Some(*reason)
            }
            _ => None,
        });
        assert!(wrong_network(reason), "{reason:?}");
        let reason = net.wait(1, |event| match event {
            Event::Refused { reason, .. } => Some(*reason),
            _ => None,
        });
        assert!(wrong_network(reason), "{reason:?}");
        for node in [0, 1] {
            let records: Vec<_> = net.nodes[node].stack.peers().records(net.now).collect();
            assert!(records.is_empty(), "nobody's fault {records:?} {:?}", net.nodes[node].events);
            assert!(!net.nodes[node].events.iter().any(|event| matches!(event, Event::PeerUp { .. })));
        }
    }
}

/// Node 1 publishes tips that node 0 rejects.
fn offend(net: &mut Net, tips: u8) {
    for number in 0..tips {
        let value = Bytes::from(vec![number; 100]);
        let grounds = tip::Grounds { slot: tip::SlotKey([number; 32]), unvalidated: 0, begins: None };
        net.pull(1, weir_pull::Command::Tip(TIP, tip::Command::Publish { value, grounds }));
        net.run_for(Duration::from_secs(1));
        while let Some(ticket) = net.take(0, |event| match event {
            Event::Tip(TIP, tip::Event::Received { ticket, .. }) => Some(*ticket),
            _ => None,
        }) {
            let verdict = tip::Command::Verdict { ticket, verdict: tip::Verdict::Reject };
            net.pull(0, weir_pull::Command::Tip(TIP, verdict));
        }
        net.run_for(Duration::from_secs(1));
    }
}

fn reactions(net: &mut Net) -> Vec<Reaction> {
    let mut all = Vec::new();
    while let Some(reaction) = net.take(0, |event| match event {
        Event::Fault { reaction, .. } => Some(*reaction),
        _ => None,
    }) {
        all.push(reaction);
    }
    all
}

#[test]
fn faults_disconnect_then_ban_and_a_ban_ends() {
    let mut net = Net::line(Carrier::Frames, 2, 2);
    let peer = net.nodes[1].peer;
    offend(&mut net, 30);
    let reactions = reactions(&mut net);
    assert!(reactions.contains(&Reaction::Disconnect), "{reactions:?}");
    assert!(matches!(reactions.last(), Some(Reaction::Ban { .. })), "{reactions:?}");
    assert!(!net.are_peers(0, 1));
    let until = net.nodes[0].stack.peers().standing().banned(net.now, &peer).expect("banned");
    assert!(until.since(net.now) <= Duration::from_secs(600));
    // A persistent peer is not exempt: it is neither dialled nor let in while the ban lasts.
    net.know(1, 0, Role::Persistent);
    net.run_for(Duration::from_secs(60));
    assert!(!net.are_peers(0, 1));
    let address = vec![net.address(1)];
    let dial = Command::Dial { peer: Some(peer), addresses: address };
    assert_eq!(net.try_command(0, dial), Err(Refused::Banned));
    let kept = net.nodes[0].kept.iter().rev().find_map(|action| match action {
        Action::Persist { peer: whose, record } if *whose == peer => record.clone(),
        _ => None,
    });
    assert!(kept.is_some_and(|record| record.banned_until.is_some()), "the host was asked to keep it");
    let until = net.now + Duration::from_secs(1200);
    assert!(net.run_until(until, |net| net.are_peers(0, 1)), "both dial again once it is over");
    assert!(net.take(0, |event| matches!(event, Event::Released(_)).then_some(())).is_some());
}

#[test]
fn an_application_reports_a_peer_and_standing_decides() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 11, 2);
        let peer = net.nodes[1].peer;
        let wrong = Fault::invalid("a block without its parent");
        net.command(0, Command::Report { peer, fault: wrong });
        let link = net.nodes[0].stack.peers().ready_link(&peer);
        let told = net.wait(0, |event| match event {
            Event::Fault { link, address, peer, fault, .. } => Some((*link, address.clone(), *peer, *fault)),
            _ => None,
        });
        let address = (carrier != Carrier::Frames).then(|| net.address(1));
        assert_eq!(told, (link, address.clone(), peer, wrong));
        let share = net.nodes[0].stack.peers().links().next().map(|(_, linked)| linked.share);
        assert_eq!(share, Some(peers::Share::Half));
        net.command(0, Command::Report { peer, fault: Fault::misbehaved("a wrong greeting") });
        let down = net.wait(0, |event| match event {
            Event::PeerDown { address, reason, .. } => Some((address.clone(), *reason)),
            _ => None,
        });
        let sent_away = (address, DownReason::Closed(Goodbye::Fault));
        assert_eq!(down, sent_away, "a peer with so many points is sent away");
        net.nodes[0].events.clear();
        // It counts while there is no link, too.
        net.command(0, Command::Report { peer, fault: Fault::misbehaved("a wrong greeting") });
        let told = net.take(0, |event| match event {
            Event::Fault { link: None, reaction, .. } => Some(*reaction),
            _ => None,
        });
        assert!(matches!(told, Some(Reaction::Ban { .. })), "{told:?}");
        assert!(net.nodes[0].stack.peers().standing().banned(net.now, &peer).is_some());
    }
}

#[test]
fn a_tip_is_judged_though_its_deliverer_has_left() {
    let mut net = Net::line(Carrier::Frames, 12, 2);
    let value = Bytes::from_static(b"a wrong tip");
    let grounds = tip::Grounds { slot: tip::SlotKey([1; 32]), unvalidated: 0, begins: None };
    net.pull(1, weir_pull::Command::Tip(TIP, tip::Command::Publish { value, grounds }));
    let ticket = net.wait(0, |event| match event {
        Event::Tip(TIP, tip::Event::Received { ticket, .. }) => Some(*ticket),
        _ => None,
    });
    net.command(1, Command::Shutdown { deadline: Duration::from_secs(1) });
    net.wait(0, |event| matches!(event, Event::PeerDown { .. }).then_some(()));
    let verdict = tip::Command::Verdict { ticket, verdict: tip::Verdict::Reject };
    net.pull(0, weir_pull::Command::Tip(TIP, verdict));
    let told = net.take(0, |event| match event {
        Event::Fault { link, peer, fault, .. } => Some((*link, *peer, fault.blame)),
        _ => None,
    });
    assert_eq!(told, Some((None, net.nodes[1].peer, Blame::Invalid)));
}

#[test]
fn faults_make_a_share_smaller_until_they_are_forgotten() {
    let mut net = Net::line(Carrier::Frames, 10, 2);
    offend(&mut net, 2);
    let share = |net: &Net| net.nodes[0].stack.peers().links().next().unwrap().1.share;
    assert!(share(&net) < peers::Share::Full);
    net.run_for(Duration::from_secs(1200));
    assert_eq!(share(&net), peers::Share::Full);
}

#[test]
fn an_operator_bans_and_forgives() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 3, 2);
        let peer = net.nodes[1].peer;
        net.command(0, Command::Ban { peer, duration: Duration::from_secs(3600) });
        net.run_for(Duration::from_secs(10));
        assert!(!net.are_peers(0, 1));
        let reason = net.wait(1, |event| match event {
            Event::PeerDown { reason, .. } => Some(*reason),
            _ => None,
        });
        assert!(
            matches!(reason, DownReason::ByPeer(Goodbye::Banned) | DownReason::Closed(Goodbye::Banned)),
            "{reason:?}"
        );
        let record = net.nodes[0].stack.peers().records(net.now).next().unwrap();
        net.command(0, Command::Unban(peer));
        let until = net.now + Duration::from_secs(30);
        assert!(net.run_until(until, |net| net.are_peers(0, 1)));
        // The same record handed to a node that starts anew bans there too.
        let fresh = net.add(config());
        net.command(fresh, Command::Restore(record));
        assert!(net.nodes[fresh].stack.peers().standing().banned(net.now, &peer).is_some());
        net.command(fresh, Command::Forgive(peer));
        assert!(net.nodes[fresh].stack.peers().standing().banned(net.now, &peer).is_none());
        assert_eq!(net.nodes[fresh].stack.peers().records(net.now).count(), 0);
    }
}

#[test]
fn the_ban_of_a_network_is_kept_for_the_next_run() {
    let mut net = Net::line(Carrier::Quic, 13, 2);
    let network = Network { address: "10.0.0.0".parse().unwrap(), bits: 24 };
    net.command(1, Command::BanNetwork { network, duration: Duration::from_secs(3600) });
    net.run_for(Duration::from_secs(10));
    assert!(!net.are_peers(0, 1));
    let kept = |net: &Net| {
        net.nodes[1].kept.iter().rev().find_map(|action| match action {
            Action::PersistNetwork { network, ban } => Some((*network, *ban)),
            _ => None,
        })
    };
    let (name, ban) = kept(&net).expect("the host is asked to keep it");
    assert_eq!((name, ban.map(|ban| ban.by)), (network, Some(BannedBy::Operator)));
    // The same ban handed to the node that starts anew holds there too.
    net.restart(1, config());
    net.command(1, Command::RestoreNetwork(ban.unwrap()));
    net.run_for(Duration::from_secs(600));
    assert!(!net.are_peers(0, 1));
    net.command(1, Command::UnbanNetwork(network));
    let until = net.now + Duration::from_secs(300);
    assert!(net.run_until(until, |net| net.are_peers(0, 1)));
    assert_eq!(kept(&net), Some((network, None)), "and to forget it");
}

#[test]
fn a_banned_peer_is_not_dialled_even_if_it_is_persistent() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 3, 2);
        let peer = net.nodes[1].peer;
        net.command(0, Command::Ban { peer, duration: Duration::from_secs(3600) });
        net.run_for(Duration::from_secs(60));
        net.logging = true;
        net.run_for(Duration::from_secs(1800));
        assert_eq!(net.log.len(), 0, "only node 0 knows the other, and sends it nothing");
    }
}

#[test]
fn a_persistent_peer_is_never_given_up_and_the_pause_stays_capped() {
    let mut net = Net::new(Carrier::Frames, 4);
    net.add(config());
    let lost = net.add(config());
    net.crash(lost);
    net.know(0, lost, Role::Persistent);
    let mut tries: Vec<Instant> = Vec::new();
    let until = net.now + Duration::from_secs(4 * 3600);
    net.run_until(until, |net| {
        while net.take(0, |event| matches!(event, Event::Unreachable { .. }).then_some(())).is_some() {
            tries.push(net.now);
        }
        false
    });
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    let cap = Duration::from_secs(121);
    assert!(pauses.iter().all(|pause| *pause <= cap), "{pauses:?}");
    assert!(pauses[20..].iter().all(|pause| *pause >= Duration::from_secs(59)), "{pauses:?}");
    assert!(tries.len() > 100 && until.since(*tries.last().unwrap()) <= cap);
}

#[test]
fn a_candidate_is_given_up_and_candidates_fill_up_to_the_target() {
    let mut net = Net::new(Carrier::Frames, 5);
    let mut config = config();
    config.peers = peers::Config { target: 3, candidate_tries: 2, ..peers::Config::default() };
    net.add(config);
    for _ in 0..6 {
        net.add(crate::net::config());
    }
    net.crash(1);
    (1..7).for_each(|peer| net.know(0, peer, Role::Candidate));
    net.run_for(Duration::from_secs(300));
    assert_eq!(net.nodes[0].stack.peers().links().count(), 3);
    let before = net.nodes[0].events.len();
    net.run_for(Duration::from_secs(3600));
    let tried = net.nodes[0].events.iter().skip(before);
    assert_eq!(tried.filter(|event| matches!(event, Event::Unreachable { .. })).count(), 0);
}

#[test]
fn enough_links_are_the_nodes_own_even_where_inbound_ones_suffice() {
    let mut net = Net::new(Carrier::Frames, 6);
    let mut config = config();
    config.peers.target = 4;
    net.add(config);
    for _ in 0..8 {
        net.add(crate::net::config());
    }
    (1..6).for_each(|peer| net.know(peer, 0, Role::Persistent));
    net.run_for(Duration::from_secs(5));
    assert_eq!(net.nodes[0].stack.peers().links().count(), 5);
    (6..9).for_each(|peer| net.know(0, peer, Role::Candidate));
    net.run_for(Duration::from_secs(5));
    let own = net.nodes[0].stack.peers().links().filter(|(_, linked)| linked.info.dialler).count();
    assert_eq!(own, 2, "min(8, target / 2)");
}

#[test]
fn a_pinned_peer_counts_as_chosen_whoever_dialled() {
    for carrier in Carrier::ALL {
        let mut net = Net::new(carrier, 7);
        net.add(config());
        net.add(config());
        let (peer, addresses) = (Some(net.nodes[1].peer), vec![net.address(1)]);
        net.crash(1); // so that its dial comes first
        net.command(0, Command::AddPeer(Known { peer, addresses, role: Role::Pinned }));
        net.run_for(Duration::from_secs(60));
        net.nodes[1].alive = true;
        net.know(1, 0, Role::Persistent);
        net.run_for(Duration::from_secs(2));
        assert!(net.are_peers(0, 1));
        let side = |net: &Net, node: usize| {
            net.nodes[node].stack.peers().links().next().map(|(_, linked)| linked.info.side)
        };
        assert_eq!(side(&net, 0), Some(Side::Pinned));
        assert_eq!(side(&net, 1), Some(Side::Dialled));
    }
}

#[test]
fn a_peer_that_comes_back_is_linked_again() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 8, 2);
        net.command(1, Command::Disconnect(net.nodes[0].peer));
        net.run_for(Duration::from_millis(200));
        assert!(!net.are_peers(0, 1));
        let until = net.now + Duration::from_secs(30);
        assert!(net.run_until(until, |net| net.are_peers(0, 1)), "node 0 dials it again");
    }
}

#[test]
fn addresses_without_a_name_are_dialled_and_get_one() {
    for carrier in Carrier::ALL {
        let mut net = Net::new(carrier, 9);
        net.add(config());
        net.add(config());
        let addresses = vec![net.address(1)];
        net.command(0, Command::AddPeer(Known { peer: None, addresses, role: Role::Persistent }));
        net.run_for(Duration::from_secs(2));
        let named: Vec<PeerId> =
            net.nodes[0].stack.peers().links().map(|(_, linked)| linked.info.peer).collect();
        assert_eq!(named, [net.nodes[1].peer]);
    }
}

#[test]
fn a_peer_that_restarts_is_linked_again_within_2_s_of_coming_back() {
    for carrier in Carrier::ALL {
        for away in [1, 4, 5, 7, 12, 20] {
            let mut net = Net::line(carrier, away, 2);
            net.run_for(Duration::from_secs(15));
            net.command(1, Command::Shutdown { deadline: Duration::from_secs(1) });
            net.run_for(Duration::from_secs(1));
            net.crash(1);
            net.run_for(Duration::from_secs(away));
            net.restart(1, config());
            net.nodes[1].alive = true;
            let back = net.now;
            let linked = net.run_until(back + Duration::from_secs(2), |net| net.are_peers(0, 1));
            assert!(linked, "{carrier:?}: away for {away} s");
        }
    }
}

#[test]
fn a_peer_that_opens_a_link_itself_is_tried_again_after_a_short_pause() {
    let mut net = Net::new(Carrier::Frames, 21);
    net.add(config());
    net.add(config());
    net.crash(1);
    net.know(0, 1, Role::Persistent);
    net.run_for(Duration::from_secs(600)); // the pause is 2 minutes by now
    net.nodes[1].alive = true;
    net.know(1, 0, Role::Persistent);
    assert!(net.run_until(net.now + Duration::from_secs(2), |net| net.are_peers(0, 1)));
    net.command(1, Command::RemovePeer(net.nodes[0].peer));
    net.command(1, Command::Disconnect(net.nodes[0].peer));
    net.run_for(Duration::from_millis(200));
    assert!(!net.are_peers(0, 1));
    assert!(net.run_until(net.now + Duration::from_secs(2), |net| net.are_peers(0, 1)), "by node 0");
}

#[test]
fn an_operator_bans_a_network() {
    let mut net = Net::line(Carrier::Quic, 22, 2);
    let network = weir_stack::Network { address: "10.0.0.0".parse().unwrap(), bits: 24 };
    let duration = Duration::from_secs(3600);
    net.command(0, Command::BanNetwork { network, duration });
    net.run_for(Duration::from_secs(10));
    assert!(!net.are_peers(0, 1));
    let addresses = vec![net.address(1)];
    assert_eq!(net.try_command(0, Command::Dial { peer: None, addresses }), Err(Refused::Banned));
    let told = net.wait(1, |event| match event {
        Event::PeerDown { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(told, DownReason::ByPeer(Goodbye::Banned), "it is told why");
    net.know(1, 0, Role::Persistent);
    net.logging = true;
    net.run_for(Duration::from_secs(60));
    assert!(!net.are_peers(0, 1), "neither dialled nor answered");
    assert!(net.log.iter().all(|(_, from, ..)| *from == 1) && !net.log.is_empty());
    let refusal = net.take(0, |event| match event {
        Event::ConnectionRefused { refusal, .. } => Some(refusal.clone()),
        _ => None,
    });
    assert!(matches!(refusal, Some(Refusal::BannedNetwork { network: of, .. }) if of == network));
    assert_eq!(net.nodes[0].stack.peers().banned_networks().count(), 1);
    net.command(0, Command::UnbanNetwork(network));
    assert!(net.run_until(net.now + Duration::from_secs(2), |net| net.are_peers(0, 1)), "tried at once");
    assert!(net.nodes.iter().all(|node| node.stack.stats().faults == 0), "a ban is nobody's fault");
    net.command(0, Command::BanNetwork { network, duration: Duration::from_secs(5) });
    net.run_for(Duration::from_secs(6));
    let released = net.take(0, |event| match event {
        Event::NetworkReleased(network) => Some(*network),
        _ => None,
    });
    assert_eq!(released, Some(network));
}

#[test]
fn throwaway_identities_get_their_prefix_banned_but_no_peer_that_was_dialled() {
    let mut net = Net::new(Carrier::Quic, 23);
    for _ in 0..8 {
        net.add(config());
    }
    net.know(0, 7, Role::Persistent); // in the same prefix
    net.run_for(Duration::from_secs(2));
    for offender in 1..6 {
        net.know(offender, 0, Role::Persistent);
        net.run_for(Duration::from_secs(1));
        assert!(net.are_peers(0, offender));
        for _ in 0..2 {
            let fault = Fault::misbehaved("an attack");
            net.command(0, Command::Report { peer: net.nodes[offender].peer, fault });
        }
    }
    let banned = net.wait(0, |event| match event {
        Event::NetworkBanned { network, .. } => Some(*network),
        _ => None,
    });
    assert_eq!((banned.address, banned.bits), ("10.0.0.0".parse().unwrap(), 24));
    net.know(6, 0, Role::Persistent);
    net.run_for(Duration::from_secs(30));
    assert!(!net.are_peers(0, 6), "a fresh identity from there does not come in");
    assert!(net.are_peers(0, 7), "who was dialled stays");
}

#[test]
fn of_too_many_links_those_of_the_worst_peers_are_closed_once_they_had_their_time() {
    for carrier in Carrier::ALL {
        let mut net = Net::new(carrier, 31);
        let mut trimming = config();
        trimming.peers.target = 1;
        trimming.peers.trim = Some(peers::Trim { above: 4, to: 3, grace: Duration::from_secs(30) });
        net.add(trimming);
        for node in 1..=4 {
            net.add(config());
            if node < 4 {
                net.know(node, 0, Role::Candidate);
            }
        }
        net.know(0, 4, Role::Persistent);
        net.run_for(Duration::from_secs(20));
        offend_as(&mut net, 1);
        offend_as(&mut net, 4);
        net.run_for(Duration::from_secs(60));
        let linked =
            |net: &Net| (1..net.nodes.len()).filter(|node| net.are_peers(0, *node)).collect::<Vec<_>>();
        assert_eq!(linked(&net), [1, 2, 3, 4], "four are not too many");
        net.add(config());
        net.know(5, 0, Role::Candidate);
        let mut down = [0; 2].map(|_| {
            net.wait(0, |event| match event {
                Event::PeerDown { peer, reason: DownReason::Closed(Goodbye::Full), .. } => Some(*peer),
                _ => None,
            })
        });
        // The fifth is young, and the fourth is kept whatever it did: the worst goes, and the youngest of those that had their time.
        let mut gone = [1, 3].map(|node: usize| net.nodes[node].peer);
        down.sort_unstable();
        gone.sort_unstable();
        assert_eq!(down, gone, "{carrier:?}");
        net.run_for(Duration::from_millis(200));
        assert!(net.are_peers(0, 2) && net.are_peers(0, 4) && net.are_peers(0, 5));
        assert_eq!(
            net.nodes[0].events.iter().filter(|event| matches!(event, Event::PeerDown { .. })).count(),
            0
        );
    }
}

/// The application of node 0 reports another node.
fn offend_as(net: &mut Net, node: usize) {
    let peer = net.nodes[node].peer;
    net.command(0, Command::Report { peer, fault: Fault::invalid("useless") });
}
