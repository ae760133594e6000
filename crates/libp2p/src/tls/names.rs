//! Server names. libp2p sends none; inside this process the name carries the peer that a dial expects, so that one client
//! configuration serves all dials, and a stored session can only be used with the peer it was made with.

use std::fmt::Write as _;

use rustls::pki_types::ServerName;
use weir_base::PeerId;

use super::TlsFault;

/// The name of a dial that takes whoever answers.
const ANY: &str = "any.p2p";

/// Hexadecimal digits in one label of a name: below the 63 that a label may have.
const LABEL: usize = 60;

/// The server name to dial `expected` with (`None`: whoever answers). It is a valid DNS name, different for each peer, and never
/// sent.
pub fn server_name(expected: Option<&PeerId>) -> String {
    let Some(peer) = expected else {
        return ANY.to_owned();
    };
    let bytes = peer.as_bytes();
    let mut name = String::with_capacity(2 * bytes.len() + 8);
    for label in bytes.chunks(LABEL / 2) {
        for byte in label {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name.push('.');
    }
    name.push_str("p2p");
    name
}

/// Whether a dial under `name` takes whoever answers.
pub(super) fn is_any(name: &ServerName<'_>) -> bool {
    text(name) == Some(ANY)
}

/// Whether a dial under `name` expects `peer`.
pub(super) fn check(name: &ServerName<'_>, peer: &PeerId) -> Result<(), TlsFault> {
    let expected = text(name);
    if expected == Some(ANY) || expected == Some(&server_name(Some(peer))) {
        Ok(())
    } else {
        Err(TlsFault::WrongPeer(*peer))
    }
}

fn text<'a>(name: &'a ServerName<'_>) -> Option<&'a str> {
    match name {
        ServerName::DnsName(name) => Some(name.as_ref()),
        _ => None,
    }
}
