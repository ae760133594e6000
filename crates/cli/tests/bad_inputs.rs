//! What users get wrong: options, files, disks, signals, terminals. Each row of each table is one run of the program. It must
//! end with the right exit code, say what is wrong in words the user can act on, give an object where `--json` was given,
//! never panic, and leave nothing behind.
#![cfg(target_os = "linux")] // mkfifo, /dev/full, ulimit and script as Linux has them
#![allow(clippy::unwrap_used)] // tests

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// A run that cannot be done as asked.
struct Row {
    /// Words of the command line, separated by blanks. `@` stands for the test's folder.
    line: &'static str,
    code: i32,
    /// All of these are said on standard error.
    said: &'static [&'static str],
}

const fn row(line: &'static str, code: i32, said: &'static [&'static str]) -> Row {
    Row { line, code, said }
}

const OPTIONS: &[Row] = &[
    row("", 2, &["Usage"]),
    row("dvenet", 2, &["dvenet", "devnet"]),
    row("devnet --nodse 3", 2, &["--nodse", "--nodes"]),
    row("devnet --nodes", 2, &["--nodes"]),
    row("devnet --nodes three", 2, &["--nodes", "three"]),
    row("devnet --nodes -1", 2, &["-1"]),
    row("devnet --nodes 1", 2, &["--nodes", "2 and 64"]),
    row("devnet --nodes 65", 2, &["--nodes", "2 and 64"]),
    row("devnet --nodes 99999999999999999999", 2, &["--nodes"]),
    row("devnet --blocks 2", 2, &["--blocks", "3 and 1000000"]),
    row("devnet --rate 100001", 2, &["--rate", "0 and 100000"]),
    row("devnet --degree 0", 2, &["--degree", "1 and 63"]),
    row("devnet --degree 64", 2, &["--degree", "1 and 63"]),
    row("devnet --block-ms 49", 2, &["--block-ms", "50 and 3600000"]),
    row("devnet --port 0", 2, &["--port"]),
    row("devnet --port 65530", 2, &["--port", "65529"]),
    row("devnet --port 70000", 2, &["--port", "70000"]),
    row("devnet --hostile evil", 2, &["--hostile", "evil", "mute, spam, unpayable and forge"]),
    row("devnet --seed x", 2, &["--seed", "x"]),
    row("devnet --kill-one --blocks 7", 2, &["--kill-one", "--blocks 8"]),
    row("devnet --rate 0 --txs @/lines", 2, &["--rate", "1 or more"]),
    row("sim", 2, &["NAME"]),
    row("sim no-such-scenario", 2, &["no-such-scenario", "--list"]),
    row("sim tx-flood --nodes 1", 2, &["nodes"]),
    row("sim tx-flood --links 0", 2, &["links"]),
    row("perf", 2, &["Usage"]),
    row("perf run", 2, &["--to"]),
    row("perf run --to nowhere", 2, &["--to", "nowhere", "IP:PORT"]),
    row("perf run --to 127.0.0.1:1 --write-bytes 0", 2, &["--write-bytes", "1 and 16777216"]),
    row("perf run --to 127.0.0.1:1 --write-bytes 16777217", 2, &["--write-bytes"]),
    row("perf serve --listen nowhere", 2, &["--listen", "nowhere"]),
    row("perf serve --listen 192.0.2.1:0", 2, &["--listen"]),
    row("perf peer nowhere", 2, &["ADDR", "nowhere", "IP:PORT"]),
    row("perf peer /ip4/127.0.0.1/tcp/1 --transport quic", 2, &["ADDR", "over TCP", "leave --transport out"]),
    row("perf run --to 127.0.0.1:1 --security noise", 2, &["--security", "--transport tcp"]),
    row("perf run --to /ip4/127.0.0.1/udp/1/quic-v1 --transport tcp", 2, &["--to", "over QUIC"]),
    row("perf serve --muxer yamux", 2, &["--muxer", "--transport tcp"]),
    row("ping", 2, &["ADDR"]),
    row("ping nowhere", 2, &["ADDR", "nowhere", "IP:PORT"]),
    row("ping 127.0.0.1:1 --count 0", 2, &["--count", "1..=1000000"]),
    row("ping /ip4/127.0.0.1/udp/1", 2, &["ADDR"]),
    row("ping /dns4/node.example/udp/1/quic-v1 --transport tcp", 2, &["ADDR", "over QUIC"]),
    row("ping 127.0.0.1:1 --security tls", 2, &["--security", "QUIC has its own", "--transport tcp"]),
    row("ping 127.0.0.1:1 --transport tcp --muxer spdy", 2, &["spdy", "mplex"]),
    row("identify nowhere", 2, &["ADDR", "nowhere", "IP:PORT"]),
    row("identify 127.0.0.1:1 --transport udp", 2, &["udp", "tcp"]),
    row("identify 127.0.0.1:1 --muxer mplex", 2, &["--muxer", "--transport tcp"]),
    row("listen --transport quic --muxer mplex", 2, &["--muxer", "--transport tcp"]),
    row("listen --transport quic --listen /ip4/127.0.0.1/tcp/0", 2, &["--listen", "over TCP"]),
    row("listen --listen nowhere", 2, &["--listen", "nowhere"]),
    row("listen --listen /ip4/192.0.2.1/tcp/0", 2, &["--listen", "192.0.2.1"]),
    row("listen --listen /dns4/example.org/tcp/1", 2, &["--listen", "QUIC and TCP"]),
    row("--log a=b=c sim --list", 2, &["--log", "a=b=c"]),
    row("--log dbug sim --list", 2, &["--log", "dbug", "debug"]),
    row("--log-format xml sim --list", 2, &["xml", "json"]),
];

const FILES: &[Row] = &[
    row("devnet --txs @/none", 2, &["--txs", "cannot open", "/none"]),
    row("devnet --txs @", 2, &["--txs", "cannot read"]),
    row("devnet --txs @/empty", 2, &["--txs", "no lines", "one payload per line"]),
    row("devnet --txs @/long", 2, &["--txs", "line 2", "16384"]),
    row(
        "devnet --record @/none/picture.svg",
        2,
        &["--record", "cannot write", "/none/picture.svg", "exists"],
    ),
    row("devnet --txs /dev/zero", 2, &["--txs", "line 1", "16384"]),
    row("keygen", 2, &["FILE"]),
    row("keygen @/lines", 2, &["exists", "--show"]),
    row("keygen @/none/key", 2, &["@/none/key"]),
    row("keygen --show @/none", 2, &["/none", "weir keygen"]),
    row("keygen --show @/lines", 2, &["/lines", "weir keygen"]),
    row("keygen --show /dev/zero", 2, &["more than 4096 bytes"]),
    row("audit", 2, &["FOLDER"]),
    row("audit @/none", 2, &["/none", "--keep", ".redb"]),
    row("audit @", 2, &["no stores", "--keep", ".redb"]),
    row("audit @/lines", 2, &["/lines is no store", "--keep", ".redb"]),
    row("audit @/empty", 2, &["/empty is no store"]),
    row("perf serve --key @/lines", 2, &["/lines", "weir keygen"]),
    row("listen --key @/lines", 2, &["/lines", "weir keygen"]),
];

/// Files that the rows above name.
fn prepare(folder: &Path) {
    std::fs::write(folder.join("lines"), "one\ntwo\n").unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::write(folder.join("long"), format!("short\n{}\n", "x".repeat(20_000))).unwrap();
}

/// Runs `weir` with its temporary files in `tmp`.
fn weir(words: &[String], tmp: &Path) -> Output {
    let mut command = Command::new(WEIR);
    command.args(words).env("TMPDIR", tmp).env_remove("RUST_LOG").stdin(Stdio::null());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn check(row: &Row) {
    let (folder, tmp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(folder.path());
    let here = folder.path().to_str().unwrap();
    let words: Vec<String> = row.line.split_whitespace().map(|word| word.replace('@', here)).collect();
    for json in [false, true] {
        let mut words = words.clone();
        if json {
            words.push("--json".into());
        }
        let output = weir(&words, tmp.path());
        let error = said(&output);
        assert_eq!(output.status.code(), Some(row.code), "`{}`: {error}", row.line);
        assert!(!error.contains("panicked"), "`{}`: {error}", row.line);
        for part in row.said {
            let part = part.replace('@', here);
            assert!(error.contains(&part), "`{}` does not say `{part}`: {error}", row.line);
        }
        if json {
            let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(object["ok"], false, "`{}`: {object}", row.line);
            assert!(!object["error"].as_str().unwrap().is_empty());
        } else {
            assert!(output.stdout.is_empty(), "`{}` prints a result", row.line);
        }
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0, "`{}` leaves something", row.line);
    }
}

#[test]
fn options_that_cannot_be_used_are_named() {
    OPTIONS.iter().for_each(check);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    FILES.iter().for_each(check);
}

#[test]
fn a_port_of_another_program_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (port, tmp) = (taken.local_addr().unwrap().port(), tempfile::tempdir().unwrap());
    for words in [format!("devnet --nodes 2 --port {port}"), format!("perf serve --listen 127.0.0.1:{port}")]
    {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let output = weir(&words, tmp.path());
        let error = said(&output);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(&port.to_string()) && error.contains("in use"), "{error}");
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_filter_of_the_environment_is_named_too() {
    let output = Command::new(WEIR).args(["sim", "--list"]).env("RUST_LOG", "weir=loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("RUST_LOG"), "{}", said(&output));
}

/// Disks: a script for `sh` around the program, which it finds as `$WEIR`; exit code and words as above.
const DISKS: &[Row] = &[
    row("TMPDIR=@/none $WEIR devnet", 2, &["/none", "set TMPDIR"]),
    row("TMPDIR=/proc $WEIR devnet", 2, &["/proc", "set TMPDIR"]),
    row("$WEIR devnet --nodes 2 --blocks 3 --rate 0 --block-ms 50 >/dev/full", 1, &["standard output"]),
    row(
        "$WEIR devnet --nodes 2 --blocks 3 --rate 0 --block-ms 50 --json >/dev/full",
        1,
        &["standard output"],
    ),
    row("$WEIR sim --list >/dev/full", 1, &["standard output"]),
    row("$WEIR --version >/dev/full", 1, &["standard output"]),
    row("$WEIR devnet --help >/dev/full", 1, &["standard output"]),
    row("$WEIR keygen /dev/full/key", 2, &["/dev/full/key"]),
    // a reader that went away is no error, and neither are notes that nobody reads
    row("$WEIR devnet --nodes 2 --blocks 3 --rate 0 --block-ms 50 | true", 0, &[]),
    row("$WEIR devnet --nodes 2 --blocks 3 --rate 0 --block-ms 50 2>/dev/full", 0, &[]),
    // a limit on a file's size stands for a disk without room
    row(
        "trap '' XFSZ; ulimit -f 4000; $WEIR devnet --nodes 3 --blocks 1000 --rate 2000 --block-ms 200",
        1,
        &["node ", "store"],
    ),
    row("trap '' XFSZ; ulimit -f 1; $WEIR devnet --nodes 3", 1, &["store"]),
];

#[test]
fn disks_without_room_end_a_run_with_a_word() {
    for row in DISKS {
        let folder = tempfile::tempdir().unwrap();
        let script = row.line.replace('@', folder.path().to_str().unwrap());
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", &script]).env("WEIR", WEIR).env("TMPDIR", folder.path());
        let output = command.stdout(Stdio::null()).output().unwrap();
        let error = said(&output);
        assert_eq!(output.status.code(), Some(row.code), "`{}`: {error}", row.line);
        assert!(!error.contains("panicked"), "`{}`: {error}", row.line);
        row.said.iter().for_each(|part| assert!(error.contains(part), "`{}`: {error}", row.line));
    }
}

/// Terminals: kind, columns, rows, and whether a picture is expected there.
const TERMINALS: &[(&str, u16, u16, bool)] = &[
    ("xterm-256color", 80, 24, true),
    ("xterm", 120, 40, true),
    ("screen", 200, 50, true),
    ("xterm", 20, 5, true),
    ("xterm", 1, 1, true),
    ("dumb", 80, 24, false),
    ("", 80, 24, false),
];

#[test]
fn every_terminal_gets_what_it_can_show_and_is_given_back() {
    for (term, columns, rows, picture) in TERMINALS {
        let tmp = tempfile::tempdir().unwrap();
        let line = format!(
            "stty cols {columns} rows {rows}; {WEIR} devnet --nodes 3 --blocks 6 --rate 20 --block-ms 300; stty -a | grep -o ' -\\?echo '"
        );
        let mut script = Command::new("script");
        script.args(["-qefc", &line, "/dev/null"]).env("TERM", term).env("TMPDIR", tmp.path());
        let output = script.stdin(Stdio::null()).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let at = format!("TERM={term} {columns}x{rows}");
        assert!(output.status.success(), "{at}: {out}");
        let (entered, left) = (out.find("\x1b[?1049h"), out.rfind("\x1b[?1049l"));
        assert_eq!((entered.is_some(), left.is_some()), (*picture, *picture), "{at}: {out:?}");
        assert!(
            !out.contains("\x1b[6n"),
            "{at}: the terminal is asked for something and may not answer: {out:?}"
        );
        let after = left.map_or(&*out, |left| &out[left..]);
        assert!(after.contains("3 nodes agree"), "{at}: the summary is not left behind: {out:?}");
        assert!(after.contains(" echo ") && !after.contains(" -echo "), "{at}: echo stays off: {out:?}");
        assert_eq!(out.contains("/6  age "), !picture, "{at}: {out:?}");
    }
}

#[test]
fn a_terminal_that_grows_is_used_as_it_is_then() {
    let tmp = tempfile::tempdir().unwrap();
    // the stores say that it runs; it has 6 blocks of 300 ms left then
    let line = format!(
        "stty cols 80 rows 24; {WEIR} devnet --nodes 3 --blocks 6 --rate 20 --block-ms 300 & \
         until ls $TMPDIR/*/*.redb >/dev/null 2>&1; do :; done; stty cols 120 rows 40; wait $!"
    );
    let mut script = Command::new("script");
    script.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm").env("TMPDIR", tmp.path());
    script.env("SHELL", "/bin/sh");
    let output = script.stdin(Stdio::null()).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}");
    let row = |place: &str| place.split_once(';').and_then(|(row, _)| row.parse::<u16>().ok());
    let lowest = out.split("\x1b[").filter_map(row).max();
    assert!(lowest.is_some_and(|row| (25..=40).contains(&row)), "the lowest row is {lowest:?}: {out:?}");
}

/// Signals: a run, what it says when it runs, what it is sent, and the codes that it may end with. Of two signals each may be
/// the second.
const SIGNALS: &[(&str, &str, &[&str], &[i32])] = &[
    ("devnet --nodes 3 --blocks 1000000 --block-ms 200", "block 2", &["INT"], &[130]),
    ("devnet --nodes 3 --blocks 1000000 --block-ms 200", "block 2", &["TERM"], &[143]),
    ("devnet --nodes 3 --blocks 1000000 --block-ms 200", "block 2", &["HUP"], &[129]),
    ("devnet --nodes 3 --blocks 1000000 --block-ms 200 --json", "", &["INT"], &[130]),
    ("devnet --nodes 3 --blocks 1000000 --block-ms 200", "block 2", &["INT", "TERM"], &[130, 143]),
    ("devnet --nodes 3 --blocks 1000000 --block-ms 200", "block 2", &["TERM", "HUP"], &[129, 143]),
];

#[test]
fn the_first_signal_ends_a_run_in_order_and_the_second_at_once() {
    for (line, running, signals, codes) in SIGNALS {
        let tmp = tempfile::tempdir().unwrap();
        let (output, mut input) = std::io::pipe().unwrap();
        if signals.len() > 1 {
            input.write_all(&vec![0; 65_536]).unwrap(); // it is full: whoever prints a summary waits for ever
        }
        let mut command = Command::new(WEIR);
        command.args(line.split(' ')).env("TMPDIR", tmp.path()).stdout(input).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(command);
        let id = child.id().to_string();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        if running.is_empty() {
            while std::fs::read_dir(tmp.path()).unwrap().count() == 0 {
                std::thread::yield_now();
            }
        } else {
            assert!(said.any(|said| said.unwrap().contains(running)), "`{line}` ends before `{running}`");
        }
        let rest = std::thread::spawn(move || said.map_while(Result::ok).collect::<Vec<_>>());
        for signal in *signals {
            assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        }
        let (ended, end) = sync_channel(1);
        let waiting = std::thread::spawn(move || ended.send(child.wait()));
        let Ok(status) = end.recv_timeout(Duration::from_secs(60)) else {
            assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
            panic!("`{line}` goes on after {signals:?}");
        };
        waiting.join().unwrap().unwrap();
        let (code, rest) = (status.unwrap().code(), rest.join().unwrap().join("\n"));
        assert!(code.is_some_and(|code| codes.contains(&code)), "`{line}` {signals:?}: {code:?} {rest}");
        assert!(!rest.contains("panicked"), "`{line}` {signals:?}: {rest}");
        let left = std::fs::read_dir(tmp.path()).unwrap().count();
        assert!(left == 0 || signals.len() > 1, "`{line}` {signals:?}: something is left behind");
        drop(output);
    }
}

#[test]
fn a_pipe_that_nobody_writes_to_is_named_and_a_signal_ends_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = format!(
        "$WEIR devnet --txs {} 2>{}/said & until grep -q waiting {1}/said; do :; done; kill -TERM $!; wait $!",
        pipe.display(),
        folder.path().display()
    );
    let output = Command::new("bash").args(["-c", &script]).env("WEIR", WEIR).output().unwrap();
    let error = std::fs::read_to_string(folder.path().join("said")).unwrap();
    assert_eq!(output.status.code(), Some(143), "{error}");
    assert!(error.contains("waiting") && error.contains(pipe.to_str().unwrap()), "{error}");
}
