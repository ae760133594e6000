//! Decoders of `weir-libp2p`.

use weir_base::{Keypair, UnixTime};
use weir_libp2p::identify::{self, MESSAGE_MAX, PROTOCOLS_MAX};
use weir_libp2p::pnet::SharedKey;
use weir_libp2p::record::{ADDRESSES_MAX, ENVELOPE_MAX, EnvelopeError, PeerRecord, open, seal};
use weir_libp2p::tls::verify_certificate;

/// Domain and payload type of peer records (multicodec `libp2p-peer-record`).
const RECORD: (&str, &[u8]) = ("libp2p-peer-record", &[0x03, 0x01]);
/// 2026-01-01: the specification's certificates are valid then.
const DAY: UnixTime = UnixTime::from_secs(1_767_225_600);

/// What an envelope opens to lies in it, and is signed under this domain only.
pub(crate) fn envelope(data: &[u8]) -> bool {
    let (domain, kind) = RECORD;
    let Ok(opened) = open(data, domain, kind) else {
        return false;
    };
    assert!(opened.payload.len() <= data.len() && data.len() <= ENVELOPE_MAX);
    assert!(matches!(open(data, "another domain", kind), Err(EnvelopeError::Signature(_))));
    true
}

/// A signed record names its signer and stays within its limits.
pub(crate) fn peer_record(data: &[u8]) -> bool {
    let Ok(record) = PeerRecord::open(data) else {
        return false;
    };
    check(&record);

    true
}

/// The same for what a signer may put inside: the input is the payload, signed here.
pub(crate) fn peer_record_payload(data: &[u8]) -> bool {
    let keypair = Keypair::ed25519_from_seed([1; 32]);
    let Ok(sealed) = seal(&keypair, RECORD.0, RECORD.1, data) else {
        return false;
    };
    let Ok(record) = PeerRecord::open(&sealed) else {
        return false;
    };
    assert_eq!(record.peer, keypair.peer_id());
    check(&record);
    let again = PeerRecord::seal(&keypair, record.seq, &record.addresses);
    assert_eq!(again.map(|again| PeerRecord::open(&again)), Ok(Ok(record)));

    true
}

fn check(record: &PeerRecord) {
    assert!(record.addresses.len() <= ADDRESSES_MAX);
    for address in &record.addresses {
        assert!(address.peer_id().is_none_or(|named| named == record.peer));
    }
}

/// A certificate that verifies names the key that its peer's id is made from.
pub(crate) fn tls_certificate(data: &[u8]) -> bool {
    let Ok(peer) = verify_certificate(data, DAY) else {
        return false;
    };
    assert!(peer.peer.is_of(&peer.key));

    true
}

/// What identify says is within its limits, and is read again as it was written.
pub(crate) fn identify(data: &[u8]) -> bool {
    let Ok(mut info) = identify::decode(data) else {
        return false;
    };
    assert!(info.protocols.len() <= PROTOCOLS_MAX && info.addresses.len() <= identify::ADDRESSES_MAX);
    info.record = None; // it is sealed by its owner
    let messages = identify::encode(&info, None);
    assert!(messages.iter().all(|message| message.len() <= identify::SENT_MAX));
    let bytes = messages.concat(); // messages behind each other are one message
    let again = identify::decode(&bytes);
    // Text that is not UTF-8 grows, so a message that was full may be too long then.
    assert!(bytes.len() > MESSAGE_MAX - 2 * 1024 || again.is_ok_and(|again| again == info));

    true
}

/// A key file has one key, and `Debug` does not show it.
pub(crate) fn pnet_key_file(data: &[u8]) -> bool {
    let Ok(key) =
        std::str::from_utf8(data).map_err(|_| ()).and_then(|text| SharedKey::from_file(text).map_err(|_| ()))
    else {
        return false;
    };
    assert_eq!(format!("{key:?}"), "SharedKey(secret)");

    true
}
