//! Decoders of `weir-pull`.

use bytes::Bytes;
use weir_base::codec::Malformed;
use weir_base::{Chunk, Instant, Rope};
use weir_pull::framing::{Inbox, Message, put_with_body};

use crate::base::Cuts;

/// Messages are the same however the stream is cut, and are written again as they were read. The first byte is
/// the limit, the second the seed of the cuts.
pub(crate) fn message(data: &[u8]) {
    let [limit, cuts, stream @ ..] = data else {
        return;
    };
    let max = usize::from(*limit);
    let whole = messages(max, stream, Cuts::none());
    assert_eq!(whole, messages(max, stream, Cuts::seeded(*cuts)));
    let mut again = Rope::new();
    for message in &whole.0 {
        put_with_body(&mut again, message.kind, |_| {}, message.body.clone());
    }
    assert!(stream.starts_with(&again.into_bytes()));
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
