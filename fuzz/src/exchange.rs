//! Requests by name: as a machine in use, and their framings.

use std::sync::Arc;

use bytes::Bytes;
use weir_base::stream::{Incoming, Origin, StreamUser as _};
use weir_base::{LinkId, ProtocolId, StreamKey};
use weir_stack::exchange::{self, Exchange, Failure, LengthPrefix, Limits, UntilEnd};
use weir_stack::{NAMED, NamedProtocol, NamedShape, Profile, Ticket};

use crate::script::Script;
use crate::users::Driver;

/// What peers make requests hold together, at most, in bytes.
const MEMORY: u64 = 1_000;

/// Two protocols of requests, one of each framing, with limits that a short script reaches.
fn two_protocols() -> Exchange {
    let limits = Limits { max_request: 300, max_response: 300, per_peer: 2, total: 3, ..Limits::DEFAULT };
    let of = |name: &str, framing: Arc<dyn exchange::Framing>| NamedProtocol {
        names: vec![format!("/{name}/2"), format!("/{name}/1")],
        served: true,
        shape: NamedShape::Exchange(exchange::Config { framing, limits }),
    };
    let protocols = vec![of("prefixed", Arc::new(LengthPrefix)), of("until-end", Arc::new(UntilEnd))];
    Exchange::new(&Profile { protocols, ..Profile::default() }, MEMORY)
}

/// Requests by name, both sides: each request of this side's ends once, those of peers are told once and cancelled at most once.
/// Taken: a request was told, or a response came.
pub(crate) fn machine(data: &[u8]) -> bool {
    let mut driver = Driver::new(two_protocols(), 4);
    let (mut asked, mut given_up, mut answered, mut taken) = (0_u64, 0, 0, false);
    let mut told = Vec::new();
    let mut hear = |user: &mut Exchange, taken: &mut bool| {
        while let Some(event) = user.poll_event() {
            match event {
                exchange::Event::Answered { result, .. } => {
                    answered += 1;
                    assert!(
                        result.as_ref().is_ok_and(|(_, response)| response.len() <= 300) || result.is_err()
                    );
                    *taken |= result.is_ok();
                }
                exchange::Event::Requested { key, request, .. } => {
                    assert!(request.len() <= 300 && !told.contains(&key));
                    told.push(key);
                    *taken = true;
                }
                exchange::Event::Cancelled(key) => {
                    let before = told.len();
                    told.retain(|other| *other != key);
                    assert_eq!(told.len() + 1, before, "cancelled, and not told or cancelled before");
                }
                exchange::Event::Failed { reason, .. } => assert_ne!(reason, Failure::Gone),
            }
        }
        answered
    };
    driver.run(
        &mut Script::new(data),
        |user, now, link, script, keys| match script.byte() % 5 {
            0 | 1 => {
                let (first, len) = (script.byte() % 2, script.byte());
                let request = Bytes::from(vec![7; len.into()]);
                let first = ProtocolId(NAMED.0 + 2 * u32::from(first));
                if user.request(now, (link, Ticket(asked)), (first, request), None).is_ok() {
                    asked += 1;
                }
            }
            2 => given_up += u64::from(user.cancel(Ticket(script.byte().into())).is_ok()),
            3 => {
                let (key, len) = (script.pick(keys), script.number() % 400);
                let _ = key.map(|key| user.respond(now, key, Ok(Bytes::from(vec![7; len.into()]))));
            }
            _ => user.handle_known(link),
        },
        |user| {
            hear(user, &mut taken);
        },
    );
    driver.wait_for_deadlines();
    driver.end();
    assert_eq!(hear(&mut driver.user, &mut taken), asked - given_up, "each request ends once");
    taken
}

/// One message in each framing, as request and as response: the same for every fragmentation, and no larger than its limit. Taken:
/// it was told as a request of either framing.
pub(crate) fn framing(data: &[u8]) -> bool {
    let run = |piece: usize, framing: u32, asks: bool| {
        let mut driver = Driver::new(two_protocols(), 0);
        driver.link_up();
        let link = LinkId(1);
        driver.user.handle_known(link);
        let first = ProtocolId(NAMED.0 + 2 * framing);
        let key = if asks {
            let request = (first, Bytes::from_static(b"?"));
            let began = driver.user.request(driver.now, (link, Ticket(1)), request, None);
            assert_eq!(began, Ok(()));
            driver.carry_out();
            driver.streams.keys().next().copied().unwrap_or(StreamKey { link, stream: 0 })
        } else {
            let key = driver.add(link);
            driver.user.handle_opened(driver.now, key, Origin::Peer(first));
            key
        };
        for part in data.chunks(piece) {
            driver.data(key, part);
        }
        if driver.streams.get(&key).is_some_and(|halves| halves.reading) {
            driver.user.handle_incoming(driver.now, key, Incoming::End);
        }
        std::iter::from_fn(|| driver.user.poll_event()).collect::<Vec<_>>()
    };
    let mut taken = false;
    for framing in [0, 1] {
        for asks in [true, false] {
            let whole = run(data.len().max(1), framing, asks);
            let message = whole.iter().find_map(|event| match event {
                exchange::Event::Requested { request, .. } => Some(request.clone()),
                exchange::Event::Answered { result: Ok((_, response)), .. } => Some(response.clone()),
                _ => None,
            });
            if let Some(message) = message {
                assert!(message.len() <= 300 && data.ends_with(&message) || whole.len() > 1);
                taken |= !asks;
            }
            for piece in [1, 7, 64] {
                same(&whole, &run(piece, framing, asks));
            }
        }
    }
    taken
}

/// The same, but for what is seen of bytes behind a message: where they come with it nothing is told, where they come later it was.
fn same(whole: &[exchange::Event], pieces: &[exchange::Event]) {
    let excess = |events: &[exchange::Event]| {
        events.iter().any(|event| {
            matches!(
                event,
                exchange::Event::Failed { reason: Failure::Excess, .. }
                    | exchange::Event::Answered { result: Err(Failure::Excess), .. }
            )
        })
    };
    if excess(whole) || excess(pieces) {
        assert_eq!(excess(whole), excess(pieces));
    } else {
        assert_eq!(whole, pieces);
    }
}
