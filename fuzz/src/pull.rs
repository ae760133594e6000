//! Decoders of `weir-pull`.

use bytes::{Bytes, BytesMut};
use weir_base::codec::Malformed;
use weir_base::{Chunk, Instant, Rope};
use weir_pull::call::codec::{Answer, Ask, Millis};
use weir_pull::control::codec::{Control, Hello};
use weir_pull::framing::{Inbox, Message, put_with_body};
use weir_pull::tip::codec::{FromClient, FromServer, want};

use crate::base::Cuts;

/// Messages are the same however the stream is cut, and are written again as they were read. The first byte is
/// the limit, the second the seed of the cuts.
pub(crate) fn message(data: &[u8]) -> bool {
    let [limit, cuts, stream @ ..] = data else {
        return false;
    };
    let max = usize::from(*limit);
    let whole = messages(max, stream, Cuts::none());
    assert_eq!(whole, messages(max, stream, Cuts::seeded(*cuts)));
    let mut again = Rope::new();
    for message in &whole.0 {
        put_with_body(&mut again, message.kind, |_| {}, message.body.clone());
    }
    assert!(stream.starts_with(&again.into_bytes()));
    !whole.0.is_empty()
}

/// All messages up to the first error, and that error.
fn messages(max: usize, stream: &[u8], mut cuts: Cuts) -> (Vec<Message>, Option<Malformed>) {
    let mut inbox = Inbox::new(max);
    let mut rest = Bytes::copy_from_slice(stream);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let room = inbox.room();
        assert!(room > 0, "an inbox that is drained takes more");
        let piece = rest.split_to(cuts.next(rest.len().min(room)));
        inbox.push(Chunk::whole(piece));
        loop {
            match inbox.next(Instant::ZERO) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        assert_eq!(inbox.is_partial(), inbox.deadline().is_some());
    }
    (found, None)
}

/// A hello that is taken is written again as it was read, less extensions at its end.
pub(crate) fn hello(data: &[u8]) -> bool {
    let Ok(hello) = Hello::decode(data) else {
        return false;
    };
    let mut again = BytesMut::new();
    hello.encode(&mut again);
    assert!(data.starts_with(&again));
    assert_eq!(Hello::decode(&again), Ok(hello));

    true
}

/// The first byte is the type of a control message; a known one has one encoding.
pub(crate) fn control(data: &[u8]) -> bool {
    let [kind, body @ ..] = data else {
        return false;
    };
    let kind = u64::from(*kind);
    let Ok(message) = Control::decode(kind, body) else {
        return false;
    };
    match message.encode() {
        Some((again, fields)) => assert_eq!((again, &fields[..]), (kind, body)),
        None => assert!(matches!(message, Control::Skipped | Control::Unknown)),
    }
    true
}

/// The first byte is the type of a tip channel's message, read as either side reads it.
pub(crate) fn tip(data: &[u8]) -> bool {
    let Some(message) = typed(data) else {
        return false;
    };
    let (client, body) = (FromClient::decode(&message), message.body.clone());
    if let Ok(FromClient::Want { processed }) = client {
        let (fields, length) = want(processed);
        assert_eq!(fields.get(..length), Some(&body[..]));
    }
    let server = FromServer::decode(message);
    if let Ok(FromServer::Tip(value) | FromServer::Evidence(value)) = &server {
        assert_eq!(*value, body);
    }
    client.is_ok() && server.is_ok()
}

/// The first byte is the type of a call's message, read as either side reads it.
pub(crate) fn call(data: &[u8]) -> bool {
    let Some(message) = typed(data) else {
        return false;
    };
    let (ask, body) = (Ask::decode(message.clone()), message.body.clone());
    if let Ok(Ask::Request { patience, request }) = &ask {
        let head = Millis::new(*patience);
        assert!(!patience.is_zero());
        assert_eq!([head.as_slice(), request].concat(), body);
    }
    let answer = Answer::decode(message);
    match &answer {
        Ok(Answer::Response(response)) => assert_eq!(*response, body),
        Ok(Answer::Refusal(refusal)) => assert_eq!(Millis::new(refusal.retry_after).as_slice(), body),
        _ => {}
    }
    ask.is_ok() && answer.is_ok()
}

fn typed(data: &[u8]) -> Option<Message> {
    let (kind, body) = data.split_first()?;
    Some(Message { kind: u64::from(*kind), body: Bytes::copy_from_slice(body) })
}
