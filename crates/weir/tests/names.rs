//! What signatures and fields show can be named through `weir`, and what is kept or logged goes through serde.
#![allow(clippy::unwrap_used)] // a test that fails says where

use std::time::Duration;

use weir::config::{
    AdmissionConfig, Alpn, BudgetConfig, Calls, ChannelsConfigError, ConfigError, ControlConfig, DialConfig,
    IdentifyConfig, LimitError, NodeConfig, PeersConfig, PerfConfig, PingConfig, Profile, QuicConfig,
    RawConfig, StandingConfig, StreamsConfig,
};
use weir::error::{BookError, ChannelRefused, DialError, DialFailure, TooManyBans};
use weir::identity::{
    BadSignature, KeyKind, ParsePeerIdError, PeerIdError, PrivateKeyError, PublicKey, PublicKeyError,
    SecretBytes,
};
use weir::multiaddr::{
    DecodeMultiaddrError, DnsName, DnsNameError, Host, ParseMultiaddrError, ParsePrefixError, Protocol,
    PushError, Target, Transport,
};
use weir::stats::{BudgetStats, ChannelStats, LinkStats, NodeStats, PoolStats};
use weir::testing::Cluster;
use weir::{
    Config, Event, ItemId, Keypair, Mailboxes, Multiaddr, Network, NetworkId, PeerId, Record, SlotKey,
    Sockets, Stats,
};

/// Compiles where every name can be named, and every field's type is the one that is named.
#[test]
fn every_type_in_a_field_has_a_name() {
    let Config { node, mailboxes, sockets, .. } = Config::default();
    let _: (NodeConfig, Mailboxes, Sockets) = (node.clone(), mailboxes, sockets);
    let NodeConfig {
        profile,
        peers,
        standing,
        admission,
        dial,
        budget,
        streams,
        quic,
        control,
        ping,
        identify,
        perf,
        raw,
        calls,
        ..
    } = node;
    let _: (Profile, PeersConfig, StandingConfig, AdmissionConfig) = (profile, peers, standing, admission);
    let _: &[Alpn] = &quic.alpn;
    let _: (DialConfig, BudgetConfig, StreamsConfig, QuicConfig) = (dial, budget, streams, quic);
    let _: (ControlConfig, PingConfig, RawConfig, Calls) = (control, ping, raw, calls);
    let _: (IdentifyConfig, PerfConfig) = (identify, perf);
    let Stats { stack, .. } = Stats::default();
    let _: (NodeStats, LinkStats, BudgetStats) = (stack.clone(), stack.link, stack.link.receive);
    let _: (Option<ChannelStats>, Option<PoolStats>) =
        (stack.channels.first().map(|(_, channel)| *channel), stack.pools.first().map(|(_, pool)| *pool));
    let key = Keypair::ed25519_from_seed([1; 32]);
    let (secret, public, kind): (SecretBytes, PublicKey, KeyKind) =
        (key.to_protobuf(), key.public(), key.kind());
    assert_eq!((Keypair::from_protobuf(&secret).unwrap().public(), kind), (public, KeyKind::Ed25519));
    let address: Multiaddr = "/dns4/seed.example.org/udp/1/quic-v1".parse().unwrap();
    assert!(matches!(address.components().first(), Some(Protocol::Dns4(_))));
    assert!(matches!(address.target(), Some(Target { transport: Transport::Quic, host: Host::Dns4(_), .. })));
}

/// Compiles where each can be named, and is an error.
#[test]
fn every_error_has_a_name() {
    fn is_an_error<E: std::error::Error>() {}
    is_an_error::<PublicKeyError>();
    is_an_error::<ParsePeerIdError>();
    is_an_error::<PeerIdError>();
    is_an_error::<PrivateKeyError>();
    is_an_error::<BadSignature>();
    is_an_error::<DecodeMultiaddrError>();
    is_an_error::<DnsNameError>();
    is_an_error::<ParseMultiaddrError>();
    is_an_error::<ParsePrefixError>();
    is_an_error::<PushError>();
    is_an_error::<ConfigError>();
    is_an_error::<LimitError>();
    is_an_error::<ChannelsConfigError>();
    is_an_error::<ChannelRefused>();
    is_an_error::<BookError>();
    is_an_error::<DialError>();
    is_an_error::<DialFailure>();
    is_an_error::<TooManyBans>();
    assert_eq!("no name".parse::<DnsName>().err(), Some(DnsNameError::Character));
}

