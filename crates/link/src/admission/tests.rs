//! Limits in number and in rate, without a link.

use super::*;

const NOW: Instant = Instant::ZERO;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn inbound_links_are_limited_by_address_prefix_and_group() {
    let config = AdmissionConfig {
        inbound_per_ip: 1,
        inbound_per_prefix: 2,
        inbound_per_group: 3,
        ..AdmissionConfig::default()
    };
    let mut admission = Admission::default();
    let mut try_enter = |address: &str| {
        let slot = admission.crowded(&config, Some(ip(address))).is_none();
        if slot {
            admission.enter(Some(ip(address)));
        }
        slot
    };
    assert!(try_enter("192.0.2.1"));
    assert!(!try_enter("192.0.2.1"), "per IP");
    assert!(try_enter("192.0.2.2"));
    assert!(!try_enter("192.0.2.3"), "per /24");
    assert!(try_enter("192.0.3.1"));
    assert!(!try_enter("192.0.4.1"), "per /16");
    assert!(try_enter("192.1.0.1"));
    assert!(try_enter("2001:db8:0:1::1"));
    assert!(!try_enter("2001:db8:0:1::2"), "per /64");
    assert!(try_enter("2001:db8:0:2::1"));
    assert!(!try_enter("2001:db8:0:3::1"), "per /56");
    assert!(try_enter("2001:db8:8000::1"));
    assert!(!try_enter("2001:db8:ffff::1"), "per /32");
    assert!(try_enter("2001:db9::1"));
    for _ in 0..10 {
        assert!(try_enter("127.0.0.1"), "loopback is exempt");
    }
    admission.leave(Some(ip("192.0.2.1")));
    assert!(admission.crowded(&config, Some(ip("192.0.2.9"))).is_none());
}

/// Fills places with validated handshakes from these addresses; which were given up for others.
fn fill(admission: &mut Admission, config: &AdmissionConfig, first: u64, ips: &[IpAddr]) -> Vec<LinkId> {
    let mut replaced = Vec::new();
    for (link, ip) in (first..).map(LinkId).zip(ips) {
        match admission.first_packet(NOW, config, *ip, Source::Validated) {
            Verdict::Replace(victim) => {
                admission.end(victim);
                replaced.push(victim);
            }
            verdict => assert_eq!(verdict, Verdict::Accept),
        }
        admission.begin(link, *ip, Source::Validated);
        assert!(admission.half_open() <= usize::try_from(config.max_half_open).unwrap());
    }
    replaced
}

#[test]
fn spoofed_first_packets_take_no_place_of_an_address_and_then_are_told_to_retry() {
    let config = AdmissionConfig::default();
    let mut admission = Admission::default();
    let spoofed = ip("198.51.100.7");
    for link in 0..16 {
        assert_eq!(admission.first_packet(NOW, &config, spoofed, Source::Unvalidated), Verdict::Accept);
        admission.begin(LinkId(link), spoofed, Source::Unvalidated);
    }
    for address in ["198.51.100.7", "203.0.113.1"] {
        assert_eq!(admission.first_packet(NOW, &config, ip(address), Source::Unvalidated), Verdict::Retry);
        assert_eq!(admission.first_packet(NOW, &config, ip(address), Source::Validated), Verdict::Accept);
    }
    admission.end(LinkId(3));
    assert_eq!(admission.first_packet(NOW, &config, spoofed, Source::Unvalidated), Verdict::Accept);
}

#[test]
fn one_operator_does_not_keep_everybody_else_out() {
    let config = AdmissionConfig::default();
    let mut admission = Admission::default();
    // All of these addresses are really the attacker's.
    let address = |prefix: u16, host: u16| ip(&format!("2001:db8:0:{:x}::1", prefix << 8 | host));
    let attacker: Vec<IpAddr> =
        (0..4).flat_map(|prefix| (0..16).map(move |host| address(prefix, host))).collect();
    fill(&mut admission, &config, 0, &attacker);
    let honest = ["198.51.100.7", "203.0.113.9", "2a02:1::1"].map(ip);
    assert_eq!(fill(&mut admission, &config, 100, &honest).len(), 3, "the attacker's go");
    let replaced = fill(&mut admission, &config, 200, &attacker);
    assert!(replaced.iter().all(|link| !(100..200).contains(&link.0)), "and not the honest ones");
}

#[test]
fn a_neighbour_in_a_crowded_prefix_takes_a_place_of_the_address_with_the_most() {
    let config = AdmissionConfig::default();
    let mut admission = Admission::default();
    let crowd = [[ip("192.0.2.1"); 8], [ip("192.0.2.2"); 8]].concat();
    assert_eq!(fill(&mut admission, &config, 0, &crowd), []);
    assert_eq!(fill(&mut admission, &config, 100, &[ip("192.0.2.1")]), [LinkId(0)], "per IP");
    assert_eq!(fill(&mut admission, &config, 101, &[ip("192.0.2.9")]), [LinkId(1)], "per /24");
    assert_eq!(fill(&mut admission, &config, 102, &[ip("192.0.3.9")]), []);
}

