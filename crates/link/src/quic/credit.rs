//! What a link over QUIC tells its peer of the room that reads left.
//!
//! QUIC tells of it as soon as an eighth of the window was read, in a datagram of its own if nothing else goes out then, and the
//! other end answers that with one more. On a link with small messages both ways that is a quarter more datagrams. So after
//! each write the next reads, up to a quarter of the base window, leave their room **untold**: it is told of with the next
//! write, or once that quarter is read. A link that only reads is told of at once, as QUIC does.
//!
//! QUIC has no call for this, but a window that shrinks does it: the bytes read next pay for it, and their room is not told.

use weir_base::Instant;

use super::link::QuicLink;
use crate::window::Window;
use quinn_proto::VarInt;

/// Of the base window, what may be read and not told of.
const QUIET_PART: u64 = 4;

/// Of the base window, what is worth telling of.
const WORTH_PART: u64 = 8;

/// Credit towards this side.
#[derive(Debug, Default)]
pub(super) struct Credit {
    granted: u64, // the link's window, as it was said last
    debt: u64,    // lent credit that the next bytes read pay back
    quiet: u64,   // of the bytes read after that, those whose room is not told yet
    untold: u64,  // bytes read whose room was not told
}

impl Credit {
    pub(super) fn new(granted: u64) -> Self {
        Self { granted, ..Self::default() }
    }
}

impl QuicLink {
    /// The window grew, or shrank by what was read.
    pub(crate) fn window_changed(&mut self, window: &Window) {
        self.receiving.credit.granted = window.granted();
        self.tell();
    }

    /// Lent credit beside the window: what the next bytes read pay back.
    pub(crate) fn debt(&self) -> u64 {
        self.receiving.credit.debt
    }

    /// `len` bytes were taken from QUIC, which tells the peer of the room they left, as far as no lent credit is owed back and
    /// nothing is kept quiet about.
    pub(super) fn returned(&mut self, now: Instant, window: &mut Window, len: u64) {
        let credit = &mut self.receiving.credit;
        let paid = credit.debt.min(len);
        credit.debt -= paid;
        window.free(paid);
        let untold = credit.quiet.min(len - paid);
        credit.quiet -= untold;
        credit.untold += untold;
        if credit.untold > 0 && credit.quiet == 0 {
            credit.untold = 0;
            self.tell();
        }
        let spent = window.shrink(now, len);
        if spent > 0 {
            self.receiving.credit.debt += spent;
            self.window_changed(window);
        }
    }

    /// Something goes out anyway.
    pub(super) fn tell_along(&mut self) {
        let base = self.config.budget.base_window;
        let credit = &mut self.receiving.credit;
        let worth = credit.untold >= base / WORTH_PART;
        if worth {
            credit.untold = 0;
            self.tell();
        }
        let credit = &mut self.receiving.credit;
        if worth || credit.quiet == 0 {
            credit.quiet = base / QUIET_PART;
            self.tell();
        }
    }

    /// What QUIC should hold to be the window: a larger one it tells of with the next packet, a smaller one it shrinks to.
    fn tell(&mut self) {
        let credit = &self.receiving.credit;
        let window = credit.granted.saturating_sub(credit.quiet + credit.untold);
        self.conn.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
    }
}
