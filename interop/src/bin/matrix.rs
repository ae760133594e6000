//! Weir and other people's libp2p nodes, as processes on loopback: each cell is one check, one way to connect, one direction.
//!
//! `matrix WEIR [WORD…]`: the path of the program `weir`; with words, only the cells whose line has all of them. Prints a line for each
//! cell, and ends with 0 where all came out as they must. The Go and the JavaScript node are built first, where Go and npm are
//! installed.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How long one program may take.
const LIMIT: Duration = Duration::from_secs(40);
/// A peer that is nobody's: `weir keygen` would never make it twice.
const NOBODY: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
/// The bytes that perf moves each way.
const BYTES: &str = "16777216";

type Failed = Box<dyn std::error::Error>;

/// Ends with whoever holds it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A libp2p node that somebody else wrote. All take the same arguments.
struct Peer {
    name: &'static str,
    program: Vec<OsString>,
}

impl Peer {
    fn command(&self) -> Command {
        let mut words = self.program.iter();
        let mut command = Command::new(words.next().map_or("", |word| word.to_str().unwrap_or("")));
        command.args(words);
        command
    }
}

/// The nodes that can run here; of others, why not.
fn peers() -> Result<Vec<Peer>, Failed> {
    let here = std::env::current_exe()?;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut all =
        vec![Peer { name: "rust-libp2p 0.57", program: vec![here.with_file_name("rust-peer").into()] }];
    let go = here.with_file_name("go-peer");
    let built =
        Command::new("go").arg("build").arg("-o").arg(&go).arg(".").current_dir(folder.join("go")).status();
    match built {
        Ok(status) if status.success() => all.push(Peer { name: "go-libp2p 0.51", program: vec![go.into()] }),
        other => println!("go-libp2p: n/a (`go build` in interop/go: {other:?})"),
    }
    let js = folder.join("js");
    // Not `npm ci`: it wants the packages of all platforms, of which a registry may have only some.
    let quiet =
        ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--foreground-scripts"];
    match Command::new("npm").args(quiet).current_dir(&js).stdout(Stdio::null()).status() {
        Ok(status) if status.success() => {
            let node = js.join("node_modules/.bin/node");
            all.push(Peer { name: "js-libp2p 3", program: vec![node.into(), js.join("main.js").into()] });
        }
        other => println!("js-libp2p: n/a (`npm install` in interop/js: {other:?})"),
    }
    Ok(all)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Failed> {
    let weir = std::env::args_os().nth(1).map(PathBuf::from).ok_or("matrix WEIR [WORD…]")?;
    let words: Vec<String> = std::env::args().skip(2).collect();
    let mut all = true;
    for (peer, security) in
        peers()?.iter().flat_map(|peer| ["noise", "tls", "both", "quic"].map(|security| (peer, security)))
    {
        let with = match security {
            "noise" => "TCP+Noise+yamux",
            "tls" => "TCP+TLS+yamux",
            "both" => "TCP+TLS or Noise+yamux",
            _ => "QUIC",
        };
        for check in ["ping", "identify", "perf", "wrong peer"] {
            for weir_dials in [true, false] {
                let (dials, listens) = if weir_dials { ("weir", peer.name) } else { (peer.name, "weir") };
                let what = format!("{with}: {dials} dials {listens}: {check}");
                if !words.iter().all(|word| what.contains(word)) {
                    continue;
                }
                let began = Instant::now();
                let cell = cell(&weir, peer, security, check, weir_dials);
                let seconds = began.elapsed().as_secs_f64();
                let came = match &cell {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => format!("FAILED: {error}"),
                };
                println!("{what}: {came} ({seconds:.1} s)");
                all &= cell.is_ok();
            }
        }
    }
    Ok(all)
}

fn cell(weir: &Path, peer: &Peer, security: &str, check: &str, weir_dials: bool) -> Result<(), Failed> {
    if weir_dials {
        let (_listener, address) = listen(peer.command().args(["listen", security]))?;
        let mut command = Command::new(weir);
        match check {
            "ping" => command.args(["ping", &address, "--count", "3", "--interval-ms", "50"]),
            "identify" => command.args(["identify", &address]),
            "perf" => {
                let size = ["--upload-bytes", BYTES, "--download-bytes", BYTES];
                command.args(["perf", "peer", &address]).args(size)
            }
            _ => command.args(["ping", &wrong(&address)]),
        };
        if security != "quic" {
            command.args(["--security", security]);
        }
        return judge(&mut command, check);
    }
    let listening: &[_] = match security {
        "quic" => &["listen", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"],
        _ => &["listen", "--listen", "/ip4/127.0.0.1/tcp/0", "--security", security],
    };
    let (_listener, address) = listen(Command::new(weir).args(listening))?;
    let mut command = peer.command();
    match check {
        "wrong peer" => command.args(["ping", security, &wrong(&address)]),
        check => command.args([check, security, &address]),
    };
    judge(&mut command, check)
}

/// Starts a program that prints where it listens, as the last word of its first line.
fn listen(command: &mut Command) -> Result<(Running, String), Failed> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut running = Running(child);
    let out = running.0.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let address = line.split_whitespace().last().ok_or("it does not say where it listens")?;
    Ok((running, address.to_owned()))
}

/// The address with another peer in it.
fn wrong(address: &str) -> String {
    let (socket, _) = address.rsplit_once("/p2p/").unwrap_or((address, ""));
    format!("{socket}/p2p/{NOBODY}")
}

/// Runs a dialler. It must end with 0, but for another peer than the one it names: then with 1.
fn judge(command: &mut Command, check: &str) -> Result<(), Failed> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut running = Running(child);
    let began = Instant::now();
    let status = loop {
        if let Some(status) = running.0.try_wait()? {
            break status;
        }
        if began.elapsed() > LIMIT {
            return Err("it takes too long".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut said = String::new();
    if let Some(mut errors) = running.0.stderr.take() {
        errors.read_to_string(&mut said)?;
    }
    let wanted = if check == "wrong peer" { 1 } else { 0 };
    if status.code() == Some(wanted) { Ok(()) } else { Err(format!("{status}: {}", said.trim()).into()) }
}
