//! Pairs of text and binary as multiformats and the implementations of libp2p write them, then what a stranger may try.

use proptest::prelude::*;

use super::*;
use crate::codec::Malformed;

const ID: &str = "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC";
const OTHER_ID: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

const PAIRS: [(&str, &str); 15] = [
    ("/ip4/1.2.3.4", "0401020304"),
    ("/ip4/0.0.0.0", "0400000000"),
    ("/ip6/::1", "2900000000000000000000000000000001"),
    ("/ip6/2601:9:4f81:9700:803e:ca65:66e8:c21", "29260100094f819700803eca6566e80c21"),
    ("/udp/0", "91020000"),
    ("/tcp/0", "060000"),
    ("/udp/1234", "910204d2"),
    ("/tcp/65535", "06ffff"),
    (
        "/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
        "a503221220d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b",
    ),
    ("/ip4/127.0.0.1/udp/1234/quic-v1", "047f000001910204d2cd03"),
    (
        "/ip4/127.0.0.1/tcp/4321/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
        "047f0000010610e1a503221220d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b",
    ),
    ("/dns/example.com", "350b6578616d706c652e636f6d"),
    ("/dns4/example.com", "360b6578616d706c652e636f6d"),
    ("/dns6/example.com", "370b6578616d706c652e636f6d"),
    ("/memory/258", "89060000000000000102"),
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

#[test]
fn text_and_binary_match_the_published_pairs() {
    for (text, binary) in PAIRS {
        let address = addr(text);
        assert_eq!(address.to_bytes(), hex(binary), "{text}");
        assert_eq!(address.encoded_len(), hex(binary).len());
        assert_eq!(Multiaddr::from_bytes(&hex(binary)), Ok(address.clone()));
        assert_eq!(address.to_string(), text);
    }
}

#[test]
fn the_older_name_of_p2p_and_a_slash_at_the_end_are_read() {
    let modern = addr(&format!("/ip4/1.2.3.4/tcp/1/p2p/{ID}"));
    assert_eq!(addr(&format!("/ip4/1.2.3.4/tcp/1/ipfs/{ID}/")), modern);
    let cid = "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe";
    let text = addr(&format!("/p2p/{cid}")).to_string();
    assert_eq!(text, "/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N");
}

#[test]
fn a_wrong_text_is_refused_with_what_to_write_instead() {
    let refused = |text: &str| text.parse::<Multiaddr>().unwrap_err().to_string();
    for (text, needle) in [
        ("", "starts with '/'"),
        ("ip4/1.2.3.4", "starts with '/'"),
        ("/", "empty component"),
        ("//", "empty component"),
        ("/ip4//tcp", "empty component"),
        ("/ip4", "/ip4 needs a value"),
        ("/ip4/1.2.3.4/tcp", "/tcp needs a value"),
        ("/ip4/::1", "'::1' is not an IPv4 address"),
        ("/ip4/1.2.3", "not an IPv4 address"),
        ("/ip6/1.2.3.4", "not an IPv6 address"),
        ("/ip6/fe80::1%eth0", "without zone"),
        ("/udp/65536", "'65536' is not a UDP port"),
        ("/tcp/+80", "'+80' is not a TCP port"),
        ("/tcp/-1", "not a TCP port"),
        ("/memory/18446744073709551616", "not a memory endpoint"),
        ("/ip4/1.2.3.4/udp/1/quic", "write /quic-v1"),
        ("/ip4/1.2.3.4/tcp/1/ws", "/ws is not supported"),
        ("/dnsaddr/example.org", "/dnsaddr is not supported"),
        ("/tpc/80", "unknown protocol 'tpc'; known are"),
        ("/dns/exa mple", "xn--"),
        ("/p2p/Qm", "/p2p: "),
        ("/p2p/hello", "starts with 1 or Qm"),
    ] {
        assert!(refused(text).contains(needle), "{text}: {}", refused(text));
    }
    let long_name = "x".repeat(300);
    assert!(refused(&format!("/dns/{long_name}")).contains("253"));
    assert!(refused(&format!("/{long_name}")).len() < 200);
    assert!(refused(&"/tcp/1".repeat(17)).contains("16 components"));
    assert!(refused(&"/".repeat(MAX_TEXT + 1)).contains("2049 characters"));
}

#[test]
fn wrong_bytes_are_refused_by_name() {
    use DecodeMultiaddrError as E;
    let refused = |text: &str| Multiaddr::from_bytes(&hex(text)).unwrap_err();
    assert_eq!(refused(""), E::Empty);
    assert_eq!(refused("910204d2cc03"), E::DraftQuic);
    assert_eq!(refused("dd03"), E::Unsupported("ws"));
    assert_eq!(refused("a202"), E::Unsupported("p2p-circuit"));
    assert_eq!(refused("07"), E::Unknown(7));
    assert_eq!(refused("8400"), E::Malformed(Malformed::Varint));
    assert_eq!(refused("ffffffff1f"), E::Malformed(Malformed::TooLarge));
    assert_eq!(refused("ffffffffff01"), E::Malformed(Malformed::TooLarge));
    assert_eq!(refused("ffffffff0f"), E::Unknown(u32::MAX));
    assert_eq!(refused("3500"), E::Dns(DnsNameError::Length(0)));
    assert_eq!(refused("3501ff"), E::Dns(DnsNameError::Character));
    assert_eq!(refused("35012f"), E::Dns(DnsNameError::Character));
    assert_eq!(refused("35ffffffff0f"), E::Malformed(Malformed::TooLarge));
    assert_eq!(refused("3502"), E::Malformed(Malformed::Truncated));
    assert!(matches!(refused("a5030100"), E::PeerId(_)));
    let many = Multiaddr::from_bytes(&hex("060001").repeat(17));
    assert_eq!(many, Err(E::TooMany));
    let long = vec![6; MAX_BYTES + 1];
    assert_eq!(Multiaddr::from_bytes(&long), Err(E::TooLong(1025)));
    for (_, binary) in PAIRS {
        let bytes = hex(binary);
        for len in 1..bytes.len() {
            // A cut either ends inside a component or leaves whole ones.
            if let Ok(address) = Multiaddr::from_bytes(&bytes[..len]) {
                assert_eq!(address.to_bytes(), &bytes[..len]);
            }
        }
    }
}

#[test]
fn a_peer_id_is_appended_once() {
    let peer: PeerId = ID.parse().unwrap();
    let other: PeerId = OTHER_ID.parse().unwrap();
    let plain = addr("/ip4/1.2.3.4/udp/9/quic-v1");
    assert_eq!(plain.peer_id(), None);
    let named = plain.clone().with_p2p(peer).unwrap();
    assert_eq!(named.peer_id(), Some(peer));
    assert_eq!(named.clone().with_p2p(peer), Ok(named.clone()));
    assert_eq!(named.clone().with_p2p(other), Err(PushError::OtherPeer));
    assert_eq!(named.without_p2p(), plain);
    assert_eq!(plain.clone().without_p2p(), plain);
}

#[test]
fn the_limits_hold_while_an_address_is_built() {
    let name: DnsName = "a".repeat(DNS_NAME_MAX).parse().unwrap();
    let mut address = Multiaddr::new();
    for _ in 0..3 {
        address.push(Protocol::Dns(name.clone())).unwrap();
    }
    let before = address.clone();
    address.push(Protocol::Dns(name.clone())).unwrap();
    assert_eq!(address.encoded_len(), MAX_BYTES);
    assert_eq!(address.push(Protocol::QuicV1), Err(PushError::TooLong));
    assert_eq!(address.to_string().parse(), Ok(address));
    let mut address = before;
    for _ in 3..MAX_COMPONENTS {
        address.push(Protocol::QuicV1).unwrap();
    }
    assert_eq!(address.push(Protocol::QuicV1), Err(PushError::TooMany));
}

#[test]
fn an_address_that_can_be_dialled_says_how() {
    let quic: SocketAddr = "192.0.2.1:4001".parse().unwrap();
    let tcp: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    assert_eq!(Multiaddr::from_quic(quic).to_string(), "/ip4/192.0.2.1/udp/4001/quic-v1");
    assert_eq!(Multiaddr::from_tcp(tcp).to_string(), "/ip6/2001:db8::1/tcp/80");
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:4001".parse().unwrap();
    assert_eq!(Multiaddr::from_quic(mapped), Multiaddr::from_quic(quic));
    let named = |address: Multiaddr| address.with_p2p(ID.parse().unwrap()).unwrap();
    for (address, expected) in [
        (Multiaddr::from_quic(quic), (Transport::Quic, quic)),
        (named(Multiaddr::from_quic(quic)), (Transport::Quic, quic)),
        (Multiaddr::from_tcp(tcp), (Transport::Tcp, tcp)),
        (named(Multiaddr::from_tcp(tcp)), (Transport::Tcp, tcp)),
    ] {
        assert_eq!(address.socket_addr(), Some(expected), "{address}");
    }
    let dns = addr("/dns4/example.org/tcp/80");
    assert_eq!(dns.socket_addr(), None);
    let name: DnsName = "example.org".parse().unwrap();
    assert_eq!(dns.target(), Some(Target { transport: Transport::Tcp, host: Host::Dns4(&name), port: 80 }));
    for text in [
        "/ip4/1.2.3.4",
        "/ip4/1.2.3.4/udp/9",
        "/udp/9/quic-v1",
        "/ip4/1.2.3.4/tcp/9/quic-v1",
        "/tcp/9/ip4/1.2.3.4",
        "/memory/7",
        "/ip4/1.2.3.4/tcp/9/tcp/9",
    ] {
        assert_eq!(addr(text).target(), None, "{text}");
    }
    assert_eq!(addr("/memory/7").memory(), Some(7));
    assert_eq!(named(Multiaddr::from_memory(7)).memory(), Some(7));
    assert_eq!(dns.memory(), None);
}

fn protocol() -> impl Strategy<Value = Protocol> {
    let name = || "[a-zA-Z0-9_.-]{1,60}".prop_map(|text| text.parse::<DnsName>().unwrap());
    let peer = proptest::collection::vec(any::<u8>(), 1..43).prop_map(|digest| {
        let mut bytes = vec![0, u8::try_from(digest.len()).unwrap()];
        bytes.extend_from_slice(&digest);
        PeerId::from_bytes(&bytes).unwrap()
    });
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| Protocol::Ip4(ip.into())),
        any::<[u8; 16]>().prop_map(|ip| Protocol::Ip6(ip.into())),
        name().prop_map(Protocol::Dns),
        name().prop_map(Protocol::Dns4),
        name().prop_map(Protocol::Dns6),
        any::<u16>().prop_map(Protocol::Tcp),
        any::<u16>().prop_map(Protocol::Udp),
        Just(Protocol::QuicV1),
        peer.prop_map(Protocol::P2p),
        any::<u64>().prop_map(Protocol::Memory),
    ]
}

