//! Goodbyes as go-away codes of a muxer, and back (`docs/spec/libp2p-links.md`).

use weir_base::stream::Goodbye;
use weir_libp2p::yamux;

/// Where a connection's go-away codes for goodbyes begin: far above those that others use.
const GOODBYE: u32 = 0x5745_0000;

/// The go-away code of a goodbye.
pub(super) fn code_of(goodbye: Goodbye) -> u32 {
    match goodbye {
        Goodbye::Shutdown => yamux::away::NORMAL,
        other => GOODBYE | u32::from(other.code()),
    }
}

/// What a go-away code means.
pub(super) fn goodbye_of(code: u32) -> Goodbye {
    match u16::try_from(code ^ GOODBYE) {
        Ok(code) => Goodbye::from_code(code),
        Err(_) if code == yamux::away::PROTOCOL => Goodbye::Fault,
        Err(_) => Goodbye::Shutdown,
    }
}
