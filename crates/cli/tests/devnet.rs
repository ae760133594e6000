//! The devnet as a user runs it: small, on real sockets, with its errors.
#![allow(clippy::unwrap_used)] // tests

use std::process::{Command, Output};

fn weir(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(words).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(
        text.lines().count(),
        1,
        "one object only: {text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn all_nodes_agree_and_all_transactions_are_committed() {
    let begun = std::time::Instant::now();
    let output =
        weir(&["devnet", "--nodes", "4", "--blocks", "5", "--rate", "50", "--block-ms", "400", "--json"]);
    let took = begun.elapsed().as_secs_f64();
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!((&report["tips_agree"], &report["state_agree"]), (&true.into(), &true.into()));
    assert_eq!((report["nodes"].as_u64(), report["faults"].as_u64()), (Some(4), Some(0)));
    assert!(report["blocks"].as_u64().unwrap() >= 5);
    assert!(report["txs_submitted"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(report["txs_submitted"], report["txs_committed"]);
    assert!(report["tx_bodies_per_node"].as_f64().unwrap() >= 1.0, "{report}");
    assert_eq!((&report["ok"], &report["error"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(
        (&report["version"], &report["options"]["nodes"]),
        (&env!("CARGO_PKG_VERSION").into(), &4.into())
    );
    assert!(report["commit"].is_string());
    assert_eq!(report["rate_asked"].as_u64(), Some(50));
    // In the time that this test saw at the longest, and on all processors at the most.
    let (committed, processors) = (report["txs_committed"].as_f64().unwrap(), 1024.0);
    for (figure, least, most) in [
        ("control_bytes_per_tx_per_node", 1.0, 1e6), // a short id and a permit at least
        ("rate_reached", committed / took, 1e4),
        ("committed_per_s", committed / took, 1e6),
        ("cpu_s", 0.001, took * processors),
        ("rss_bytes", 1e6, 1e11),
    ] {
        let value = report[figure].as_f64().unwrap();
        assert!(least <= value && value <= most, "{figure}: {least} to {most}: {report}");
    }
    for figure in [
        "submit_ms",
        "tx_latency_ms",
        "tx_commit_ms",
        "header_latency_ms",
        "body_latency_ms",
        "rtt_ms",
        "block_interval_ms",
    ] {
        assert!(report[figure]["count"].as_u64().unwrap() > 0, "{figure}: {report}");
    }
    assert_eq!((report["bans"].as_u64(), report["headers_missing"].as_u64()), (Some(0), Some(0)));
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.len() == 4 && rows.iter().all(|row| row["height"] == report["blocks"]), "{report}");
    let permits = &report["permits"];
    assert!(permits["entries_used"].as_u64().unwrap() > 0);
    assert!(permits["entries_granted"].as_u64() > permits["entries_used"].as_u64());
}

#[test]
fn what_never_happened_is_null() {
    let report = json(&weir(&[
        "devnet",
        "--nodes",
        "2",
        "--blocks",
        "3",
        "--rate",
        "0",
        "--block-ms",
        "100",
        "--json",
    ]));
    for figure in ["tx_latency_ms", "tx_commit_ms", "submit_ms", "rate_reached", "tx_bodies_per_node"] {
        assert!(report[figure].is_null(), "{figure}: {report}");
    }
    assert_eq!((report["txs_committed"].as_u64(), &report["ok"]), (Some(0), &true.into()));
}

#[test]
fn a_node_that_is_killed_comes_back_and_catches_up() {
    let words = [
        "devnet",
        "--nodes",
        "4",
        "--blocks",
        "12",
        "--rate",
        "40",
        "--block-ms",
        "500",
        "--kill-one",
        "--json",
    ];
    let output = weir(&words);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(report["killed"].as_u64().unwrap() > 0);
    assert_eq!(report["txs_submitted"], report["txs_committed"]);
    assert!(report["pairs_excluded"].as_u64().unwrap() > 0);
}

#[test]
fn each_line_of_a_file_is_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    let lines: Vec<String> = (0..150).map(|line| format!("payload {line}")).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let file = path.to_str().unwrap();
    let words = [
        "devnet",
        "--nodes",
        "3",
        "--blocks",
        "3",
        "--rate",
        "100",
        "--block-ms",
        "400",
        "--txs",
        file,
        "--json",
    ];
    let report = json(&weir(&words));
    assert_eq!(report["txs_committed"].as_u64(), Some(150), "{report}");
}

#[test]
fn blocks_come_as_often_as_the_rate_needs_and_an_interval_that_is_too_long_is_named() {
    let often = ["devnet", "--nodes", "2", "--blocks", "3", "--rate", "2000", "--json"];
    let report = json(&weir(&often));
    let block_ms = report["options"]["block_ms"].as_u64().unwrap();
    assert!((500..1_000).contains(&block_ms) && report["ok"] == true, "{report}");

    // 64 lines of this length fill a block
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    std::fs::write(&path, format!("{}\n", "x".repeat(16_000)).repeat(10)).unwrap();
    let words = ["devnet", "--nodes", "2", "--blocks", "3", "--rate", "100", "--txs"];
    let output = weir(&[&words[..], &[path.to_str().unwrap(), "--block-ms", "1000"]].concat());
    let (result, told) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for text in [result, told] {
        assert!(text.contains("--rate 100: a block each 1000 ms holds about 64 "), "{text}");
        assert!(text.contains("try --block-ms 480"), "{text}");
    }
}

#[test]
fn nodes_that_listen_on_tcp_agree_with_each_other_and_with_those_on_quic() {
    for transport in ["tcp", "mixed"] {
        let words = ["--nodes", "4", "--blocks", "4", "--rate", "30", "--block-ms", "400", "--json"];
        let output = weir(&[&["devnet", "--transport", transport][..], &words].concat());
        let report = json(&output);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert_eq!(report["options"]["transport"], transport);
        assert_eq!((&report["tips_agree"], &report["state_agree"]), (&true.into(), &true.into()));
        assert_eq!((report["faults"].as_u64(), report["bans"].as_u64()), (Some(0), Some(0)), "{report}");
        assert_eq!(report["txs_submitted"], report["txs_committed"]);
    }
}
