//! This test plays the public harnesses: it is redis, starts a listener and a dialler as they do, and reads what they read.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const HARNESS: &str = env!("CARGO_BIN_EXE_harness");
/// How long the programs may take: far longer than they do on a busy machine.
const SECONDS: &str = "60";

/// As much of redis as the harnesses use: lists and texts.
#[derive(Default)]
struct Redis {
    kept: Mutex<BTreeMap<String, Vec<String>>>,
    changed: Condvar,
}

impl Redis {
    /// Starts one; its address.
    fn start() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let redis = Arc::new(Self::default());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let redis = Arc::clone(&redis);
                std::thread::spawn(move || redis.serve(stream));
            }
        });
        address
    }

    fn serve(&self, stream: TcpStream) {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        let mut output = stream;
        while let Some(words) = command(&mut input) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let reply = self.reply(&words);
            if output.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn reply(&self, words: &[&str]) -> String {
        let text = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let mut kept = self.kept.lock().unwrap();
        match *words {
            ["SET", key, value] => {
                kept.insert(key.into(), vec![value.into()]);
                "+OK\r\n".into()
            }
            ["GET", key] => kept.get(key).map_or("$-1\r\n".into(), |values| text(&values[0])),
            ["RPUSH", key, value] => {
                kept.entry(key.into()).or_default().push(value.into());
                self.changed.notify_all();
                ":1\r\n".into()
            }
            ["BLPOP", key, seconds] => {
                let limit = Duration::from_secs(seconds.parse().unwrap());
                let empty =
                    |kept: &mut BTreeMap<String, Vec<String>>| kept.get(key).is_none_or(Vec::is_empty);
                let (mut kept, _) = self.changed.wait_timeout_while(kept, limit, empty).unwrap();
                match kept.get_mut(key).filter(|values| !values.is_empty()) {
                    Some(values) => format!("*2\r\n{}{}", text(key), text(&values.remove(0))),
                    None => "*-1\r\n".into(),
                }
            }
            _ => format!("-ERR no such command {words:?}\r\n"),
        }
    }
}

/// The words of the next command; `None` at the end.
fn command(input: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let number = |input: &mut BufReader<TcpStream>, kind: char| -> Option<usize> {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        line.trim_end().strip_prefix(kind)?.parse().ok()
    };
    (0..number(input, '*')?)
        .map(|_| {
            let mut bytes = vec![0; number(input, '$')? + 2];
            input.read_exact(&mut bytes).ok()?;
            bytes.truncate(bytes.len() - 2);
            String::from_utf8(bytes).ok()
        })
        .collect()
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn node(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(HARNESS);
    command.env_clear().envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A listener and a dialler with these variables; what the dialler came to.
fn both(who: &str, variables: &[(&str, &str)]) -> Output {
    let with = |dials| [variables, &[(who, dials)]].concat();
    let _listener = Running(node(&with("false")).spawn().unwrap());
    node(&with("true")).output().unwrap()
}

/// The number behind this name.
fn number(text: &str, name: &str) -> f64 {
    let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("{name} is not in {text}"));
    let digits: String = rest.chars().skip_while(|char| "\": ".contains(*char)).collect();
    let end = digits.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(digits.len());
    digits[..end].parse().unwrap()
}

/// What a dialler prints: both times, of which that with the handshake is the longer one.
fn check(output: &Output, [all, ping]: [&str; 2]) {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    let (all, ping) = (number(&said, all), number(&said, ping));
    assert!(0.0 < ping && ping < all, "{said}");
}

const STACKS: [[&str; 3]; 4] =
    [["tcp", "noise", "yamux"], ["tcp", "tls", "yamux"], ["tcp", "noise", "mplex"], ["quic-v1", "", ""]];

#[test]
fn transport_interop_is_told_by_redis_and_answered_in_json() {
    for [transport, security, muxer] in STACKS {
        let redis = Redis::start().to_string();
        let output = both(
            "is_dialer",
            &[
                ("transport", transport),
                ("security", security),
                ("muxer", muxer),
                ("ip", "0.0.0.0"),
                ("redis_addr", &redis),
                ("test_timeout_seconds", SECONDS),
            ],
        );
        check(&output, ["handshakePlusOneRTTMillis", "pingRTTMilllis"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "one line of JSON");
    }
}

#[test]
fn unified_testing_is_told_by_a_key_of_redis_and_answered_in_yaml() {
    for [transport, security, muxer] in STACKS {
        let redis = Redis::start().to_string();
        let output = both(
            "IS_DIALER",
            &[
                ("TRANSPORT", transport),
                ("SECURE_CHANNEL", security),
                ("MUXER", muxer),
                ("LISTENER_IP", "127.0.0.1"),
                ("REDIS_ADDR", &redis),
                ("TEST_KEY", "a1b2c3d4"),
                ("TEST_TIMEOUT_SECS", SECONDS),
            ],
        );
        check(&output, ["handshake_plus_one_rtt", "ping_rtt"]);
        assert!(output.stdout.starts_with(b"latency:\n  handshake_plus_one_rtt: "));
        assert!(output.stdout.ends_with(b"\n  unit: ms\n"));
    }
}

#[test]
fn perf_has_a_server_with_the_key_that_all_know_and_a_client_that_prints_its_time() {
    for transport in ["tcp", "quic-v1"] {
        let flags = |rest: &[&str]| {
            let mut command = Command::new(HARNESS);
            command.args(["--transport", transport]).args(rest).stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        };
        let mut server =
            Running(flags(&["--run-server", "--server-address", "127.0.0.1:0"]).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (socket, peer) = line.trim_end().rsplit_once("/p2p/").unwrap();
        assert_eq!(peer, "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN");
        let port = socket.split('/').nth(4).unwrap();
        let to = format!("127.0.0.1:{port}");
        let begun = std::time::Instant::now();
        let output =
            flags(&["--server-address", &to, "--upload-bytes", "1000000", "--download-bytes", "2000000"])
                .output();
        let took = begun.elapsed().as_secs_f64();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.starts_with("{\"type\":\"final\","), "{said}");
        let told = number(&said, "timeSeconds");
        assert!(told > 0.0 && told <= took, "{told} s of {took}");
        assert_eq!((number(&said, "uploadBytes"), number(&said, "downloadBytes")), (1e6, 2e6));
    }
}

#[test]
fn what_weir_does_not_speak_is_refused_with_a_reason() {
    let told: [&[(&str, &str)]; 4] = [
        &[("is_dialer", "true"), ("transport", "webrtc-direct")],
        &[("is_dialer", "perhaps"), ("transport", "tcp")],
        &[("IS_DIALER", "true"), ("TRANSPORT", "tcp")],
        &[("is_dialer", "true"), ("transport", "tcp"), ("security", "plaintext"), ("muxer", "yamux")],
    ];
    for variables in told {
        let output = node(variables).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{variables:?}");
        assert!(!output.stderr.is_empty());
    }
    let output = Command::new(HARNESS).args(["--server-address", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
