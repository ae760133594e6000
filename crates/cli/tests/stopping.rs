//! How a run ends that does not come to its end: signals, full disks, kills.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // tests

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A program that is killed when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts `weir` with its folder for temporary files.
    fn start(words: &[&str], folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(words).env("TMPDIR", folder).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Reads standard error up to a line with this word.
    fn stderr_until(&mut self, word: &str) -> BufReader<std::process::ChildStderr> {
        let mut lines = BufReader::new(self.0.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended before it said `{word}`");
        }
        lines
    }

    /// Waits for the end: the exit status and standard output.
    fn end(mut self) -> (ExitStatus, String) {
        let mut out = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (self.0.wait().unwrap(), out)
    }
}

const ENDLESS: [&str; 9] =
    ["devnet", "--nodes", "3", "--blocks", "1000000", "--rate", "20", "--block-ms", "200"];

#[test]
fn the_first_signal_says_goodbye_prints_what_is_known_and_removes_the_folder() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let folder = tempfile::tempdir().unwrap();
        let mut running = Running::start(&ENDLESS, folder.path());
        let _rest = running.stderr_until("block 2");
        running.signal(signal);
        let (status, out) = running.end();
        assert_eq!(status.code(), Some(code), "{signal}");
        assert!(out.contains("3 nodes") && out.contains("transactions submitted"), "{out}");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "{signal}: something was left behind"
        );
    }
}

#[test]
fn a_stopped_run_has_an_object_too() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&[&ENDLESS[..], &["--json"]].concat(), folder.path());
    // No line says when it runs: its stores do.
    while std::fs::read_dir(folder.path()).unwrap().count() == 0 {
        std::thread::yield_now();
    }
    running.signal("INT");
    let (status, out) = running.end();
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status.code(), Some(130), "{report}");
    assert_eq!((&report["ok"], &report["error"]), (&false.into(), &"stopped by SIGINT".into()));
    assert!(report["tips_agree"].is_null() && report["rows"].as_array().unwrap().len() == 3, "{report}");
}

#[test]
fn what_a_killed_run_left_is_named_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(&ENDLESS, folder.path());
    let _rest = running.stderr_until("block");
    running.signal("KILL");
    running.end();
    let left = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let words = ["devnet", "--nodes", "2", "--blocks", "3", "--rate", "0", "--block-ms", "100"];
    let mut next = Running::start(&words, folder.path());
    let _rest = next.stderr_until(&format!("rm -r {}", left.display()));
    assert_eq!(next.end().0.code(), Some(0));
    assert!(left.is_dir(), "naming it does not remove it");
}

#[test]
fn a_server_that_is_stopped_tells_its_clients() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Running::start(&["perf", "serve", "--listen", "127.0.0.1:0"], folder.path());
    let mut out = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();
    let words = ["perf", "run", "--to", address, "--upload-bytes", "1099511627776", "--json"];
    let client = Running::start(&words, folder.path());
    let begun = std::time::Instant::now();
    let _rest = server.stderr_until("a client connected");
    server.signal("TERM");
    let (_, told) = client.end();
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["ok"], false, "{report}");
    assert!(begun.elapsed().as_secs() < 10, "the client waited for a timeout: {report}");
    assert_eq!(server.0.wait().unwrap().code(), Some(143));
}

/// A limit on the size of a file stands for a disk without room: writing beyond it fails.
#[test]
fn a_store_that_cannot_be_written_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let weir = env!("CARGO_BIN_EXE_weir");
    let script = format!(
        "trap '' XFSZ; ulimit -f 4000; exec {weir} devnet --nodes 3 --blocks 1000 --rate 2000 --block-ms 200 --json"
    );
    let output = Command::new("bash").args(["-c", &script]).env("TMPDIR", folder.path()).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("node ") && error.contains("store"), "{error}");
    assert_eq!(report["ok"], false);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the stores are kept in"), "{told}");
}
