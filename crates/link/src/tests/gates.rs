//! A node's own lists and rule refuse connections before a dial, at accept and after the handshake, and say why.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use weir_base::identity::PeerId;

use super::harness::{Net, Over, config, keypair};
use crate::gate::Refusal;
use crate::{Attempt, Ban, Config, Dial, DialFailure, Gate, Network};

const SECOND: Duration = Duration::from_secs(1);
const OVER: [Over; 3] = [Over::Quic, Over::QuicNamed, Over::Tcp];

fn deny(list: &[&str]) -> Config {
    let mut config = config();
    config.admission.deny = list.iter().map(|network| network.parse().unwrap()).collect();
    config
}

fn gated(rule: impl Fn(&Attempt<'_>) -> Result<(), Cow<'static, str>> + Send + Sync + 'static) -> Config {
    Config { gate: Some(Gate::new(rule)), ..config() }
}

fn nobody_is_up(net: &Net) -> bool {
    net.nodes.iter().all(|node| node.up.is_empty() && node.blamed.is_empty())
}

#[test]
fn a_denied_address_is_not_dialled() {
    for over in OVER {
        let mut net = Net::new(vec![deny(&["10.0.1.0/24"]), config()]);
        net.sniff = true;
        let dial = net.dial(over, 0, 1);
        net.run(SECOND);
        assert_eq!(net.nodes[0].failed, [(dial, DialFailure::Gated)], "{over:?}");
        assert!(net.sniffed.is_empty() && nobody_is_up(&net), "nothing was sent");
        let (peer, address, refusal, suppressed) = &net.nodes[0].refused[0];
        assert_eq!((peer, *suppressed), (&Some(keypair(1).peer_id()), 0));
        assert!(address.as_ref().unwrap().starts_with("/ip4/10.0.1.1/"), "{address:?}");
        assert_eq!(refusal.to_string(), "10.0.1.0/24 is in `admission.deny`");
    }
}

#[test]
fn who_is_denied_or_not_allowed_is_not_answered() {
    let mut allow = config();
    allow.admission.allow = vec!["10.0.7.0/24".parse().unwrap()];
    for over in OVER {
        for (list, reason) in [
            (deny(&["10.0.0.0/24"]), "10.0.0.0/24 is in `admission.deny`"),
            (allow.clone(), "10.0.0.1 is in no network of `admission.allow`"),
        ] {
            let mut net = Net::new(vec![config(), list]);
            net.dial(over, 0, 1);
            net.run(Duration::from_secs(20));
            assert!(nobody_is_up(&net) && net.nodes[0].failed.len() == 1, "{over:?}");
            assert_eq!(net.nodes[1].links.stats().half_open, 0);
            let (peer, address, refusal, _) = &net.nodes[1].refused[0];
            assert_eq!((peer, address.as_deref()), (&None, Some("/ip4/10.0.0.1")));
            assert_eq!(refusal.to_string(), reason);
        }
    }
}

const EVERYBODY: Network = Network { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), bits: 16 };

/// Three nodes, of which the second bans the network that all are in.
fn banned(ban: Ban) -> Net {
    let mut net = Net::new(vec![config(), config(), config()]);
    let until = net.now + SECOND * 3600;
    net.nodes[1].links.set_ban(ban, Some(until));
    net
}

#[test]
fn who_is_in_a_banned_network_is_neither_answered_nor_dialled() {
    for over in [Over::Quic, Over::Tcp] {
        let mut net = banned(Ban::Network(EVERYBODY));
        net.dial(over, 0, 1);
        let dial = net.dial(over, 1, 2);
        for _ in 0..20 {
            net.run(SECOND);
            assert_eq!(net.nodes[1].links.stats().half_open, 0);
        }
        assert!(nobody_is_up(&net), "{over:?}");
        assert_eq!(net.nodes[1].failed, [(dial, DialFailure::Gated)]);
        let told = |peer: &Option<PeerId>| {
            let of = |refused: &&(_, _, Refusal, _)| refused.0 == *peer;
            net.nodes[1].refused.iter().find(of).map(|refused| refused.2.clone())
        };
        for peer in [None, Some(net.peer(2))] {
            let Some(Refusal::BannedNetwork { network, .. }) = told(&peer) else { panic!("{over:?}") };
            assert_eq!(network, EVERYBODY);
        }
    }
}

