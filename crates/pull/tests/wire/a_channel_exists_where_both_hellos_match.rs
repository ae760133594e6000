use weir_base::NetworkId;
use weir_base::pair::{LINK, Pipe};
use weir_pull::{Channel, ChannelId, Config, Event, Negotiated, PeerHello, Refused, Shape, call};

use crate::common::*;

fn channel(id: u16, name: &str, version: u16, shape: Shape) -> Channel {
    Channel { id: ChannelId(id), name: name.into(), version, oldest: version, shape }
}

fn hello_of(pull: &mut weir_pull::Pull) -> PeerHello {
    let found = events(pull).into_iter().find_map(|event| match event {
        Event::Ready { hello, .. } => Some(hello),
        _ => None,
    });
    (*found.expect("hello")).clone()
}

fn with(channels: Vec<Channel>) -> Config {
    Config { channels, ..config() }
}

#[test]
fn only_where_id_name_and_shape_are_equal_and_a_version_is_common() {
    let a = with(vec![
        channel(1, "same", 1, Shape::Raw),
        channel(2, "name", 1, Shape::Raw),
        channel(3, "version", 1, Shape::Raw),
        channel(4, "shape", 1, Shape::Raw),
        channel(5, "id", 1, Shape::Raw),
        channel(16_383, "last", 9, Shape::Raw),
    ]);
    let b = with(vec![
        channel(16_383, "last", 9, Shape::Raw),
        channel(1, "same", 1, Shape::Raw),
        channel(2, "another", 1, Shape::Raw),
        channel(3, "version", 2, Shape::Raw),
        channel(4, "shape", 1, Shape::Call(call::Config::default())),
        channel(6, "id", 1, Shape::Raw),
    ]);
    let mut pair = two(a, b, Pipe::default(), 1);
    pair.run_until(at(200));
    assert_eq!(hello_of(&mut pair.a).channels, [ChannelId(1), ChannelId(16_383)]);
    assert_eq!(hello_of(&mut pair.b).channels, [ChannelId(1), ChannelId(16_383)]);
    assert_eq!(pair.faults, []);
    assert_eq!(request(&mut pair.b, pair.now, "x"), Err(Refused::UnknownChannel));
}

#[test]
fn the_highest_common_version_is_used() {
    let speaks = |oldest, newest| with(vec![Channel { oldest, ..channel(1, "same", newest, Shape::Raw) }]);
    for ((of_a, of_b), common) in [
        (((1, 1), (1, 2)), Some(1)),
        (((1, 3), (2, 5)), Some(3)),
        (((4, 4), (2, 9)), Some(4)),
        (((1, 2), (3, 4)), None),
        (((0, 65_535), (65_535, 65_535)), Some(65_535)),
    ] {
        let mut pair = two(speaks(of_a.0, of_a.1), speaks(of_b.0, of_b.1), Pipe::default(), 1);
        pair.run_until(at(200));
        for pull in [&mut pair.a, &mut pair.b] {
            let version = hello_of(pull).negotiated(ChannelId(1)).map(|agreed| agreed.version);
            assert_eq!(version, common, "{of_a:?} and {of_b:?}");
        }
        assert_eq!(pair.faults, []);
    }
    let refused = speaks(2, 1).validate().unwrap_err().to_string();
    assert!(refused.ends_with("`oldest` must not be above `version`"), "{refused}");
}

#[test]
fn a_record_with_an_extension_that_must_be_understood_is_not_shared() {
    // the last byte of a hello without extensions is the length of the last channel's extensions
    for (extension, shared) in [(&[5, 1, 9][..], true), (&[4, 1, 9], false), (&[5, 0, 4, 0], false)] {
        let mut fields = bytes::BytesMut::new();
        hello().encode(&mut fields);
        assert_eq!(fields.split_off(fields.len() - 1)[..], [0]);
        fields.extend_from_slice(&[u8::try_from(extension.len()).unwrap()]);
        fields.extend_from_slice(extension);
        let mut pair = against(Script::saying(message(0, &fields)), config());
        pair.run_until(at(200));
        assert_eq!(hello_of(&mut pair.b).negotiated(CALL).is_some(), shared, "{extension:?}");
        assert_eq!(pair.faults, []);
    }
}