proptest! {
    #[test]
    fn every_address_survives_both_forms(parts in proptest::collection::vec(protocol(), 1..=MAX_COMPONENTS)) {
        let mut address = Multiaddr::new();
        for part in parts {
            if address.push(part).is_err() {
                break;
            }
        }
        let bytes = address.to_bytes();
        prop_assert_eq!(bytes.len(), address.encoded_len());
        prop_assert_eq!(Multiaddr::from_bytes(&bytes), Ok(address.clone()));
        prop_assert!(address.to_string().len() <= MAX_TEXT);
        prop_assert_eq!(address.to_string().parse::<Multiaddr>(), Ok(address));
    }

    #[test]
    fn any_bytes_have_one_meaning_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64), pair in 0..PAIRS.len(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut mutated = hex(PAIRS[pair].1);
        let at = at.index(mutated.len());
        mutated[at] = byte;
        for input in [bytes, mutated] {
            if let Ok(address) = Multiaddr::from_bytes(&input) {
                prop_assert_eq!(address.to_bytes(), input);
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "(/(ip4|ip6|dns|tcp|udp|quic-v1|p2p|memory|\\PC{0,9})){0,9}") {
        if let Ok(address) = text.parse::<Multiaddr>() {
            prop_assert_eq!(address.to_string().parse::<Multiaddr>(), Ok(address));
        }
    }
}
