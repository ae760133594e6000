//! What the program says of itself: help, version, logs, keys.
#![allow(clippy::unwrap_used)] // tests

use std::process::{Command, Output};

fn weir(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(words).env_remove("RUST_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_version_names_the_commit() {
    let version = text(&weir(&["--version"]).stdout);
    let commit = version.trim().strip_prefix(concat!("weir ", env!("CARGO_PKG_VERSION"), " (")).unwrap();
    let commit = commit.strip_suffix(')').unwrap();
    assert!(
        commit == "unknown" || commit.len() == 12 && commit.bytes().all(|digit| digit.is_ascii_hexdigit())
    );
}

#[test]
fn every_help_tells_the_exit_codes() {
    for words in [
        &[][..],
        &["devnet"],
        &["audit"],
        &["sim"],
        &["keygen"],
        &["perf"],
        &["perf", "serve"],
        &["perf", "run"],
        &["perf", "peer"],
        &["ping"],
        &["identify"],
        &["listen"],
    ] {
        let output = weir(&[words, &["--help"]].concat());
        let help = text(&output.stdout);
        assert!(output.status.success() && help.contains("Exit codes:"), "{words:?}: {help}");
    }
}

#[test]
fn what_is_logged_can_be_chosen_by_option_and_by_environment() {
    const RUN: [&str; 9] = ["devnet", "--nodes", "2", "--blocks", "3", "--rate", "0", "--block-ms", "100"];
    let quiet = weir(&[&RUN[..], &["--json"]].concat());
    assert_eq!((quiet.status.code(), text(&quiet.stderr)), (Some(0), String::new()));
    let logged = weir(&[&RUN[..], &["--json", "--log", "debug", "--log-format", "json"]].concat());
    let lines = text(&logged.stderr);
    assert!(lines.lines().count() > 0, "nothing is logged at debug");
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["target"].is_string(), "{line}");
    }
    let mut by_environment = Command::new(env!("CARGO_BIN_EXE_weir"));
    let output =
        by_environment.args(RUN).args(["--json"]).env("RUST_LOG", "weir=debug,info").output().unwrap();
    let _: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
}

#[test]
fn a_key_that_was_made_can_be_shown_and_served_under() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.key");
    let file = file.to_str().unwrap();
    let peer = text(&weir(&["keygen", file]).stdout);
    let shown: serde_json::Value =
        serde_json::from_slice(&weir(&["keygen", "--show", file, "--json"]).stdout).unwrap();
    assert_eq!((shown["peer"].as_str(), shown["kind"].as_str()), (Some(peer.trim()), Some("Ed25519")));
    let mut serve = Command::new(env!("CARGO_BIN_EXE_weir"));
    serve.args(["perf", "serve", "--listen", "0.0.0.0:0", "--key", file, "--json"]);
    let mut serve = serve.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(serve.stdout.take().unwrap()), &mut line)
        .unwrap();
    let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
    let addresses = listening["addresses"].as_array().unwrap();
    assert!(!addresses.is_empty());
    for address in addresses {
        let to = address.as_str().unwrap();
        assert!(to.ends_with(peer.trim()) && !to.contains("0.0.0.0"), "{to}");
        let run = weir(&["perf", "run", "--to", to, "--upload-bytes", "1000", "--download-bytes", "1000"]);
        assert!(run.status.success(), "{to}: {}", text(&run.stderr));
    }
    serve.kill().unwrap();
    serve.wait().unwrap();
}

#[test]
fn every_help_tells_the_ranges_of_its_options() {
    for (words, ranges) in [
        (
            &["devnet"][..],
            &["2 to 64", "3 to 1,000,000", "up to 100,000", "1 to 63", "50 to 3,600,000", "16,384 bytes"][..],
        ),
        (&["perf", "run"], &["1 to 16,777,216"]),
    ] {
        let help = text(&weir(&[words, &["--help"]].concat()).stdout);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        ranges
            .iter()
            .for_each(|range| assert!(help.contains(range), "{words:?} does not say {range}: {help}"));
    }
}

#[test]
fn percentiles_have_their_unit() {
    let words = ["devnet", "--nodes", "2", "--blocks", "3", "--rate", "0", "--block-ms", "100"];
    let summary = text(&weir(&words).stdout);
    let header = summary.lines().find(|line| line.trim_start().starts_with("header ")).unwrap();
    assert_eq!(header.matches(" ms").count(), 3, "{header}");
}
