//! An error of a configuration names the field by the path at which the user wrote it.

use std::collections::BTreeSet;

use super::*;
use crate::{Builder, Bytes, Keypair, Malformed, Message, Method, Network, NetworkId, Pool, RequestResponse};
use crate::{Service, SlotKey, Tip, TipValue};

fn error(text: &str) -> String {
    toml::from_str::<Config>(text).unwrap_err().to_string()
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one_and_its_line() {
    for (text, nearest, line) in [
        ("[mailbox]\n", "mailboxes", 1),
        ("[node.admission]\nmax_link = 1\n", "max_links", 2),
        ("[mailboxes]\nevents = 9\n[node.dial]\n\ntimout = '1s'\n", "timeout", 5),
        ("[node.peers]\nbackof = 1\n", "backoff", 2),
    ] {
        let error = error(text);
        assert!(error.contains(&format!("did you mean `{nearest}`?")), "{error}");
        assert!(error.contains(&format!("line {line}")), "{error}");
    }
}

#[test]
fn what_else_is_wrong_is_said_as_before() {
    for (text, says) in [
        ("[mailboxes]\nopen_deadline = '10 parsecs'\n", "unknown unit"),
        ("[mailboxes]\nevents = 'many'\n", "invalid type"),
        ("[mailboxes]\nevents = -1\n", "invalid value"),
        ("[node.admission]\nexempt = ['10.0.0.0/33']\n", "is no network"),
        ("[mailboxes\n", "unclosed table"),
    ] {
        assert!(error(text).contains(says), "{}", error(text));
    }
}

#[test]
fn the_defaults_survive_a_file_and_durations_and_sizes_are_text() {
    let text = toml::to_string(&Config::default()).unwrap();
    assert!(text.contains("open_deadline = \"10s\"") && text.contains("stream_send = \"1MiB\""), "{text}");
    let back: Config = toml::from_str(&text).unwrap();
    assert_eq!(toml::to_string(&back).unwrap(), text);
    let given: Config =
        toml::from_str("[mailboxes]\nopen_deadline = '250ms'\npublish_deadline = 40\n").unwrap();
    let millis =
        [given.mailboxes.open_deadline, given.mailboxes.publish_deadline].map(|time| time.as_millis());
    assert_eq!(millis, [250, 40]);
}

#[test]
fn mplex_is_named_or_spoken_by_its_usual_name() {
    let names = |given: &str| {
        let config: Config = toml::from_str(&format!("[node.tcp]\nmplex = {given}\n")).unwrap();
        config.node.tcp.mplex
    };
    assert_eq!(names("true"), ["/mplex/6.7.0"]);
    assert_eq!(names("['/coda/mplex/1.0.0']"), ["/coda/mplex/1.0.0"]);
    assert!(names("false").is_empty() && Config::default().node.tcp.mplex.is_empty());
    assert!(error("[node.tcp]\nmplex = 7\n").contains("mplex"), "{}", error("[node.tcp]\nmplex = 7\n"));
}

fn builder() -> Builder {
    Network::builder(Keypair::ed25519_from_seed([1; 32]), NetworkId([1; 32]))
}

/// What a start with this says.
fn refused<H>(builder: Builder<H>) -> String {
    builder.plan().unwrap_err().to_string()
}

/// A wrong value: as a file has it, as a program has it, and what is said.
type Wrong = (&'static str, fn(&mut Config), &'static str);

/// One of each section.
const WRONG: &[Wrong] = &[
    (
        "[node.peers]\ntarget = 0",
        |config| config.node.peers.target = 0,
        "`node.peers.target` must be at least 1",
    ),
    (
        "[node.standing]\nban = 49",
        |config| config.node.standing.ban = 49,
        "`node.standing.disconnect` must be at most `node.standing.ban`",
    ),
    (
        "[node.admission]\nmax_inbound = 121",
        |config| config.node.admission.max_inbound = 121,
        "`node.admission.max_inbound` is 121; it must be at most 120, so that the node can dial links of its own; lower it, or \
         raise `node.admission.max_links`",
    ),
    (
        "[node.dial]\ntimeout = 0",
        |config| config.node.dial.timeout = Duration::ZERO,
        "`node.dial.timeout` must be above 0; 10 s is usual",
    ),
    (
        "[node.budget]\nreceive_total = '1MiB'",
        |config| config.node.budget.receive_total = 1 << 20,
        "`node.budget.receive_total` is 1048576; it must be at least 17825825: base windows of 65536 for 256 links, half-open \
         ones and dials included, and the largest message (1048609); raise it, or lower `node.admission.max_links`",
    ),
    (
        "[node.streams]\nmax_negotiating = 0",
        |config| config.node.streams.max_negotiating = 0,
        "`node.streams.max_negotiating` must be at least 1",
    ),
    (
        "[node.quic]\nkeep_alive = '40s'",
        |config| config.node.quic.keep_alive = Duration::from_secs(40),
        "`node.quic.keep_alive` is 40s; it must be above 0 and below `node.quic.idle_timeout` (30s), or silent links are lost",
    ),
    (
        "[node.tcp]\nmplex = ['/yamux/1.0.0']",
        |config| config.node.tcp.mplex = config.node.tcp.yamux.clone(),
        "`node.tcp.mplex` has a name of `node.tcp.yamux`; give each muxer names of its own",
    ),
    (
        "[node.control]\nidle_timeout = '15s'",
        |config| config.node.control.idle_timeout = Duration::from_secs(15),
        "`node.control.idle_timeout` must be longer than `node.control.interval` by a second or more: pings go out on full seconds",
    ),
    (
        "[node.ping]\nmax_inbound = 0",
        |config| config.node.ping.max_inbound = 0,
        "`node.ping.max_inbound` must be at least 1; 2 is usual",
    ),
    (
        "[node.ping]\nburst = 0",
        |config| config.node.ping.burst = 0,
        "`node.ping.burst` must be at least 1; 10 is usual",
    ),
    (
        "[node.identify]\ntimeout = 0",
        |config| config.node.identify.timeout = Duration::ZERO,
        "`node.identify.timeout` must be above zero; 10 s is usual",
    ),
    (
        "[node.calls]\nmemory = '1MiB'",
        |config| config.node.calls.memory = 1 << 20,
        "`node.calls.memory` must be at least 1485504 for `block`; raise it, or lower the channel's largest answer",
    ),
    (
        "[node.requests]\nmemory = '1KiB'",
        |config| config.node.requests.memory = 1024,
        "`node.requests.memory` must be at least 1048650 bytes, the largest message of `/my/size/1` in its frame",
    ),
    (
        "[mailboxes]\nevents = 0",
        |config| config.mailboxes.events = 0,
        "`mailboxes.events` must be at least 1; 1024 is usual",
    ),
    (
        "[sockets]\nmax_queries = 0",
        |config| config.sockets.max_queries = 0,
        "`sockets.max_queries` must be at least 1; 256 is usual",
    ),
];

/// Sections of which every number holds.
const NEVER_WRONG: [&str; 2] = ["node.perf", "node.raw"];

/// The sections that a file may have, by their paths, with all their keys that have a default.
fn sections() -> Vec<(String, toml::Table)> {
    let mut all = toml::Table::try_from(Config::default()).unwrap();
    let node = all.remove("node").unwrap().as_table().unwrap().clone();
    let named = |of: &'static str, table: toml::Table| {
        table.into_iter().map(move |(name, keys)| (format!("{of}{name}"), keys.as_table().unwrap().clone()))
    };
    named("node.", node).chain(named("", all)).collect()
}