/// How many of a thousand handshakes from proven addresses may begin now, and the network that is refused then.
fn begin(admission: &mut Admission, now: Instant, ips: &[&str]) -> (usize, Option<String>) {
    let config = AdmissionConfig::default();
    let addresses = ips.iter().cycle().take(1_000);
    for (count, address) in addresses.enumerate() {
        if let Verdict::TooFast(network) =
            admission.first_packet(now, &config, ip(address), Source::Validated)
        {
            return (count, Some(network.to_string()));
        }
    }
    (1_000, None)
}

#[test]
fn handshakes_of_an_address_a_prefix_and_a_group_begin_at_a_pace() {
    let mut admission = Admission::default();
    let refused = |network: &str| Some(network.to_owned());
    assert_eq!(begin(&mut admission, NOW, &["192.0.2.1"]), (16, refused("192.0.2.1/32")));
    let later = NOW + Duration::from_secs(4);
    assert_eq!(begin(&mut admission, later, &["192.0.2.1"]), (2, refused("192.0.2.1/32")));
    let prefix = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    assert_eq!(begin(&mut admission, NOW, &prefix), (32, refused("198.51.100.0/24")));
    let group: Vec<String> = (0..9).map(|prefix| format!("203.0.{prefix}.1")).collect();
    let group: Vec<&str> = group.iter().map(String::as_str).collect();
    assert_eq!(begin(&mut admission, NOW, &group), (128, refused("203.0.0.0/16")));
    assert_eq!(begin(&mut admission, NOW, &["127.0.0.1"]), (1_000, None), "loopback is exempt");
}

#[test]
fn who_has_all_its_links_begins_half_as_many() {
    let mut admission = Admission::default();
    (0..4).for_each(|_| admission.enter(Some(ip("192.0.2.1"))));
    assert_eq!(begin(&mut admission, NOW, &["192.0.2.1"]).0, 8);
    assert_eq!(begin(&mut admission, NOW, &["192.0.2.2"]).0, 16, "the prefix has places");
}

#[test]
fn handshakes_whose_address_is_proven_later_count_for_it_then() {
    let (config, mut admission) = (AdmissionConfig::default(), Admission::default());
    let (fast, other) = (ip("192.0.2.1"), ip("198.51.100.7"));
    let first = |admission: &mut Admission, ip| admission.first_packet(NOW, &config, ip, Source::Unvalidated);
    for _ in 0..16 {
        assert_eq!(first(&mut admission, fast), Verdict::Accept);
        admission.note_proven(NOW, &config, fast);
    }
    assert_eq!(first(&mut admission, fast), Verdict::Retry);
    assert_eq!(begin(&mut admission, NOW, &["192.0.2.1"]).0, 0);
    assert_eq!(first(&mut admission, other), Verdict::Accept);
    let more = (0..1_000).filter(|_| first(&mut admission, other) == Verdict::Accept).count();
    assert_eq!(more, 64 - 17, "of all that are not proven so many begin at once");
    assert_eq!(begin(&mut admission, NOW, &["198.51.100.7"]).0, 16, "they may bear anybody's address");
}

#[test]
fn a_handshake_that_takes_long_stays_where_others_come_fast() {
    let (config, mut admission) = (AdmissionConfig::default(), Admission::default());
    let slow = LinkId(0);
    let mut next = 1;
    let mut replaced = 0;
    for tenth in 0..100_u32 {
        let now = NOW + Duration::from_millis(100) * tenth;
        if tenth == 20 {
            let verdict = admission.first_packet(now, &config, ip("198.51.100.7"), Source::Validated);
            let Verdict::Replace(victim) = verdict else { panic!("{verdict:?}") };
            admission.end(victim);
            admission.begin(slow, ip("198.51.100.7"), Source::Validated);
        }
        for host in 1..=50_u8 {
            let from = IpAddr::from([host, 1, 1, 1]);
            match admission.first_packet(now, &config, from, Source::Validated) {
                Verdict::TooFast(_) => continue,
                Verdict::Replace(victim) => {
                    assert_ne!(victim, slow, "after {tenth} tenths of a second");
                    admission.end(victim);
                    replaced += 1;
                }
                verdict => assert_eq!(verdict, Verdict::Accept),
            }
            admission.begin(LinkId(next), from, Source::Validated);
            next += 1;
        }
    }
    assert!(replaced > 500, "{replaced}");
}

