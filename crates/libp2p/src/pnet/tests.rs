//! The cipher's published vector, both sides, and strangers.

use super::*;

const FILE: &str = include_str!("../../../../vectors/pnet.txt");

fn bytes(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn vector(name: &str) -> Vec<u8> {
    let line = FILE.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    bytes(line.split(' ').nth(1).unwrap())
}

fn key(byte: u8) -> SharedKey {
    SharedKey::new([byte; 32])
}

fn side(key: SharedKey, seed: u64) -> Pnet {
    Pnet::new(key, &mut Rng::from_number(seed))
}

/// What one side sends for these bytes.
fn sent(side: &mut Pnet, text: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    side.begin(&mut out);
    let start = out.len();
    out.extend_from_slice(text);
    side.encrypt(&mut out[start..]);
    out
}

#[test]
fn the_vectors_decrypt() {
    let key = SharedKey::new(vector("key").try_into().unwrap());
    let mut side = side(key, 1);
    let mut wire = BytesMut::from(&[vector("nonce"), vector("sent")].concat()[..]);
    side.received(&mut wire).unwrap();
    assert_eq!(wire, vector("text")[..]);
}

#[test]
fn both_directions_arrive_in_pieces_of_any_length() {
    for piece in 1..60 {
        let (mut a, mut b) = (side(key(7), 1), side(key(7), 2));
        for round in 0..3_u8 {
            for (from, to) in [(0, 1), (1, 0)] {
                let text = vec![round; 100];
                let sides = [&mut a, &mut b];
                let mut wire = sent(sides[from], &text);
                assert_eq!(wire.len(), text.len() + if round == 0 { NONCE } else { 0 });
                let mut got = Vec::new();
                while !wire.is_empty() {
                    let mut part = wire.split_to(piece.min(wire.len()));
                    sides[to].received(&mut part).unwrap();
                    got.extend_from_slice(&part);
                }
                assert_eq!(got, text, "pieces of {piece}");
            }
        }
    }
}

#[test]
fn another_key_makes_noise() {
    let (mut a, mut b) = (side(key(7), 1), side(key(8), 2));
    let mut wire = sent(&mut a, b"/multistream/1.0.0");
    b.received(&mut wire).unwrap();
    assert_ne!(wire, b"/multistream/1.0.0"[..]);
    let plain = sent(&mut a, &[0; 1000]);
    assert!(plain.windows(16).all(|window| window != [0; 16]));
}

#[test]
fn a_reflected_nonce_is_a_fault() {
    let mut a = side(key(7), 1);
    let mut own = sent(&mut a, b"hello");
    assert_eq!(a.received(&mut own), Err(REFLECTED));
}

#[test]
fn key_files_are_read_and_refused_by_line() {
    let digits = "0123456789abcdef".repeat(4);
    let file = |text: &str| SharedKey::from_file(text);
    let good = format!("/key/swarm/psk/1.0.0/\n/base16/\n{digits}\n");
    let expected = SharedKey::new(bytes(&digits).try_into().unwrap());
    assert_eq!(file(&good), Ok(expected.clone()));
    assert_eq!(file(&good.replace('\n', "\r\n")), Ok(expected));
    assert_eq!(file(""), Err(KeyFileError::Head));
    assert_eq!(file(&good.replace("1.0.0", "2.0.0")), Err(KeyFileError::Head));
    assert_eq!(file(&good.replace("base16", "base64")), Err(KeyFileError::Encoding));
    for bad in ["", &digits[1..], &format!("{digits}0"), &digits.replace('f', "g"), &"é".repeat(32)] {
        let text = format!("/key/swarm/psk/1.0.0/\n/base16/\n{bad}\n");
        assert_eq!(file(&text), Err(KeyFileError::Key), "{bad}");
    }
    assert_eq!(file(&format!("{good}more")), Err(KeyFileError::Key));
    assert_eq!(format!("{:?}", key(9)), "SharedKey(secret)");
}
