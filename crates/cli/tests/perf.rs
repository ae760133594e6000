//! Throughput between two processes, as a user measures it.
#![allow(clippy::unwrap_used)] // tests

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server; its first address.
fn serve(words: &[&str]) -> (Stopped, String) {
    let mut server = Command::new(env!("CARGO_BIN_EXE_weir"));
    server.args(["perf", "serve", "--listen", "127.0.0.1:0", "--json"]).args(words).stdout(Stdio::piped());
    let mut server = Stopped(server.spawn().unwrap());
    let mut first = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let address: serde_json::Value = serde_json::from_str(&first).unwrap();
    (server, address["address"].as_str().unwrap().to_owned())
}

#[test]
fn tcp_is_secured_as_both_sides_are_told() {
    let (_server, to) = serve(&["--transport", "tcp", "--security", "tls"]);
    assert!(to.contains("/tcp/"), "{to}");
    for (security, code) in [("tls", 0), ("both", 0), ("noise", 1)] {
        let words = ["--security", security, "--upload-bytes", "1000", "--download-bytes", "1000"];
        let mut run = Command::new(env!("CARGO_BIN_EXE_weir"));
        let output = run.args(["perf", "run", "--to", &to]).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{security}: {said}");
    }
}

#[test]
fn a_run_uploads_and_downloads_what_was_asked() {
    let (_server, to) = serve(&[]);
    let to = to.as_str();
    let run = |upload: &str, download: &str, write: &str| {
        let words =
            ["--upload-bytes", upload, "--download-bytes", download, "--write-bytes", write, "--json"];
        let begun = std::time::Instant::now();
        let output =
            Command::new(env!("CARGO_BIN_EXE_weir")).args(["perf", "run", "--to", to]).args(words).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        figures["took_s"] = begun.elapsed().as_secs_f64().into();
        figures
    };
    let both = run("20000000", "10000000", "1000");
    let told = ["upload_bytes", "download_bytes", "write_bytes"].map(|figure| both[figure].as_u64());
    assert_eq!(told, [Some(20_000_000), Some(10_000_000), Some(1_000)]);
    let seconds = |bytes: f64, rate: &str| 8.0 * bytes / 1e9 / both[rate].as_f64().unwrap();
    let moving = seconds(20e6, "upload_gbit_s") + seconds(10e6, "download_gbit_s");
    assert!(moving > 0.0 && moving <= both["took_s"].as_f64().unwrap(), "{both}");
    assert!(both["connect_ms"].as_f64().unwrap() <= both["first_response_ms"].as_f64().unwrap());
    let none = run("0", "1", "65536");
    assert!(none["upload_gbit_s"].is_null());
}