#[test]
fn each_section_names_what_is_wrong_by_its_whole_path() {
    for (file, change, message) in WRONG {
        let read: Config = toml::from_str(file).unwrap();
        let mut made = Config::default();
        change(&mut made);
        for config in [read, made] {
            let channels = (Method::<u64, u64>::new(5, "block"), RequestResponse::new(&["/my/size/1"]));
            let said = refused(builder().channels(channels).config(config));
            assert_eq!(said, format!("configuration: {message}"), "{file}");
        }
    }
    let tried = WRONG.iter().filter_map(|(file, ..)| file.strip_prefix('[')?.split(']').next());
    let tried: BTreeSet<&str> = tried.chain(NEVER_WRONG).collect();
    let all = sections();
    assert_eq!(tried, all.iter().map(|(section, _)| section.as_str()).collect());
}

#[test]
fn an_unknown_key_of_any_section_is_refused_with_the_nearest() {
    for (section, keys) in sections() {
        for key in keys.keys() {
            let error = error(&format!("[{section}]\n{key}x = 1\n"));
            let said = format!("unknown field `{key}x`; did you mean `{key}`?");
            assert!(error.contains(&said) && error.contains("line 2"), "{section}: {error}");
        }
    }
}

#[test]
fn what_a_builder_was_given_is_named_as_it_was_given() {
    const TXS: Pool<String> = Pool::new(4, "tx");
    const HEAD: Tip<Height> = Tip::new(2, "head");
    const BLOCK: Method<u64, u64> = Method::new(5, "block");
    const SIZE: RequestResponse = RequestResponse::new(&["/my/size/1"]);
    let minutes = Duration::from_secs(120);
    for (said, expected) in [
        (refused(builder().channels(TXS.max_item(0))), "channel `tx`: `max_item` must be at least 1 byte"),
        (
            refused(builder().channels(TXS.keep(0, 1 << 20))),
            "channel `tx`: `keep(items, …)` must be at least 1",
        ),
        (
            refused(builder().channels(TXS.keep(9, 9))),
            "channel `tx`: `keep(…, bytes)` must hold at least one item of `max_item`",
        ),
        (refused(builder().channels(TXS.candidates(0))), "channel `tx`: `candidates` must be at least 1"),
        (
            refused(builder().channels(TXS.offer_delay(minutes))),
            "channel `tx`: `offer_delay` must be at most 60 s",
        ),
        (
            refused(builder().channels(HEAD.max_value(1025))),
            "channel `head`: `max_value` must be between 1 and 1024",
        ),
        (
            refused(builder().channels(BLOCK.concurrency(0))),
            "channel `block`: `concurrency` must be at least 1; 64 is usual",
        ),
        (
            refused(builder().channels(BLOCK.rate(1, 0))),
            "channel `block`: `rate` must be at least 1 and 1; without it there is no limit",
        ),
        (
            refused(builder().channels(BLOCK.rate(0, 1))),
            "channel `block`: `rate` must be at least 1 and 1; without it there is no limit",
        ),
        (
            refused(builder().channels(BLOCK.deadline(Duration::ZERO))),
            "channel `block`: `deadline` must be above zero; 10 s is usual",
        ),
        (
            refused(builder().channels(SIZE.concurrency(0, 1))),
            "protocols by name have a deadline and a concurrency above 0, unlike `/my/size/1`",
        ),
        (refused(builder().agent("a".repeat(65))), "`agent` has 65 bytes and may have at most 64"),
        (
            refused(builder().service(service(65))),
            "`service`: at most 16 of them, ids unique, payloads of at most 64 bytes",
        ),
    ] {
        assert_eq!(said, format!("configuration: {expected}"));
    }
}

/// A value of a tip.
struct Height(u64);

impl Message for Height {
    fn encode(&self) -> Bytes {
        self.0.encode()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        u64::decode(bytes).map(Self)
    }
}

impl TipValue for Height {
    fn slot(&self) -> SlotKey {
        SlotKey::of(&[&self.0.to_be_bytes()])
    }
}

fn service(payload: usize) -> Service {
    Service { id: 1, version: 1, payload: vec![0; payload].into() }
}
