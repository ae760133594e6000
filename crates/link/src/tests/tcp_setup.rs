//! Which security and muxer two nodes agree on over TCP, and when they do not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Class;
use weir_base::{StreamKey, UnixTime};
use weir_libp2p::pnet::SharedKey;

use super::harness::{Net, Over, config, keypair, start};
use crate::{Cipher, Config, DialFailure, HostChange, LimitError, Security, TcpConfig};

const SECOND: Duration = Duration::from_secs(1);

fn with(tcp: TcpConfig) -> Config {
    Config { tcp, ..config() }
}

fn secured(security: &[Security]) -> TcpConfig {
    TcpConfig { security: security.to_vec(), ..TcpConfig::default() }
}

/// Whether a stream carries bytes both ways between two nodes of these configurations.
fn talk(tcp: [TcpConfig; 2]) -> bool {
    talk_over(Over::Tcp, tcp.map(with))
}

fn talk_over(over: Over, configs: [Config; 2]) -> bool {
    let mut net = Net::new(configs.into());
    net.dial(over, 0, 1);
    net.run(SECOND);
    let (Some((link, _)), Some((other, _))) =
        (net.nodes[0].up.first().copied(), net.nodes[1].up.first().copied())
    else {
        return false;
    };
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"there"));
    net.run(SECOND);
    let far = StreamKey { link: other, stream: net.nodes[1].opened[0].0.stream };
    assert_eq!(net.read(1, far).0, b"there");
    net.write(1, far, &Bytes::from_static(b"back"));
    net.run(SECOND);
    assert!(net.nodes.iter().all(|node| node.blamed.is_empty()));
    net.read(0, key).0 == b"back"
}

#[test]
fn tls_and_noise_carry_links_and_either_is_found_where_one_side_has_both() {
    use Security::{Noise, Tls};
    assert!(talk([secured(&[Tls]), secured(&[Tls])]));
    assert!(talk([secured(&[Tls, Noise]), secured(&[Noise])]));
    assert!(talk([secured(&[Noise]), secured(&[Tls, Noise])]));
    assert!(talk([secured(&[Tls, Noise]), secured(&[Noise, Tls])]));
    assert!(talk([secured(&[]), secured(&[Noise])]), "none named: Noise");
}

/// QUIC's first packets are AES's whatever follows.
#[test]
fn processors_with_and_without_aes_are_linked() {
    let preferring = |cipher| Config { cipher, ..with(secured(&[Security::Tls])) };
    for (dialer, listener) in [
        (Cipher::AesGcm, Cipher::ChaCha20Poly1305),
        (Cipher::ChaCha20Poly1305, Cipher::AesGcm),
        (Cipher::ChaCha20Poly1305, Cipher::ChaCha20Poly1305),
    ] {
        for over in [Over::Tcp, Over::Quic] {
            assert!(talk_over(over, [preferring(dialer), preferring(listener)]), "{dialer:?}, {listener:?}");
        }
    }
}

#[test]
fn without_security_in_common_the_dial_fails_and_nobody_is_blamed() {
    let (noise, tls) = (secured(&[Security::Noise]), secured(&[Security::Tls]));
    let mut net = Net::new(vec![with(noise), with(tls)]);
    let dial = net.dial(Over::Tcp, 0, 1);
    net.run(Duration::from_secs(20));
    assert_eq!(net.nodes[0].failed, vec![(dial, DialFailure::Handshake)]);
    assert!(net.nodes.iter().all(|node| node.blamed.is_empty() && node.up.is_empty()));
}

#[test]
fn a_muxer_is_found_by_any_name_in_common_and_mplex_only_where_both_want_it() {
    let named = |names: &[&str]| TcpConfig {
        yamux: names.iter().map(|name| (*name).to_owned()).collect(),
        ..TcpConfig::default()
    };
    let spoken = |name: &str| vec![name.to_owned()];
    let mplex = || TcpConfig { mplex: spoken("/mplex/6.7.0"), ..named(&["/mine/yamux"]) };
    assert!(talk([named(&["/coda/yamux/1.0.0", "/yamux/1.0.0"]), named(&["/yamux/1.0.0"])]));
    assert!(talk([named(&["/coda/yamux/1.0.0"]), named(&["/yamux/1.0.0", "/coda/yamux/1.0.0"])]));
    assert!(!talk([named(&["/coda/yamux/1.0.0"]), named(&["/yamux/1.0.0"])]));
    let other = TcpConfig { mplex: spoken("/mplex/6.7.0"), ..TcpConfig::default() };
    assert!(talk([mplex(), other.clone()]), "mplex is all that both have");
    assert!(!talk([mplex(), TcpConfig::default()]));
    let coda = || TcpConfig { mplex: spoken("/coda/mplex/1.0.0"), ..named(&["/mine/yamux"]) };
    let both =
        TcpConfig { mplex: [spoken("/mplex/6.7.0"), spoken("/coda/mplex/1.0.0")].concat(), ..named(&["/a"]) };
    assert!(talk([coda(), both]), "by the name that its network uses");
    assert!(!talk([coda(), other.clone()]));
    assert!(talk([other.clone(), other]));
}

#[test]
fn a_private_network_is_closed_to_all_without_its_key() {
    let keyed = |key: u8| TcpConfig { private: Some(SharedKey::new([key; 32])), ..TcpConfig::default() };
    assert!(talk([keyed(1), keyed(1)]));
    assert!(!talk([keyed(1), keyed(2)]));
    assert!(!talk([keyed(1), TcpConfig::default()]));
    assert!(!talk([TcpConfig::default(), keyed(1)]));
}

#[test]
fn certificates_are_judged_by_the_wall_clock_that_the_host_tells() {
    let mut net = Net::new([(); 2].map(|()| with(secured(&[Security::Tls]))).into());
    let now = net.now;
    let long_ago = HostChange::Wall(UnixTime::from_secs(1));
    net.nodes[0].links.handle_host(now, long_ago);
    let dial = net.dial(Over::Tcp, 0, 1);
    net.run(SECOND);
    assert_eq!(net.nodes[0].failed.first().map(|(failed, _)| *failed), Some(dial), "not valid yet");
    net.nodes[0].links.handle_host(net.now, HostChange::Wall(UnixTime::from_secs(1_800_000_000)));
    net.join(Over::Tcp, 0, 1);
}

#[test]
fn names_of_muxers_that_are_none_are_refused_by_field() {
    let refused = |tcp: TcpConfig| -> LimitError {
        crate::Links::new(with(tcp), Arc::new(keypair(0)), [0; 32], start()).err().unwrap()
    };
    assert_eq!(refused(TcpConfig { yamux: Vec::new(), ..TcpConfig::default() }).path(), "tcp.yamux");
    let wrong = TcpConfig { yamux: vec!["na".into()], ..TcpConfig::default() };
    assert_eq!(refused(wrong).path(), "tcp.yamux");
}
