//! When a link over QUIC advertises the room that reads left.
//!
//! QUIC advertises it as soon as an eighth of the window was read, in a datagram of its own if nothing else goes out then, and
//! the other end acknowledges that with one more. On a link with small messages both ways that is a quarter more datagrams. So
//! after each write the room left by the next reads, up to a quarter of the base window, stays **unadvertised**: it goes out
//! with the next write, or once that quarter is read. A link that only reads advertises at once, as QUIC does.
//!
//! QUIC has no call for this, but a window that shrinks does it: QUIC withholds the credit of the bytes read next.

use weir_base::Instant;

use crate::window::Window;

/// The part of the base window that may be read without being advertised.
const DEFERRED_PART: u64 = 4;

/// The part of the base window that is worth advertising with a write.
const ADVERTISE_PART: u64 = 8;

/// Windows that QUIC is given now, one after the other: it advertises the room by which one is larger than the last with its next packet,
/// and withholds that of the bytes read next where one is smaller.
pub(super) type Windows = [Option<u64>; 2];

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
    #[must_use]
    pub(super) fn window_changed(&mut self, window: &Window) -> Windows {
        self.granted = window.granted();
        [Some(self.advertised()), None]
    }

    /// `len` bytes were taken from QUIC, which advertises the room they left, as far as it neither repays lent credit nor is
    /// deferred.
    #[must_use]
    pub(super) fn returned(&mut self, now: Instant, window: &mut Window, len: u64) -> Windows {
        let paid = self.debt.min(len);
        self.debt -= paid;
        window.repay(paid);
        let unadvertised = self.deferred.min(len - paid);
        self.deferred -= unadvertised;
        self.unadvertised += unadvertised;
        let quarter_is_read = self.unadvertised > 0 && self.deferred == 0;
        let room = quarter_is_read.then(|| self.advertise_all());
        let spent = window.shrink(now, len);
        if spent == 0 {
            return [room, None];
        }
        self.debt += spent;
        self.granted = window.granted();
        [room, Some(self.advertised())]
    }

    /// Bytes are written: unadvertised room goes out with them.
    #[must_use]
    pub(super) fn piggyback(&mut self) -> Windows {
        let is_worth_it = self.unadvertised >= self.base / ADVERTISE_PART;
        let room = is_worth_it.then(|| self.advertise_all());
        if !is_worth_it && self.deferred > 0 {
            return [None, None];
        }
        self.deferred = self.base / DEFERRED_PART;
        [room, Some(self.advertised())]
    }

    fn advertise_all(&mut self) -> u64 {
        self.unadvertised = 0;
        self.advertised()
    }

    /// QUIC's window, so that it advertises what is granted, less the room of what was read or is read next and stays unadvertised.
    fn advertised(&self) -> u64 {
        self.granted.saturating_sub(self.deferred + self.unadvertised)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);
    /// A base window of 64 bytes: 8 are worth advertising, 16 are deferred.
    const BASE: u64 = 64;
    const NONE: Windows = [None, None];

    fn fresh() -> (Credit, Window) {
        (Credit::new(BASE), Window::new(BASE, 1_000, Duration::from_secs(10), NOW))
    }

    #[test]
    fn who_only_reads_advertises_at_once() {
        let (mut credit, mut window) = fresh();
        for len in [1, 16, 64, 200] {
            assert_eq!(credit.returned(NOW, &mut window, len), NONE, "as QUIC does by itself");
        }
        assert_eq!((credit.granted(), credit.debt()), (BASE, 0));
    }

    #[test]
    fn after_a_write_a_quarter_of_the_window_is_read_before_its_room_is_advertised() {
        let (mut credit, mut window) = fresh();
        assert_eq!(credit.piggyback(), [None, Some(48)], "what is read next is withheld");
        assert_eq!(credit.returned(NOW, &mut window, 15), NONE);
        assert_eq!(credit.returned(NOW, &mut window, 0), NONE);
        assert_eq!(credit.returned(NOW, &mut window, 5), [Some(64), None], "with the sixteenth byte");
        assert_eq!(credit.returned(NOW, &mut window, 5), NONE, "and QUIC goes on by itself");
    }

    #[test]
    fn an_eighth_of_the_window_goes_out_with_a_write_and_less_does_not() {
        let (mut credit, mut window) = fresh();
        assert_eq!(credit.piggyback(), [None, Some(48)]);
        assert_eq!(credit.returned(NOW, &mut window, 7), NONE);
        assert_eq!(credit.piggyback(), NONE);
        assert_eq!(credit.returned(NOW, &mut window, 1), NONE);
        assert_eq!(
            credit.piggyback(),
            [Some(56), Some(48)],
            "the eight that were read, and sixteen are withheld anew"
        );
        assert_eq!(credit.returned(NOW, &mut window, 16), [Some(64), None]);
        assert_eq!(credit.piggyback(), [None, Some(48)], "nothing is left to advertise");
    }

    #[test]
    fn lent_bytes_that_were_read_are_paid_back_by_the_next_ones() {
        let (mut credit, mut window) = fresh();
        window.grow(NOW, 36);
        assert_eq!(credit.window_changed(&window), [Some(100), None]);
        assert_eq!(
            credit.returned(NOW, &mut window, 30),
            [None, Some(70)],
            "nothing is expected: the window shrinks"
        );
        assert_eq!((credit.granted(), credit.debt(), window.take_repaid()), (70, 30, 0));
        assert_eq!(credit.returned(NOW, &mut window, 20), [None, Some(64)]);
        assert_eq!((credit.debt(), window.take_repaid()), (16, 20));
        assert_eq!(credit.returned(NOW, &mut window, 20), NONE);
        assert_eq!((credit.debt(), window.take_repaid()), (0, 16));
    }

    #[test]
    fn bytes_that_pay_lent_credit_back_leave_no_room_to_advertise() {
        let (mut credit, mut window) = fresh();
        window.grow(NOW, 4);
        assert_eq!(credit.window_changed(&window), [Some(68), None]);
        assert_eq!(credit.piggyback(), [None, Some(52)]);
        assert_eq!(
            credit.returned(NOW, &mut window, 6),
            [None, Some(48)],
            "six of the sixteen, and four owed"
        );
        assert_eq!(credit.returned(NOW, &mut window, 13), NONE, "four pay, nine are deferred");
        assert_eq!(credit.returned(NOW, &mut window, 1), [Some(64), None]);
    }
}
