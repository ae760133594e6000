//! The bytes of every message, as `vectors/` has them for other implementations.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::codec::Framer;
use weir_base::stream::Goodbye;
use weir_base::{Instant, Rope};
use weir_pull::ShortKey;
use weir_pull::control::codec::{self as control, Control, Hello};
use weir_pull::framing::{self, Message};
use weir_pull::{ChannelId, NumberedKey, Service, call, tip};

use crate::common::{hello, message};

/// Name and bytes of each line that is not a comment.
fn lines(file: &str) -> Vec<(String, Bytes)> {
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').unwrap();
        let digits: Vec<u8> =
            hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
        (name.to_owned(), digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect::<Vec<u8>>().into())
    };
    file.lines().filter(|text| !text.starts_with('#')).map(line).collect()
}

/// The only message in these bytes.
fn whole(mut bytes: Bytes) -> Message {
    let frame = Framer::new(10_000).next(&mut bytes).unwrap().unwrap();
    assert!(bytes.is_empty());
    Message::decode(frame).unwrap()
}

fn check(file: &str, expected: &[(&str, Bytes)]) {
    let found = lines(file);
    let text = |name: &str, bytes: &Bytes| format!("{name} {bytes:02x}");
    let want: Vec<String> = expected.iter().map(|(name, bytes)| text(name, bytes)).collect();
    let have: Vec<String> = found.iter().map(|(name, bytes)| text(name, bytes)).collect();
    assert_eq!(have, want, "\n{}\n", want.join("\n"));
}

fn services() -> Vec<Service> {
    vec![
        Service { id: 1, version: 2, payload: Bytes::from_static(&[0xaa, 0xbb]) },
        Service { id: 300, version: 1, payload: Bytes::new() },
    ]
}

fn full_hello() -> Hello {
    let mut full = hello();
    full.features = 5;
    full.agent = "weir/0.1".into();
    full.services = services();
    full.channels[1].id = ChannelId(16_383);
    full
}

fn control_message(message: &Control) -> Bytes {
    let (kind, fields) = message.encode().unwrap();
    crate::common::message(kind, &fields)
}

#[test]
fn of_control() {
    let bare = Hello { channels: Vec::new(), ..hello() };
    let hellos = [("hello", full_hello()), ("hello-bare", bare)];
    let messages = [
        ("ping", Control::Ping([1, 2, 3, 4, 5, 6, 7, 8])),
        ("pong", Control::Pong([1, 2, 3, 4, 5, 6, 7, 8])),
        ("services", Control::Services(services())),
        ("services-none", Control::Services(Vec::new())),
        ("short-key", Control::ShortKey(NumberedKey { number: 300, key: ShortKey([0x11; 16]) })),
        ("goodbye-another-network", Control::Goodbye(Goodbye::WrongNetwork)),
        ("goodbye-unknown-reason", Control::Goodbye(Goodbye::Other(1_000))),
    ];
    let mut expected = Vec::new();
    for (name, hello) in &hellos {
        let mut fields = BytesMut::new();
        hello.encode(&mut fields);
        expected.push((*name, message(control::HELLO, &fields)));
        assert_eq!(Hello::decode(&fields), Ok(hello.clone()));
    }
    for (name, message) in &messages {
        let bytes = control_message(message);
        let Message { kind, body } = whole(bytes.clone());
        assert_eq!(Control::decode(kind, &body).as_ref(), Ok(message), "{name}");
        expected.push((*name, bytes));
    }
    expected.push(("skipped", message(101, b"\x01\x02")));
    assert_eq!(Control::decode(101, &[1, 2]), Ok(Control::Skipped));
    check(include_str!("../../../../vectors/control.txt"), &expected);
}

#[test]
fn of_tips() {
    use tip::codec::{EVIDENCE, FromClient, FromServer, TIP, WANT, WITHDRAWN, want};
    let permit = |processed| {
        let (bytes, len) = want(processed);
        message(WANT, &bytes[..len])
    };
    for (bytes, processed) in [(permit(0), 0), (permit(300), 300)] {
        assert_eq!(FromClient::decode(&whole(bytes)), Ok(FromClient::Want { processed }));
    }
    let (value, proof, back) = (message(TIP, b"value"), message(EVIDENCE, b"other"), message(WITHDRAWN, b""));
    assert_eq!(FromServer::decode(whole(value.clone())), Ok(FromServer::Tip("value".into())));
    assert_eq!(FromServer::decode(whole(proof.clone())), Ok(FromServer::Evidence("other".into())));
    assert_eq!(FromServer::decode(whole(back.clone())), Ok(FromServer::Withdrawn));
    let expected = [
        ("want-first", permit(0)),
        ("want-after-300", permit(300)),
        ("tip", value),
        ("evidence", proof),
        ("withdrawn", back),
    ];
    check(include_str!("../../../../vectors/tip.txt"), &expected);
}

#[test]
fn of_calls() {
    use call::codec::{Answer, Ask, Millis, REFUSAL, REQUEST, RESPONSE};
    let sent = |kind, fields: &[u8], body: &'static str| {
        let (mut pending, mut out) = (Rope::new(), Rope::new());
        framing::send(&mut pending, 1_000, &mut out, kind, fields, body.into());
        assert!(pending.is_empty());
        out.into_bytes()
    };
    let deadline = Instant::from_millis(11_000);
    let request =
        sent(REQUEST, Millis::patience(Instant::from_millis(1_000), deadline).as_slice(), "request");
    let patience = Duration::from_secs(10);
    assert_eq!(Ask::decode(whole(request.clone())), Ok(Ask::Request { patience, request: "request".into() }));
    let response = sent(RESPONSE, &[], "response");
    assert_eq!(Answer::decode(whole(response.clone())), Ok(Answer::Response("response".into())));
    let empty = sent(RESPONSE, &[], "");
    let refusal = sent(REFUSAL, Millis::new(Duration::from_millis(100)).as_slice(), "");
    let retry_after = Duration::from_millis(100);
    assert_eq!(Answer::decode(whole(refusal.clone())), Ok(Answer::Refusal(call::Refusal { retry_after })));
    let expected =
        [("request", request), ("response", response), ("response-empty", empty), ("refusal", refusal)];
    check(include_str!("../../../../vectors/call.txt"), &expected);
}
