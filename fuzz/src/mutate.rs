//! Seeded mutations of an input: the same seed, the same inputs.

use weir_base::Rng;

/// Inputs stay below this, in bytes: decoders of single messages are what is tested.
pub const LONGEST: usize = 16 * weir_base::KIB;

/// Bytes at which decoders change their mind: zero, one, the ends of varints, type tags.
const TELLING: &[u8] = &[0x00, 0x01, 0x02, 0x03, 0x08, 0x0a, 0x12, 0x40, 0x7f, 0x80, 0x81, 0xfe, 0xff];
/// Lengths that lie: 2^7 - 1, 2^14, 2^32 - 1, 2^63, and one that is too long.
const LENGTHS: &[&[u8]] = &[
    &[0x7f],
    &[0x80, 0x80, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0xff; 11],
];

/// `input` with one to four changes; `other` is spliced in now and then.
pub fn mutate(rng: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=rng.below(4) {
        change(rng, &mut bytes, other);
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Up to `longest` bytes of noise.
pub fn noise(rng: &mut Rng, longest: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.index(longest + 1)];
    rng.fill(&mut bytes);
    bytes
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.index(bytes.len());
    let end = (at + 1 + rng.index(16)).min(bytes.len());
    match rng.below(9) {
        0 => flip(rng, bytes, at),
        1 => set(bytes, at, TELLING[rng.index(TELLING.len())]),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at.min(end)..end)),
        4 => {
            let copied = bytes.get(at..end).unwrap_or_default().to_vec();
            insert(bytes, at, &copied);
        }
        5 => insert(bytes, at, &noise(rng, 8)),
        6 => {
            let length = LENGTHS[rng.index(LENGTHS.len())];
            bytes.splice(at..(at + 1).min(bytes.len()).max(at), length.iter().copied());
        }
        7 => {
            let from = rng.index(other.len());
            let to = (from + 1 + rng.index(64)).min(other.len());
            insert(bytes, at, other.get(from..to).unwrap_or_default());
        }
        _ => {
            let from = rng.index(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(from..).unwrap_or_default());
        }
    }
}

fn flip(rng: &mut Rng, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

fn set(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let at = at.min(bytes.len());
    bytes.splice(at..at, new.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let inputs = |seed| {
            let mut rng = Rng::from_number(seed);
            (0..200).map(|_| mutate(&mut rng, b"input", b"other")).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn empty_inputs_are_changed_too() {
        let mut rng = Rng::from_number(3);
        for _ in 0..1_000 {
            let _ = mutate(&mut rng, b"", b"");
        }
    }
}