#[test]
fn who_was_dialled_or_is_pinned_does_not_pay_for_its_neighbours() {
    for over in [Over::Quic, Over::Tcp] {
        let mut net = banned(Ban::Inbound(EVERYBODY));
        net.dial(over, 0, 1);
        net.run(SECOND * 11);
        assert!(nobody_is_up(&net) && net.nodes[1].links.stats().half_open == 0, "{over:?}");
        let nowhere = "/ip4/192.0.2.9/udp/1/quic-v1".parse().unwrap();
        let (now, peer) = (net.now, Some(net.peer(0)));
        net.nodes[1].links.dial(now, Dial { peer, addresses: vec![nowhere], pinned: true }).unwrap();
        net.run(SECOND * 20);
        net.join(over, 0, 1);
        net.dial(over, 2, 1);
        net.run(SECOND);
        let (peer, _, refusal, _) = net.nodes[1].refused.last().unwrap();
        assert_eq!(*peer, Some(net.peer(2)), "only its handshake shows that it is not pinned");
        assert!(matches!(refusal, Refusal::BannedNetwork { .. }));
        net.join(over, 1, 2);
        assert_eq!(net.nodes[1].links.stats().links, 2);
    }
}

#[test]
fn a_rule_sees_who_is_there_before_a_byte_of_an_application_moves() {
    let unwanted = keypair(0).peer_id();
    let rule = move |attempt: &Attempt<'_>| match attempt {
        Attempt::Secured { peer, dialler: false, address: Some(_) } if **peer == unwanted => {
            Err("not among the validators".into())
        }
        _ => Ok(()),
    };
    for over in OVER {
        let mut net = Net::new(vec![config(), gated(rule), config()]);
        net.dial(over, 0, 1);
        net.run(Duration::from_secs(20));
        assert!(net.nodes[1].up.is_empty() && net.nodes[1].opened.is_empty(), "{over:?}");
        assert!(net.nodes.iter().all(|node| node.blamed.is_empty()));
        let (peer, _, refusal, _) = &net.nodes[1].refused[0];
        assert_eq!(*peer, Some(unwanted));
        assert_eq!(*refusal, Refusal::Gate("not among the validators".into()));
        net.join(over, 2, 1);
    }
}

#[test]
fn a_rule_is_asked_about_dials_with_the_peer_and_the_address() {
    let (expected, remote) = (keypair(1).peer_id(), IpAddr::from([10, 0, 1, 1]));
    let rule = move |attempt: &Attempt<'_>| match attempt {
        Attempt::Dial { peer, remote: asked } => {
            assert_eq!((*peer, asked.ip(), asked.port()), (Some(&expected), remote, 4001));
            Err("maintenance".into())
        }
        _ => Ok(()),
    };
    for over in OVER {
        let mut net = Net::new(vec![gated(rule), config()]);
        let dial = net.dial(over, 0, 1);
        net.run(SECOND);
        assert_eq!(net.nodes[0].failed, [(dial, DialFailure::Gated)]);
        assert_eq!(net.nodes[0].refused[0].2.to_string(), "maintenance");
    }
}

#[test]
fn a_limit_that_is_reached_is_told_with_its_figure_and_where() {
    let mut limited = config();
    limited.admission.inbound_per_group = 2;
    let mut full = config();
    (full.admission.max_inbound, full.admission.dial_target) = (2, 0);
    let mut fuller = config();
    (fuller.admission.max_links, fuller.admission.max_inbound, fuller.admission.dial_target) = (2, 2, 0);
    for (config_of_first, reason) in [
        (limited, "2 of 2 inbound links from 10.0.0.0/16"),
        (full, "2 of 2 inbound links"),
        (fuller, "2 of 2 links"),
    ] {
        let mut net = Net::new(vec![config_of_first, config(), config(), config()]);
        net.join(Over::Quic, 1, 0);
        net.join(Over::Tcp, 2, 0);
        net.dial(Over::Tcp, 3, 0);
        net.run(SECOND);
        let (peer, address, refusal, suppressed) = &net.nodes[0].refused[0];
        assert_eq!((*peer, *suppressed), (Some(keypair(3).peer_id()), 0));
        assert!(address.as_ref().unwrap().starts_with("/ip4/10.0.3.1/tcp/"));
        assert_eq!(refusal.to_string(), reason);
    }
}

#[test]
fn a_storm_of_refusals_is_counted_and_not_told_one_by_one() {
    let mut net = Net::new(vec![deny(&["10.0.0.0/8"]), config()]);
    for _ in 0..40 {
        net.dial(Over::Quic, 0, 1);
    }
    net.run(Duration::from_millis(10));
    assert_eq!(net.nodes[0].refused.len(), 16);
    net.run(SECOND);
    net.dial(Over::Quic, 0, 1);
    net.run(SECOND);
    assert_eq!(net.nodes[0].refused.len(), 17);
    assert_eq!(net.nodes[0].refused[16].3, 24);
    assert_eq!(net.nodes[0].links.stats().refused, 41);
}