#[test]
fn of_those_that_began_as_fast_the_oldest_of_the_most_crowded_group_gives_way() {
    let (config, mut admission) = (AdmissionConfig::default(), Admission::default());
    let hosts: Vec<IpAddr> = (1..=45_u8).map(|host| IpAddr::from([host, 1, 1, 1])).collect();
    assert_eq!(fill(&mut admission, &config, 0, &hosts), []);
    assert_eq!(fill(&mut admission, &config, 100, &[ip("60.1.1.1"); 3]), []);
    (100..102).for_each(|link| admission.end(LinkId(link)));
    assert_eq!(fill(&mut admission, &config, 200, &[ip("61.1.1.1"), ip("62.1.1.1")]), []);
    let victim =
        |admission: &mut Admission, from| admission.first_packet(NOW, &config, ip(from), Source::Validated);
    let first = Verdict::Replace(LinkId(0));
    assert_eq!(
        victim(&mut admission, "63.1.1.1"),
        first,
        "who tried three times is no worse than who tried once"
    );
    admission.end(LinkId(0));
    assert_eq!(fill(&mut admission, &config, 300, &[ip("62.1.2.1")]), []);
    assert_eq!(victim(&mut admission, "64.1.1.1"), Verdict::Replace(LinkId(201)), "its group holds two");
}

#[test]
fn a_refusal_names_the_network_that_is_full() {
    let named = |config: &AdmissionConfig, address: &str| {
        let mut admission = Admission::default();
        admission.enter(Some(ip(address)));
        match admission.crowded(config, Some(ip(address))) {
            Some(Refusal::Crowded { count: 1, limit: 1, network }) => (network.address, network.bits),
            other => panic!("{other:?}"),
        }
    };
    let by = |inbound_per_ip, inbound_per_prefix, inbound_per_group| AdmissionConfig {
        inbound_per_ip,
        inbound_per_prefix,
        inbound_per_group,
        ..AdmissionConfig::default()
    };
    let (own, prefix, group) = (by(1, 9, 9), by(9, 1, 9), by(9, 9, 1));
    assert_eq!(named(&own, "192.0.2.77"), (ip("192.0.2.77"), 32));
    assert_eq!(named(&prefix, "192.0.2.77"), (ip("192.0.2.0"), 24));
    assert_eq!(named(&group, "192.0.2.77"), (ip("192.0.0.0"), 16));
    assert_eq!(named(&own, "2001:db8:1:2ff:9::1"), (ip("2001:db8:1:2ff::"), 64));
    assert_eq!(named(&prefix, "2001:db8:1:2ff:9::1"), (ip("2001:db8:1:200::"), 56));
    assert_eq!(named(&group, "2001:db8:1:2ff:9::1"), (ip("2001:db8::"), 32));
}

#[test]
fn of_few_places_a_quarter_is_for_addresses_that_are_not_proven() {
    let config = AdmissionConfig { retry_after: 16, max_half_open: 8, ..AdmissionConfig::default() };
    let mut admission = Admission::default();
    for link in 0..2 {
        assert_eq!(
            admission.first_packet(NOW, &config, ip("192.0.2.1"), Source::Unvalidated),
            Verdict::Accept
        );
        admission.begin(LinkId(link), ip("192.0.2.1"), Source::Unvalidated);
    }
    assert_eq!(admission.first_packet(NOW, &config, ip("192.0.2.1"), Source::Unvalidated), Verdict::Retry);
    for link in 2..5 {
        admission.begin(LinkId(link), ip(&format!("10.{link}.0.1")), Source::Validated);
    }
    assert_eq!(admission.half_open(), 5);
    for link in 5..8 {
        assert_eq!(admission.first_packet(NOW, &config, ip("192.0.2.1"), Source::Validated), Verdict::Accept);
        admission.begin(LinkId(link), ip(&format!("10.{link}.0.1")), Source::Validated);
    }
    let full = admission.first_packet(NOW, &config, ip("192.0.2.1"), Source::Validated);
    assert_eq!(full, Verdict::Replace(LinkId(2)), "six of eight are the proven ones'");
}

#[test]
fn so_many_pinned_peers_are_remembered() {
    let mut admission = Admission::default();
    let peer = |number: usize| {
        let mut seed = [0; 32];
        seed.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        weir_base::Keypair::ed25519_from_seed(seed).peer_id()
    };
    (0..=PINNED_MAX).for_each(|number| admission.pin(peer(number)));
    assert!(admission.is_pinned(&peer(PINNED_MAX - 1)) && !admission.is_pinned(&peer(PINNED_MAX)));
}

#[test]
fn sixteen_refusals_a_second_are_told_and_how_many_were_not() {
    let mut admission = Admission::default();
    let begin = Instant::from_millis(5_000);
    assert!((0..16).all(|_| admission.tell_refusal(begin) == Some(0)));
    assert!((0..3).all(|_| admission.tell_refusal(Instant::from_millis(5_999)).is_none()));
    assert_eq!(admission.tell_refusal(Instant::from_millis(6_000)), Some(3));
    assert_eq!(admission.tell_refusal(Instant::from_millis(6_000)), Some(0));
}
