//! `weir audit` as a user runs it, on the stores of a devnet.
#![allow(clippy::unwrap_used)] // tests

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn weir(words: &[&str], temporary: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(words).env("TMPDIR", temporary).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The stores that a small devnet kept.
fn stores(temporary: &Path, words: &[&str]) -> Vec<PathBuf> {
    let devnet = ["devnet", "--nodes", "3", "--blocks", "4", "--rate", "50", "--block-ms", "300", "--json"];
    let output = weir(&[&devnet, words].concat(), temporary);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = Vec::new();
    for folder in std::fs::read_dir(temporary).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).into_iter().flatten() {
            found.push(file.unwrap().path());
        }
    }
    found.retain(|file| file.extension().is_some_and(|extension| extension == "redb"));
    found.sort();
    found
}

#[test]
fn stores_that_were_kept_are_right_and_one_with_a_changed_byte_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let stores = stores(temporary.path(), &["--keep"]);
    assert_eq!(stores.len(), 3);
    let folder = stores[0].parent().unwrap().to_str().unwrap().to_owned();
    let output = weir(&["audit", &folder, "--json"], temporary.path());
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    let tips: Vec<_> =
        report["stores"].as_array().unwrap().iter().map(|store| store["tip"].clone()).collect();
    assert!(tips.len() == 3 && tips.iter().all(|tip| *tip == tips[0] && tip.is_string()));
    assert!(report["stores"].as_array().unwrap().iter().all(|store| store["closed"] == true), "{report}");
    // a bit in each of eight parts of the second store, whatever is there
    let right = std::fs::read(&stores[1]).unwrap();
    for part in 0..8 {
        let mut bytes = right.clone();
        let at = (part * 2 + 1) * bytes.len() / 16;
        bytes[at] ^= 0x10;
        std::fs::write(&stores[1], bytes).unwrap();
        let output = weir(&["audit", &folder, "--json"], temporary.path());
        let report = json(&output);
        assert_eq!((output.status.code(), &report["ok"]), (Some(1), &false.into()), "byte {at}: {report}");
        let wrong: Vec<bool> =
            report["stores"].as_array().unwrap().iter().map(|store| store["wrong"].is_string()).collect();
        assert_eq!(wrong, [false, true, false], "byte {at}");
    }
    // without its seal it is right again, as far as can be told
    std::fs::write(&stores[1], right).unwrap();
    std::fs::remove_file(format!("{}.seal", stores[1].display())).unwrap();
    let output = weir(&["audit", stores[1].to_str().unwrap()], temporary.path());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("it was not closed"), "{said}");
}

#[test]
fn a_folder_without_stores_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = weir(&["audit", folder.path().to_str().unwrap()], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no stores"));
}

#[test]
fn a_devnet_with_a_hostile_node_agrees_all_the_same() {
    for what in ["mute", "spam", "unpayable", "forge"] {
        let temporary = tempfile::tempdir().unwrap();
        let words =
            ["devnet", "--nodes", "4", "--blocks", "8", "--rate", "50", "--block-ms", "400", "--json"];
        let output = weir(&[&words[..], &["--hostile", what]].concat(), temporary.path());
        let report = json(&output);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{what}: {report} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(report["txs_submitted"], report["txs_committed"], "{what}");
        assert_eq!(report["options"]["hostile"], what, "{report}");
    }
}
