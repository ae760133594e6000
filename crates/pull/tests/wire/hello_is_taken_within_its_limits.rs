use bytes::{Bytes, BytesMut};
use weir_base::Blame;
use weir_base::codec::{put_prefixed, put_varint};
use weir_pull::control::codec::Hello;
use weir_pull::{ChannelId, Service};

use crate::common::*;

fn fields(hello: &Hello) -> BytesMut {
    let mut fields = BytesMut::new();
    hello.encode(&mut fields);
    fields
}

/// What a node makes of a peer whose first message this is; `None`: a link.
fn taken(first: Bytes) -> Option<Blame> {
    let mut pair = against(Script::saying(first), config());
    pair.run_until(at(500));
    let blame = pair.faults.first().map(|(_, fault)| fault.blame);
    assert_eq!(is_ready(&events(&mut pair.b)), blame.is_none());
    blame
}

fn service(id: u32, payload: usize) -> Service {
    Service { id, version: 1, payload: vec![1; payload].into() }
}

/// Whether a hello is taken that was changed so.
fn changed(change: impl FnOnce(&mut Hello)) -> Option<Blame> {
    let mut hello = hello();
    change(&mut hello);
    taken(hello_bytes(&hello))
}

#[test]
fn sixteen_services_of_64_bytes_in_ascending_order() {
    assert_eq!(changed(|hello| hello.services = (1..=16).map(|id| service(id, 64)).collect()), None);
    let wrong = Some(Blame::Misbehaved);
    assert_eq!(changed(|hello| hello.services = (1..=17).map(|id| service(id, 1)).collect()), wrong);
    assert_eq!(changed(|hello| hello.services = vec![service(1, 65)]), wrong);
    assert_eq!(changed(|hello| hello.services = vec![service(2, 1), service(1, 1)]), wrong);
    assert_eq!(changed(|hello| hello.services = vec![service(1, 1), service(1, 1)]), wrong);
}

#[test]
fn sixty_four_channels_with_names_of_32_bytes() {
    let channels = |count: u16, name: &str| {
        let offer = hello().channels.remove(0);
        let channel = |id| {
            let mut channel = offer.clone();
            (channel.id, channel.name) = (ChannelId(id), name.into());
            channel
        };
        (100..100 + count).map(channel).collect::<Vec<_>>()
    };
    assert_eq!(changed(|hello| hello.channels = channels(64, &"n".repeat(32))), None);
    assert_eq!(changed(|hello| hello.channels = channels(65, "n")), Some(Blame::Misbehaved));
    assert_eq!(changed(|hello| hello.channels = channels(1, &"n".repeat(33))), Some(Blame::Misbehaved));
    assert_eq!(changed(|hello| hello.channels = channels(1, "")), Some(Blame::Misbehaved));
    assert_eq!(
        changed(|hello| hello.channels[0].id = ChannelId(ChannelId::MAX.0 + 1)),
        Some(Blame::Misbehaved)
    );
}

#[test]
fn extensions_of_1024_bytes() {
    for (len, expected) in [(1_024, None), (1_025, Some(Blame::Misbehaved))] {
        let mut fields = fields(&hello());
        put_varint(&mut fields, 9);
        put_prefixed(&mut fields, &vec![0; len]);
        assert_eq!(taken(message(0, &fields)), expected, "{len}");
    }
}

#[test]
fn under_its_own_type_alone() {
    for kind in [2, 12, 101] {
        assert_eq!(taken(message(kind, &fields(&hello()))), Some(Blame::Misbehaved), "type {kind}");
    }
}
