use super::*;

fn judged(path: &str, text: &str) -> Vec<String> {
    judge(&TextFile { path: path.into(), text: text.into() })
}

#[track_caller]
fn found(path: &str, text: &str, part: &str) {
    let findings = judged(path, text);
    assert!(findings.len() == 1 && findings[0].contains(part), "{text}: {findings:?}");
}

#[track_caller]
fn clean(path: &str, text: &str) {
    let findings = judged(path, text);
    assert!(findings.is_empty(), "{text}: {findings:?}");
}

const PURE: &str = "crates/pull/src/pool.rs";

#[test]
fn clocks_are_found_however_they_are_written() {
    found(PURE, "use std::time::Instant;", "std::time::Instant");
    found(PURE, "use std::{fmt, time::{Duration, Instant}};", "std::time::Instant");
    found(PURE, "fn a(t: std::time::Instant) {}", "std::time::Instant");
    found(PURE, "use std::time;", "use std::time");
    found(PURE, "use std::time::*;", "use std::time");
    found(PURE, "let t = Instant::now();", "Instant::now");
    found(PURE, "use std::time::SystemTime as S;", "SystemTime");
}

#[test]
fn our_own_instant_and_std_durations_are_fine() {
    clean(PURE, "use std::time::Duration; use weir_base::Instant; use std::net::SocketAddr;");
}

#[test]
fn unordered_maps_sockets_threads_and_randomness_are_found() {
    for text in [
        "use std::collections::HashMap;",
        "use std::collections::{BTreeMap, HashSet};",
        "use std::net::UdpSocket;",
        "std::thread::spawn(run);",
        "let mut rng = rand::rng();",
        "OsRng.fill_bytes(x);",
        "getrandom::fill(x);",
        "use std::sync::Mutex;",
        "let k = rcgen::KeyPair::generate();",
        "std::env::var(name);",
    ] {
        assert_eq!(judged(PURE, text).len(), 1, "{text}");
        clean("crates/cli/src/main.rs", text);
    }
}

#[test]
fn names_in_comments_and_strings_do_not_count() {
    clean(PURE, "/// Like a HashMap.\nconst A: &str = \"HashMap\"; // std::time::Instant");
}

#[test]
fn the_simulator_has_no_clock_or_unordered_map_but_may_share() {
    let path = "crates/sim/src/run.rs";
    found(path, "use std::collections::HashMap;", "HashMap");
    found(path, "let t = Instant::now();", "Instant::now");
    clean(path, "use std::fs::read; use std::sync::Mutex;");
}

#[test]
fn the_time_file_may_name_the_type_but_never_read_the_clock() {
    let path = "crates/link/src/quic/time.rs";
    clean(path, "use std::time::Instant;");
    found(path, "use std::time::Instant; let a = Instant::now();", "Instant::now");
    found(path, "use std::time::SystemTime; let a = SystemTime::now();", "SystemTime::now");
    found("crates/link/src/quic/mod.rs", "use std::time::Instant;", "Instant");
}

#[test]
fn unfinished_work_is_found_in_every_crate() {
    for text in [
        "fn a() { todo!() }",
        "fn a() { unimplemented!(\"b\") }",
        "#[test] #[ignore] fn a() {}",
        "#[test] #[ignore = \"slow\"] fn a() {}",
        "#[cfg_attr(miri, ignore)] fn a() {}",
        "#[allow(dead_code)] fn a() {}",
        "#![allow(clippy::x, unused)]",
    ] {
        assert_eq!(judged("crates/cli/src/a.rs", text).len(), 1, "{text}");
    }
    clean(PURE, "#[allow(clippy::large_enum_variant)] enum A {}");
}

/// One file of each workspace: none of them is exempt.
const WORKSPACES: &[&str] =
    &["crates/weir/src/a.rs", "xtask/src/a.rs", "fuzz/src/a.rs", "bench/src/a.rs", "interop/src/a.rs"];

#[test]
fn queues_without_limit_are_found() {
    for text in [
        "let (a, b) = mpsc::channel();",
        "let (a, b) = std::sync::mpsc::channel::<u8>();",
        "let (a, b) = mpsc::channel::<Vec<Vec<u8>>>();",
        "let (a, b) = mpsc::channel::<fn(u8) -> u8>();",
        "use std::sync::mpsc::channel;",
        "use std::sync::{Arc, mpsc::{Receiver, channel as pipe}};",
        "let (a, b) = mpsc::unbounded_channel();",
        "fn a(b: UnboundedSender<u8>) {}",
    ] {
        for path in WORKSPACES {
            found(path, text, "every queue is bounded");
        }
    }
}

#[test]
fn queues_with_a_limit_are_fine() {
    for text in [
        "let (a, b) = mpsc::sync_channel(4);",
        "use std::sync::mpsc::{Receiver, sync_channel};",
        "let (a, b) = mpsc::channel(1024);",
        "let (a, b) = mpsc::channel::<Vec<u8>>(1024);",
        "let (a, b) = tokio::sync::mpsc::channel::<oneshot::Sender<Vec<Vec<u8>>>>(LIMIT);",
        "let (a, b) = mpsc::channel::<fn(u8) -> u8>(4);",
        "use tokio::sync::mpsc::channel;",
    ] {
        clean("bench/src/a.rs", text);
    }
}

#[test]
fn sleeping_is_for_hosts_not_for_tests() {
    let sleep = "std::thread::sleep(d);";
    clean("crates/cli/src/a.rs", sleep);
    found("crates/cli/src/a/tests.rs", sleep, "never for time");
    found("crates/cli/tests/a.rs", sleep, "never for time");
    let inline = format!("#[cfg(test)]\nmod tests {{ fn a() {{ {sleep} }} }}");
    found("crates/cli/src/a.rs", &inline, "never for time");
}

#[test]
fn unsafe_code_is_found_outside_its_files() {
    for path in WORKSPACES {
        found(path, "unsafe { a() }", "unsafe");
    }
    clean("crates/weir/src/a.rs", "// unsafe\n#![deny(unsafe_op_in_unsafe_fn)]");
}

#[test]
fn at_most_one_file_of_the_public_crate_is_unsafe() {
    assert!(UNSAFE_FILES.len() <= 1);
    assert!(UNSAFE_FILES.iter().all(|path| path.starts_with("crates/weir/")));
}

#[test]
fn pure_crates_forbid_unsafe_code() {
    found("crates/stack/src/lib.rs", "//! Doc.\n", "forbid(unsafe_code)");
    clean("crates/stack/src/lib.rs", "//! Doc.\n#![forbid(unsafe_code)]\n");
    clean("crates/cli/src/lib.rs", "//! Doc.\n");
}

#[test]
fn crates_that_decode_warn_of_indexing() {
    found("crates/base/src/lib.rs", "#![forbid(unsafe_code)]\n", "warn(clippy::indexing_slicing)");
    clean("crates/base/src/lib.rs", "#![forbid(unsafe_code)]\n#![warn(clippy::indexing_slicing)]\n");
    clean("crates/base/src/rng/lib.rs", "");
}

#[test]
fn pure_crates_have_clippy_settings() {
    assert_eq!(settings_lack("a", None).len(), 1);
    let names: Vec<String> = rules::CLIPPY.iter().map(|name| format!("\"{name}\"")).collect();
    let whole = names.concat();
    assert!(settings_lack("a", Some(&whole)).is_empty());
    let lacking = whole.replace("\"std::thread::sleep\"", "");
    assert_eq!(settings_lack("a", Some(&lacking)).len(), 1);
}
