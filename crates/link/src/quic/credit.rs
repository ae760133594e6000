//! When a link over QUIC advertises the room that reads left.
//!
//! QUIC advertises it as soon as an eighth of the window was read, in a datagram of its own if nothing else goes out then, and
//! the other end acknowledges that with one more. On a link with small messages both ways that is a quarter more datagrams. So
//! after each write the room left by the next reads, up to a quarter of the base window, stays **unadvertised**: it goes out
//! with the next write, or once that quarter is read. A link that only reads advertises at once, as QUIC does.
//!
//! QUIC has no call for this, but a window that shrinks does it: QUIC withholds the credit of the bytes read next.

use weir_base::Instant;

use super::connection::Connection;
use crate::window::Window;
use quinn_proto::VarInt;

/// The part of the base window that may be read without being advertised.
const DEFERRED_PART: u64 = 4;

/// The part of the base window that is worth advertising with a write.
const ADVERTISE_PART: u64 = 8;

/// Credit towards this side.
#[derive(Debug)]
pub(super) struct Credit {
    base: u64,         // the base window
    granted: u64,      // the link's window, as last given
    debt: u64,         // lent credit that the next bytes read pay back
    deferred: u64,     // of the bytes read after that, those whose room is not advertised yet
    unadvertised: u64, // bytes read whose room was not advertised
}

impl Credit {
    pub(super) fn new(base: u64) -> Self {
        Self { base, granted: base, debt: 0, deferred: 0, unadvertised: 0 }
    }

    /// The link's window.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }

    /// Lent credit beside the window: what the next bytes read pay back.
    pub(super) fn debt(&self) -> u64 {
        self.debt
    }

    /// The window grew, or shrank by what was read.
    pub(super) fn window_changed(&mut self, conn: &mut Connection, window: &Window) {
        self.granted = window.granted();
        self.advertise(conn);
    }

    /// `len` bytes were taken from QUIC, which advertises the room they left, as far as it neither repays lent credit nor is
    /// deferred.
    pub(super) fn returned(&mut self, conn: &mut Connection, now: Instant, window: &mut Window, len: u64) {
        let paid = self.debt.min(len);
        self.debt -= paid;
        window.repay(paid);
        let unadvertised = self.deferred.min(len - paid);
        self.deferred -= unadvertised;
        self.unadvertised += unadvertised;
        if self.unadvertised > 0 && self.deferred == 0 {
            self.unadvertised = 0;
            self.advertise(conn);
        }
        let spent = window.shrink(now, len);
        if spent > 0 {
            self.debt += spent;
            self.window_changed(conn, window);
        }
    }

    /// Bytes are written: unadvertised room goes out with them.
    pub(super) fn piggyback(&mut self, conn: &mut Connection) {
        let worth = self.unadvertised >= self.base / ADVERTISE_PART;
        if worth {
            self.unadvertised = 0;
            self.advertise(conn);
        }
        if worth || self.deferred == 0 {
            self.deferred = self.base / DEFERRED_PART;
            self.advertise(conn);
        }
    }

    /// Sets QUIC's window: a larger one is advertised with the next packet, a smaller one is shrunk to as bytes are read.
    fn advertise(&self, conn: &mut Connection) {
        let window = self.granted.saturating_sub(self.deferred + self.unadvertised);
        conn.quic.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
    }
}