#[test]
fn limits_are_the_smaller_of_both() {
    let (mut a, mut b) = (config(), config());
    *call_config(&mut a) =
        call::Config { max_request: 10, max_response: 99, concurrency: 3, ..Default::default() };
    *call_config(&mut b) =
        call::Config { max_request: 20, max_response: 50, concurrency: 2, ..Default::default() };
    tip_config(&mut b).max_value = 100;
    let mut pair = two(a, b, Pipe::default(), 1);
    pair.run_until(at(200));
    let (of_a, of_b) = (hello_of(&mut pair.a), hello_of(&mut pair.b));
    for hello in [&of_a, &of_b] {
        let Negotiated { max_request, max_answer, at_once, .. } = hello.negotiated(CALL).unwrap();
        assert_eq!((max_request, max_answer, at_once), (10, 50, 2));
        assert_eq!(hello.negotiated(TIP).unwrap().max_answer, 100);
        assert_eq!(hello.agent, "test/1");
    }
    assert_ne!(of_a.key, of_b.key);
    assert_eq!(request(&mut pair.b, pair.now, vec![0; 11]), Err(Refused::TooLarge));
    assert!(request(&mut pair.b, pair.now, vec![0; 10]).is_ok());
    assert!(request(&mut pair.b, pair.now, vec![0; 10]).is_ok());
    assert_eq!(request(&mut pair.b, pair.now, vec![0; 10]), Err(Refused::Busy));
}

#[test]
fn a_call_on_a_channel_that_is_not_shared_ends_without_a_fault() {
    let b = with(vec![channel(1, "tip", 1, Shape::Tip(weir_pull::tip::Config::default()))]);
    let mut pair = two(config(), b, Pipe::default(), 1);
    let ticket = request(&mut pair.a, at(0), "first flight").unwrap();
    pair.run_until(at(1_000));
    let all = events(&mut pair.a);
    let result = Err(call::CallError::Unsupported);
    assert!(
        all.iter()
            .any(|event| matches!(event, Event::Call(CALL, call::Event::Response { ticket: of, result: r })
        if *of == ticket && *r == result))
    );
    assert_eq!(pair.faults, []);
    assert_eq!(request(&mut pair.a, pair.now, "later"), Err(Refused::NoLink));
    assert_eq!(pair.b.stats().count(), 2);
}

#[test]
fn another_network_is_refused_with_its_reason_and_its_data_discarded() {
    use weir_base::stream::Goodbye;
    let other = Config { network: NetworkId([8; 32]), ..config() };
    let mut pair = two(config(), other, Pipe::default(), 1);
    request(&mut pair.a, at(0), "first flight").unwrap();
    pair.run_until(at(10_000));
    let all = events(&mut pair.b);
    assert!(!is_ready(&all) && all.iter().all(|event| !matches!(event, Event::Call(..))), "{all:?}");
    assert_eq!(pair.closed.map(|closed| closed.1), Some(Goodbye::WrongNetwork));
    assert!(pair.faults.iter().all(|(_, fault)| fault.blame == weir_base::Blame::Incompatible));
    assert!(!pair.faults.is_empty());
}

#[test]
fn a_peer_hears_why_it_is_refused() {
    use weir_base::stream::Goodbye;
    for (reason, change) in [(Goodbye::WrongNetwork, 0), (Goodbye::WrongVersion, 1)] {
        let mut theirs = hello();
        if change == 0 {
            theirs.preamble.network = NetworkId([9; 32]);
        } else {
            (theirs.preamble.oldest, theirs.preamble.newest) = (2, 5);
        }
        let mut bytes = hello_bytes(&theirs).to_vec();
        if change == 1 {
            bytes.pop(); // what follows the preamble is another version's: it is not looked at
            bytes[0] -= 1;
        }
        let mut pair = against(Script::saying(bytes.into()), config());
        pair.run_until(at(1_000));
        let heard = pair.a.control();
        assert_eq!(heard.first().map(|(kind, _)| *kind), Some(0), "its own hello goes first");
        assert_eq!(
            heard.last().map(|(kind, body)| (*kind, body.to_vec())),
            Some((10, varint(reason.code().into())))
        );
        assert_eq!(pair.closed.map(|closed| closed.1), Some(reason));
        assert!(pair.a.down);
    }
}

#[test]
fn an_older_version_in_common_is_used() {
    let mut theirs = hello();
    (theirs.preamble.oldest, theirs.preamble.newest) = (0, 7);
    let mut pair = against(Script::saying(hello_bytes(&theirs)), config());
    pair.run_until(at(1_000));
    assert_eq!(hello_of(&mut pair.b).version, 1);
    assert_eq!(
        pair.b.command(
            at(1),
            weir_pull::Command::Control(weir_pull::control::Command::Goodbye {
                link: weir_base::LinkId(LINK.0 + 1),
                reason: weir_base::stream::Goodbye::Asked,
            })
        ),
        Err(Refused::NoLink)
    );
}