#[test]
fn what_is_kept_between_runs_survives_serde() {
    fn survives<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        value: &T,
    ) -> String {
        let text = serde_json::to_string(value).unwrap();
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *value, "{text}");
        text
    }
    let peer = Keypair::ed25519_from_seed([1; 32]).peer_id();
    assert_eq!(survives(&peer), format!("\"{peer}\""));
    let address: Multiaddr = "/ip4/192.0.2.1/udp/1/quic-v1".parse().unwrap();
    assert_eq!(survives(&address), "\"/ip4/192.0.2.1/udp/1/quic-v1\"");
    let wrong = serde_json::from_str::<PeerId>("\"nonsense\"").unwrap_err().to_string();
    let expected = "nonsense".parse::<PeerId>().unwrap_err().to_string();
    assert!(wrong.starts_with(&expected), "{wrong}: {expected}");
    let wrong = serde_json::from_str::<Multiaddr>("\"nonsense\"").unwrap_err().to_string();
    let expected = "nonsense".parse::<Multiaddr>().unwrap_err().to_string();
    assert!(wrong.starts_with(&expected), "{wrong}: {expected}");
    assert_eq!(survives(&ItemId([0xab; 32])), format!("\"{}\"", "ab".repeat(32)));
    for (wrong, expected) in [
        ("\"abab\"", "an id has 32 bytes"),
        ("\"zz\"", "hexadecimal"),
        ("\"+1\"", "hexadecimal"),
        ("7", "invalid type"),
    ] {
        let error = serde_json::from_str::<ItemId>(wrong).unwrap_err().to_string();
        assert!(error.contains(expected), "{wrong}: {error}");
    }
    let at = weir::UnixTime::from_secs(7);
    survives(&Record { peer, wrongs: 1, lapses: 2, at, bans: 3, banned_until: Some(at) });
    let network = "192.0.2.0/24".parse().unwrap();
    survives(&weir::PrefixBan { network, until: at, by: weir::BannedBy::Operator });
    survives(&Stats::default());
    survives(&weir::Service { id: 1, version: 2, payload: weir::Bytes::from_static(b"\x00\xff") });
}

#[test]
fn an_event_is_an_object_that_names_itself() {
    let cluster = Cluster::new(3);
    let builder = |number| Network::builder(Keypair::ed25519_from_seed([number; 32]), NetworkId([1; 32]));
    let (one, _node, ()) = cluster.add(builder(1)).unwrap();
    let (other, _node, ()) = cluster.add(builder(2)).unwrap();
    let events = one.events();
    cluster.run_until(one.connect(&other.addresses()[0])).unwrap();
    cluster.run_until(one.peers().ban(other.peer_id(), Duration::from_secs(1))).unwrap();
    let mut names = Vec::new();
    while let Some(event) = cluster.run_until(one.within(Duration::from_secs(20), events.next())).unwrap() {
        let value = serde_json::to_value(&event).unwrap();
        names.push(value["event"].as_str().unwrap().to_owned());
        match event {
            Event::PeerDown { .. } => assert_eq!(value["reason"]["closed"], "banned"),
            Event::Unbanned { peer } => {
                assert_eq!(value["peer"], peer.to_string());
                break;
            }
            _ => {}
        }
    }
    names.retain(|name| name != "rtt" && name != "standing");
    assert_eq!(names, ["peer_up", "peer_down", "unbanned"]);
}

#[test]
fn a_slot_key_tells_its_parts_apart() {
    let (one, other) = (SlotKey::of(&[b"ab", b"c"]), SlotKey::of(&[b"a", b"bc"]));
    assert_ne!(one, other);
    assert_eq!(one, SlotKey::of(&[b"ab", b"c"]));
    assert_eq!(SlotKey::new([7; 32]), SlotKey::new([7; 32]));
}

#[test]
fn what_is_malformed_says_what_found_it() {
    use std::error::Error as _;

    use weir::{Malformed, Message as _};
    let error = String::decode(weir::Bytes::from_static(b"\xff")).unwrap_err();
    assert_eq!((error.what(), error == Malformed::new("not UTF-8")), ("not UTF-8", true));
    assert!(error.source().unwrap().to_string().contains("invalid utf-8"));
    let error: Malformed = weir::codec::Reader::new(b"").varint(9).unwrap_err().into();
    assert_eq!(error.source().unwrap().to_string(), weir::codec::CodecError::Truncated.to_string());
}
