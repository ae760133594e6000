//! What a stranger says to yamux, or on streams, that breaks a rule, and what it is to be blamed for.

use weir_base::Fault;
use weir_libp2p::{identify, multistream, yamux};

use super::stranger::{named, token};

/// Types of yamux's frames.
const DATA: u8 = 0;
const WINDOW: u8 = 1;
const PING: u8 = 2;

/// Their flags.
const SYN: u16 = 1;
const FIN: u16 = 4;
const RST: u16 = 8;

/// Frames of a flood: far beyond what yamux lets come at once.
const MANY: u32 = 5_000;

/// A rule that is broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What the stranger does, in a few words.
    pub rule: &'static str,
    /// Frames of yamux.
    pub says: Vec<u8>,
    /// What it is blamed for.
    pub fault: Fault,
}

/// A frame of yamux, whatever it says: type, flags, stream, length, and what follows them.
pub fn frame(kind: u8, flags: u16, stream: u32, length: u32, data: &[u8]) -> Vec<u8> {
    let (flags, stream, length) = (flags.to_be_bytes(), stream.to_be_bytes(), length.to_be_bytes());
    [&[0, kind], &flags[..], &stream[..], &length[..], data].concat()
}

/// A frame of yamux that opens a stream, with these bytes.
pub fn opening(stream: u32, data: &[u8]) -> Vec<u8> {
    frame(DATA, SYN, stream, u32::try_from(data.len()).unwrap_or(u32::MAX), data)
}

/// Each rule of yamux, multistream-select and identify, broken once.
pub fn broken_rules() -> Vec<Broken> {
    let many = |frames: &dyn Fn(u32) -> Vec<u8>| (0..MANY).flat_map(frames).collect::<Vec<u8>>();
    let stream = |number: u32| 2 * number + 1;
    let reset = |id: u32| [frame(WINDOW, SYN, id, 0, &[]), frame(WINDOW, RST, id, 0, &[])].concat();
    let endless =
        [token(multistream::HEADER), (0..200).flat_map(|number| token(&format!("/no/{number}"))).collect()];
    let gibibyte = [named(identify::PUSH_NAME), vec![0x80, 0x80, 0x80, 0x80, 4], vec![0; 60_000]];
    let ended = [frame(DATA, SYN | FIN, 1, 0, &[]), frame(DATA, 0, 1, 1, &[7])];
    let all: [(&'static str, Vec<u8>, Fault); 15] = [
        ("an unknown type", frame(9, 0, 1, 0, &[]), yamux::TYPE),
        ("data where the connection belongs", frame(DATA, SYN, 0, 0, &[]), yamux::WRONG_STREAM),
        ("a ping of a stream", frame(PING, SYN, 1, 0, &[]), yamux::WRONG_STREAM),
        ("a stream of the other side", opening(2, &[]), yamux::WRONG_STREAM),
        ("a stream that nobody opened", frame(DATA, 0, 7, 0, &[]), yamux::UNKNOWN_STREAM),
        ("a stream opened twice", [opening(1, &[]), opening(1, &[])].concat(), yamux::OPENED_TWICE),
        ("more than the window", frame(DATA, SYN, 1, yamux::WINDOW_MIN + 1, &[]), yamux::OVERRUN),
        ("credit beyond 32 bits", frame(WINDOW, SYN, 1, u32::MAX, &[]), yamux::CREDIT),
        ("data after the end", ended.concat(), yamux::AFTER_END),
        ("a flood of openings", many(&|n| frame(WINDOW, SYN, stream(n), 0, &[])), yamux::STORM),
        ("openings and resets in turn", many(&|n| reset(stream(n))), yamux::STORM),
        ("a flood of pings", many(&|n| frame(PING, SYN, 0, n, &[])), yamux::STORM),
        (
            "a token without end",
            opening(1, &[token(multistream::HEADER), vec![0xff; 10]].concat()),
            multistream::BAD_TOKEN,
        ),
        ("proposals without end", opening(1, &endless.concat()), multistream::TOO_MANY),
        ("identify of a gibibyte", opening(1, &gibibyte.concat()), identify::MALFORMED),
    ];
    all.into_iter().map(|(rule, says, fault)| Broken { rule, says, fault }).collect()
}
