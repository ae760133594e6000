//! When a link over QUIC advertises the room that reads left.
//!
//! QUIC advertises it as soon as an eighth of the window was read, in a datagram of its own if nothing else goes out then, and
//! the other end acknowledges that with one more. On a link with small messages both ways that is a quarter more datagrams. So
//! after each write the room left by the next reads, up to a quarter of the base window, stays **unadvertised**: it goes out
//! with the next write, or once that quarter is read. A link that only reads advertises at once, as QUIC does.
//!
//! QUIC has no call for this, but a window that shrinks does it: QUIC withholds the credit of the bytes read next.

use weir_base::Instant;

use super::link::QuicLink;
use crate::window::Window;
use quinn_proto::VarInt;

/// The part of the base window that may be read without being advertised.
const DEFERRED_PART: u64 = 4;

/// The part of the base window that is worth advertising with a write.
const ADVERTISE_PART: u64 = 8;

/// Credit towards this side.
#[derive(Debug, Default)]
pub(super) struct Credit {
    granted: u64,      // the link's window, as last given
    debt: u64,         // lent credit that the next bytes read pay back
    deferred: u64,     // of the bytes read after that, those whose room is not advertised yet
    unadvertised: u64, // bytes read whose room was not advertised
}

impl Credit {
    /// The link's window.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }

    /// Lent credit beside the window: what the next bytes read pay back.
    pub(super) fn debt(&self) -> u64 {
        self.debt
    }

    pub(super) fn new(granted: u64) -> Self {
        Self { granted, ..Self::default() }
    }
}

impl QuicLink {
    /// The window grew, or shrank by what was read.
    pub(crate) fn window_changed(&mut self, window: &Window) {
        self.receiving.credit.granted = window.granted();
        self.advertise();
    }

    /// `len` bytes were taken from QUIC, which advertises the room they left, as far as it neither repays lent credit nor is
    /// deferred.
    pub(super) fn returned(&mut self, now: Instant, window: &mut Window, len: u64) {
        let credit = &mut self.receiving.credit;
        let paid = credit.debt.min(len);
        credit.debt -= paid;
        window.repay(paid);
        let unadvertised = credit.deferred.min(len - paid);
        credit.deferred -= unadvertised;
        credit.unadvertised += unadvertised;
        if credit.unadvertised > 0 && credit.deferred == 0 {
            credit.unadvertised = 0;
            self.advertise();
        }
        let spent = window.shrink(now, len);
        if spent > 0 {
            self.receiving.credit.debt += spent;
            self.window_changed(window);
        }
    }

    /// Bytes are written: unadvertised room goes out with them.
    pub(super) fn piggyback_credit(&mut self) {
        let base = self.config.budget.base_window;
        let credit = &mut self.receiving.credit;
        let worth = credit.unadvertised >= base / ADVERTISE_PART;
        if worth {
            credit.unadvertised = 0;
            self.advertise();
        }
        let credit = &mut self.receiving.credit;
        if worth || credit.deferred == 0 {
            credit.deferred = base / DEFERRED_PART;
            self.advertise();
        }
    }

    /// Sets QUIC's window: a larger one is advertised with the next packet, a smaller one is shrunk to as bytes are read.
    fn advertise(&mut self) {
        let credit = &self.receiving.credit;
        let window = credit.granted.saturating_sub(credit.deferred + credit.unadvertised);
        self.conn.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
    }
}
