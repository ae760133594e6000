//! What two nodes agree on once both hellos are there.

use super::codec::Hello;
use super::hello::PeerHello;
use crate::machine::Negotiated;

/// What two hellos have in common: channels that match in id, name and shape and have a version in
/// common, of which the highest counts, with the smaller limits.
pub(super) fn shared(mine: &Hello, theirs: Hello, version: u16) -> PeerHello {
    let (mut channels, mut limits) = (Vec::new(), Vec::new());
    for channel in &theirs.channels {
        let found = mine.channels.binary_search_by_key(&channel.id, |mine| mine.id);
        let Some(own) = found.ok().and_then(|index| mine.channels.get(index)) else { continue };
        let newest = own.newest.min(channel.newest);
        let common = newest >= own.oldest.max(channel.oldest);
        if own.name == channel.name && common && own.shape == channel.shape {
            channels.push(channel.id);
            limits.push(Negotiated {
                version: newest,
                max_request: own.max_request.min(channel.max_request),
                max_answer: own.max_answer.min(channel.max_answer),
                at_once: own.at_once.min(channel.at_once),
                peer_key: theirs.key,
            });
        }
    }
    PeerHello {
        version,
        features: theirs.features,
        services: theirs.services,
        agent: theirs.agent,
        max_streams: theirs.max_streams,
        key: theirs.key,
        channels,
        limits,
    }
}
