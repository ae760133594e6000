//! Two processes that know each other by libp2p's small protocols alone, over each transport.
#![allow(clippy::unwrap_used)] // tests

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// A listening process, which ends with the test.
struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
    first: serde_json::Value,
}

impl Listener {
    fn start(addresses: &[&str]) -> Self {
        let words: Vec<&str> = addresses.iter().flat_map(|address| ["--listen", address]).collect();
        Self::with(&words)
    }

    fn with(words: &[&str]) -> Self {
        let mut command = Command::new(WEIR);
        let mut child =
            command.arg("listen").args(words).arg("--json").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        Self { child, lines, first: serde_json::from_str(&first).unwrap() }
    }

    fn addresses(&self) -> Vec<String> {
        let all = self.first["addresses"].as_array().unwrap();
        all.iter().map(|address| address.as_str().unwrap().to_owned()).collect()
    }

    fn peer(&self) -> &str {
        self.first["peer"].as_str().unwrap()
    }

    /// The next event of this kind.
    fn event(&mut self, kind: &str) -> serde_json::Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it ends without {kind}");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn weir(words: &[&str]) -> Output {
    Command::new(WEIR).args(words).env_remove("RUST_LOG").output().unwrap()
}

fn json(words: &[&str]) -> serde_json::Value {
    let output = weir(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_node_that_listens_is_pinged_identified_and_measured() {
    let mut listener = Listener::start(&["127.0.0.1:0", "/ip4/127.0.0.1/tcp/0"]);
    let addresses = listener.addresses();
    assert!(addresses[0].contains("/udp/") && addresses[1].contains("/tcp/"), "{addresses:?}");
    for address in &addresses {
        let ping = json(&["ping", address, "--count", "3", "--interval-ms", "10", "--json"]);
        assert_eq!((&ping["peer"], ping["rtt_ms"].as_array().unwrap().len()), (&listener.first["peer"], 3));
        let up = listener.event("peer_up");
        assert_eq!(up["side"], "inbound");
        let told = json(&["identify", address, "--json"]);
        assert_eq!(told["peer"], listener.peer());
        assert_eq!(told["agent"], concat!("weir/", env!("CARGO_PKG_VERSION")));
        let speaks = told["protocols"].as_array().unwrap();
        assert!(speaks.iter().any(|name| name == "/perf/1.0.0"), "{told}");
        assert!(told["observed"].as_str().unwrap().starts_with("/ip4/127.0.0.1/"), "{told}");
        let words = ["--upload-bytes", "3000000", "--download-bytes", "2000000", "--json"];
        let begun = std::time::Instant::now();
        let rates = json(&[&["perf", "peer", address][..], &words].concat());
        let took = begun.elapsed().as_secs_f64();
        let seconds = |bytes: f64, rate: &str| 8.0 * bytes / 1e9 / rates[rate].as_f64().unwrap();
        let moving = seconds(3e6, "upload_gbit_s") + seconds(2e6, "download_gbit_s");
        assert!(moving > 0.0 && moving <= took, "{moving} s of {took}: {rates}");
    }
}

#[test]
fn a_node_says_that_it_is_reached_where_it_was_told_to_say_so() {
    let words = ["--listen", "/ip4/127.0.0.1/tcp/0", "--announce", "203.0.113.7:4001"];
    let listener = Listener::with(&[&words[..], &["--announce", "/dns4/node.example/tcp/4001"]].concat());
    let told = json(&["identify", &listener.addresses()[0], "--json"]);
    let said: Vec<&str> =
        told["addresses"].as_array().unwrap().iter().map(|address| address.as_str().unwrap()).collect();
    let without_peer = |address: &&str| address.split("/p2p/").next().unwrap().to_owned();
    let said: Vec<String> = said.iter().map(without_peer).collect();
    assert_eq!(said, ["/ip4/203.0.113.7/udp/4001/quic-v1", "/dns4/node.example/tcp/4001"]);
    assert!(listener.addresses()[0].starts_with("/ip4/127.0.0.1/tcp/"), "it listens where it did");
}

#[test]
fn an_address_to_announce_that_nobody_could_dial_is_refused_at_start() {
    let other = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let of_another = format!("/ip4/203.0.113.7/tcp/4001/p2p/{other}");
    for (address, reason) in [
        ("nowhere", "neither IP:PORT nor a multiaddr"),
        ("0.0.0.0:4001", "leads nowhere"),
        ("/ip4/203.0.113.7/tcp/0", "leads nowhere"),
        (of_another.as_str(), "names another peer"),
    ] {
        let output = weir(&["listen", "--listen", "127.0.0.1:0", "--announce", address]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--announce") && said.contains(reason), "{said}");
    }
    let many: Vec<String> = (1..=65).map(|port| format!("203.0.113.7:{port}")).collect();
    let words = many.iter().flat_map(|address| ["--announce", address]);
    let words: Vec<&str> = ["listen", "--listen", "127.0.0.1:0"].into_iter().chain(words).collect();
    let output = weir(&words);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn another_peer_than_the_address_names_is_not_taken() {
    let listener = Listener::start(&["127.0.0.1:0", "/ip4/127.0.0.1/tcp/0"]);
    let other = Listener::start(&["127.0.0.1:0"]);
    for address in listener.addresses() {
        let wrong = address.replace(listener.peer(), other.peer());
        let output = weir(&["ping", &wrong]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("another peer"), "{said}");
        let output = weir(&["ping", &wrong, "--json"]);
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["reason"]["link"], "other_peer", "{object}");
    }
}

#[test]
fn tcp_is_secured_and_divided_as_both_sides_are_told() {
    let listening = |words: &[&str]| {
        let listener = Listener::with(&[&["--transport", "tcp"][..], words].concat());
        let addresses = listener.addresses();
        let [address] = addresses.as_slice() else { panic!("{addresses:?}") };
        let port = address.split('/').nth(4).unwrap();
        (format!("127.0.0.1:{port}"), listener)
    };
    let code = |to: &str, words: &[&str]| {
        let ping = ["ping", to, "--transport", "tcp", "--count", "1"];
        weir(&[&ping[..], words].concat()).status.code()
    };
    let (noise, _noise) = listening(&["--security", "noise", "--muxer", "yamux"]);
    let (tls, _tls) = listening(&["--security", "tls", "--muxer", "mplex"]);
    let (both, _both) = listening(&["--security", "both", "--muxer", "both"]);
    for (to, security, muxer, wanted) in [
        (&noise, "noise", "yamux", 0),
        (&noise, "both", "both", 0),
        (&noise, "tls", "yamux", 1),
        (&noise, "noise", "mplex", 1),
        (&tls, "tls", "mplex", 0),
        (&tls, "both", "both", 0),
        (&tls, "noise", "mplex", 1),
        (&tls, "tls", "yamux", 1),
        (&both, "noise", "mplex", 0),
        (&both, "tls", "yamux", 0),
    ] {
        let words = ["--security", security, "--muxer", muxer];
        assert_eq!(code(to, &words), Some(wanted), "{words:?} to {to}");
    }
    assert_eq!(code(&both, &[]), Some(0), "as nodes have it");
    let to_quic = weir(&["ping", &noise, "--count", "1", "--transport", "quic"]);
    assert_eq!(to_quic.status.code(), Some(1), "nobody listens there over QUIC");
}

#[test]
fn a_private_network_is_closed_to_whoever_lacks_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, digit: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", digit.repeat(64))).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ours, other) = (key("ours", "5"), key("other", "6"));
    let listener = Listener::with(&["--listen", "/ip4/127.0.0.1/tcp/0", "--private", &ours]);
    let address = &listener.addresses()[0];
    let inside = json(&["ping", address, "--count", "1", "--private", &ours, "--json"]);
    assert_eq!(inside["peer"], listener.peer());
    for words in [&["ping", address][..], &["ping", address, "--private", &other]] {
        assert_eq!(weir(words).status.code(), Some(1), "{words:?}");
    }
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "/key/swarm/psk/1.0.0/\n/bin/\n").unwrap();
    for path in [broken.to_str().unwrap(), "/nowhere/swarm.key"] {
        let output = weir(&["ping", address, "--private", path]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains("--private")), (Some(2), true), "{said}");
    }
}

#[test]
fn what_is_printed_for_people_names_the_peer_and_every_answer() {
    let listener = Listener::start(&["127.0.0.1:0"]);
    let output = weir(&["ping", &listener.addresses()[0], "--count", "2", "--interval-ms", "10"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(listener.peer()) && text.contains("ping 2: ") && text.contains("2 of 2"), "{text}");
    let output = weir(&["identify", &listener.addresses()[0]]);
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "speaks            /",
        "listens at        /ip4/127.0.0.1/udp/",
        " /ipfs/ping/1.0.0\n",
        " /weir/control/1\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
