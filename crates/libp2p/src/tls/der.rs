//! The little DER that the extension needs: definite, minimal lengths of at most two bytes.

/// `SEQUENCE`, constructed.
pub(super) const SEQUENCE: u8 = 0x30;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;

/// `BIT STRING`, primitive.
const BIT_STRING: u8 = 0x03;

/// Splits the element of `tag` off the front of `input`: its content, and what follows it. `None` for another tag, an
/// indefinite or not minimal length, and a length beyond the input.
pub(super) fn take(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match input {
        [first, len @ 0..=0x7f, rest @ ..] if *first == tag => (usize::from(*len), rest),
        [first, 0x81, len @ 0x80..=0xff, rest @ ..] if *first == tag => (usize::from(*len), rest),
        [first, 0x82, high @ 1..=0xff, low, rest @ ..] if *first == tag => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

/// Appends an element of at most 65,535 bytes.
pub(super) fn put(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.push(tag);
    match (high, low) {
        (0, 0..=0x7f) => out.push(low),
        (0, _) => out.extend_from_slice(&[0x81, low]),
        _ => out.extend_from_slice(&[0x82, high, low]),
    }
    out.extend_from_slice(content);
}

/// `SignedKey ::= SEQUENCE { publicKey OCTET STRING, signature OCTET STRING }`, encoded.
pub(super) fn put_signed_key(key: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(key.len() + signature.len() + 8);
    put(OCTET_STRING, key, &mut body);
    put(OCTET_STRING, signature, &mut body);
    let mut out = Vec::with_capacity(body.len() + 4);
    put(SEQUENCE, &body, &mut out);
    out
}

/// Key and signature of a `SignedKey`; `None` unless `input` is exactly one.
pub(super) fn take_signed_key(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, after) = take(SEQUENCE, input)?;
    let (key, rest) = take(OCTET_STRING, body)?;
    let (signature, end) = take(OCTET_STRING, rest)?;
    (after.is_empty() && end.is_empty()).then_some((key, signature))
}

/// What stands in a certificate after the part that is signed: the content of the `AlgorithmIdentifier`, and the signature.
/// `None` unless `certificate` is one DER element that starts with `tbs` and has nothing else.
pub(super) fn take_outer<'a>(certificate: &'a [u8], tbs: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (body, after) = take(SEQUENCE, certificate)?;
    let (algorithm, rest) = take(SEQUENCE, body.strip_prefix(tbs)?)?;
    let (bits, end) = take(BIT_STRING, rest)?;
    let signature = bits.strip_prefix(&[0])?; // no unused bits
    (after.is_empty() && end.is_empty()).then_some((algorithm, signature))
}
