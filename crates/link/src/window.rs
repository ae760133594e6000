//! The receive window of one link: what it is, what it should be, and for whom.
//!
//! A window is what the peer may have in flight. It starts at the base, which is reserved for every link. It grows for two
//! reasons only: **expected** bytes, which the owner of a stream has reserved memory for and whose first have arrived
//! ([`Expected`]); and **raw** streams, whose readers may stall ([`RawUse`]). Advertised credit cannot be taken back: a window
//! above its target shrinks as bytes are read, because the room that they leave is not advertised again.

use std::time::Duration;

use weir_base::Instant;

/// One link's receive window, in bytes.
#[derive(Debug)]
pub(crate) struct Window {
    base: u64,
    granted: u64,  // >= base; advertised, less what was read
    expected: u64, // sum over streams of what is reserved and has begun to arrive
    growth: u64,   // sum over raw streams of twice what their readers took in a round trip
    backlog: u64,  // sum over raw streams of what their readers leave unread
    max_lent: u64,
    repaid: u64,        // not yet given back to the budget
    last_read: Instant, // when bytes were last read
    pace: Pace,
}

/// The least that a link with lent credit must deliver while others wait for credit, in bytes per second: a hundredth of a slow
/// line. Less than that keeps a megabyte for a minute.
const LEAST_PACE: u64 = 16_000;

/// How much was read in the present period and in the one before.
#[derive(Debug)]
struct Pace {
    period: Duration,
    begun: Instant,
    bytes: u64,
    before: Option<u64>, // in the whole period before; none in the first after credit was lent
}

impl Pace {
    fn roll(&mut self, now: Instant) {
        if now.since(self.begun) >= self.period {
            let twice = now.since(self.begun) >= self.period * 2;
            self.before = Some(if twice { 0 } else { self.bytes });
            (self.begun, self.bytes) = (now, 0);
        }
    }

    fn is_slow(&self) -> bool {
        let millis = u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX);
        self.before.is_some_and(|bytes| bytes.saturating_mul(1000) < LEAST_PACE.saturating_mul(millis))
    }
}

impl Window {
    /// `patience`: over how long the pace of a link that was lent credit is measured.
    pub(crate) fn new(base: u64, max_lent: u64, patience: Duration, now: Instant) -> Self {
        let pace = Pace { period: patience, begun: now, bytes: 0, before: None };
        Self {
            base,
            granted: base,
            expected: 0,
            growth: 0,
            backlog: 0,
            max_lent,
            repaid: 0,
            last_read: now,
            pace,
        }
    }

    /// The window now.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// What of it is lent.
    pub(crate) fn lent(&self) -> u64 {
        self.granted - self.base
    }

    /// Bytes that readers of raw streams leave unread.
    pub(crate) fn backlog(&self) -> u64 {
        self.backlog
    }

    /// Whether raw streams' unread bytes occupy room of the base window.
    pub(crate) fn base_is_occupied(&self) -> bool {
        self.granted < self.base + self.backlog
    }

    /// Bytes missing to what it should be.
    pub(crate) fn deficit(&self) -> u64 {
        self.target().saturating_sub(self.granted)
    }

    /// Lent bytes beyond what it should be.
    pub(crate) fn surplus(&self) -> u64 {
        self.granted.saturating_sub(self.target())
    }

    /// Whether the rest of an answer is expected.
    pub(crate) fn is_expecting(&self) -> bool {
        self.expected > 0
    }

    /// When bytes were last read.
    pub(crate) fn last_read(&self) -> Instant {
        self.last_read
    }

    /// Whether it delivers so little that it should not keep what it was lent while others wait.
    pub(crate) fn is_slow(&mut self, now: Instant) -> bool {
        self.pace.roll(now);
        self.pace.is_slow()
    }

    /// More was lent.
    pub(crate) fn grow(&mut self, now: Instant, lent: u64) {
        if self.lent() == 0 {
            (self.pace.begun, self.pace.bytes, self.pace.before) = (now, 0, None);
        }
        self.last_read = now; // silence is counted from here
        self.granted += lent;
    }

    /// `len` bytes were read. The room they left is advertised only as far as the window is not above its target; the rest
    /// repays lent credit.
    pub(crate) fn read(&mut self, now: Instant, len: u64) {
        let spent = self.shrink(now, len);
        self.repay(spent);
    }

    /// As [`read`](Self::read), where the transport has advertised the room already: it must not advertise so many of the
    /// bytes read next, and then [`repay`](Self::repay)s them.
    pub(crate) fn shrink(&mut self, now: Instant, len: u64) -> u64 {
        self.last_read = now;
        self.pace.roll(now);
        self.pace.bytes += len;
        let spent = self.surplus().min(len);
        self.granted -= spent;
        spent
    }

    /// So many lent bytes are repaid.
    pub(crate) fn repay(&mut self, spent: u64) {
        self.repaid += spent;
    }

    /// Credit to give back to the budget.
    pub(crate) fn take_repaid(&mut self) -> u64 {
        std::mem::take(&mut self.repaid)
    }

    /// All lent credit, when the link ends.
    pub(crate) fn close(&mut self) -> u64 {
        let lent = self.lent() + self.take_repaid();
        self.granted = self.base;
        (self.expected, self.growth, self.backlog) = (0, 0, 0);
        lent
    }

    fn target(&self) -> u64 {
        let extra = self.expected.saturating_sub(self.base).saturating_add(self.growth);
        self.base + extra.min(self.max_lent) + self.backlog
    }
}

/// What the owner of one stream has reserved for its next bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    bytes: u64,
    begun: bool, // counted in the window
}

impl Expected {
    /// Bytes reserved and not yet read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The owner reserved `bytes`; `waiting`: some of them are there already. More than were reserved before are for another
    /// message, which has not begun by the one before it.
    pub(crate) fn set(&mut self, window: &mut Window, bytes: u64, waiting: bool) {
        let begun = bytes > 0 && (waiting || self.begun && bytes <= self.bytes);
        self.count(window, Self { bytes, begun });
    }

    /// Bytes arrived.
    pub(crate) fn arrived(&mut self, window: &mut Window) {
        if self.bytes > 0 && !self.begun {
            self.count(window, Self { bytes: self.bytes, begun: true });
        }
    }

    /// `len` bytes were read.
    pub(crate) fn read(&mut self, window: &mut Window, len: u64) {
        if self.bytes > 0 {
            let bytes = self.bytes.saturating_sub(len);
            self.count(window, Self { bytes, begun: self.begun && bytes > 0 });
        }
    }

    fn count(&mut self, window: &mut Window, next: Self) {
        let counted = |expected: &Self| if expected.begun { expected.bytes } else { 0 };
        window.expected = window.expected.saturating_sub(counted(self)).saturating_add(counted(&next));
        *self = next;
    }
}

/// What one raw stream adds to its link's window: what its reader leaves unread, and twice what it took in the last round
/// trip.
#[derive(Debug, Default)]
pub(crate) struct RawUse {
    begun: Option<Instant>, // of the round trip that is counted; none before the first read
    taken: u64,             // since `begun`
    last: u64,              // in the round trip before
    counted: (u64, u64),    // backlog and growth, in the window
}

impl RawUse {
    /// `len` bytes were read.
    pub(crate) fn read(&mut self, now: Instant, rtt: Duration, len: u64) {
        self.taken += len;
        let passed = now.since(*self.begun.get_or_insert(now));
        if passed >= rtt {
            // Over several round trips the reader took an average of so much in each.
            let trips = u64::try_from(passed.as_nanos() / rtt.as_nanos().max(1)).unwrap_or(u64::MAX);
            self.last = self.taken / trips.max(1);
            (self.begun, self.taken) = (Some(now), 0);
        }
    }

    /// Twice what the reader took in a round trip, at most `most`.
    pub(crate) fn growth(&self, most: u64) -> u64 {
        self.last.max(self.taken).saturating_mul(2).min(most)
    }

    /// Counts what its reader leaves unread and may take, instead of what was counted before.
    pub(crate) fn count(&mut self, window: &mut Window, backlog: u64, growth: u64) {
        let (old_backlog, old_growth) = std::mem::replace(&mut self.counted, (backlog, growth));
        window.backlog = window.backlog.saturating_sub(old_backlog).saturating_add(backlog);
        window.growth = window.growth.saturating_sub(old_growth).saturating_add(growth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn window() -> Window {
        Window::new(64 * KIB, 1024 * KIB, Duration::from_secs(10), Instant::ZERO)
    }

    #[test]
    fn a_window_grows_only_when_an_answer_begins_and_shrinks_as_it_is_read() {
        let (mut window, mut expected) = (window(), Expected::default());
        expected.set(&mut window, 400 * KIB, false);
        assert_eq!(window.deficit(), 0, "nothing has arrived");
        expected.arrived(&mut window);
        assert_eq!(window.deficit(), 336 * KIB);
        window.grow(Instant::ZERO, 336 * KIB);
        let mut left = 400 * KIB;
        while left > 0 {
            let piece = left.min(10 * KIB);
            expected.read(&mut window, piece);
            window.read(Instant::ZERO, piece);
            left -= piece;
            assert_eq!(window.granted(), left.max(64 * KIB));
        }
        assert_eq!((window.lent(), window.take_repaid()), (0, 336 * KIB));
    }

    #[test]
    fn left_over_credit_is_used_before_more_is_lent() {
        let (mut window, mut expected) = (window(), Expected::default());
        expected.set(&mut window, 164 * KIB, true);
        window.grow(Instant::ZERO, window.deficit());
        expected.set(&mut window, 0, false); // the answer broke off
        assert_eq!(window.surplus(), 100 * KIB);
        expected.set(&mut window, 214 * KIB, true);
        assert_eq!(window.deficit(), 50 * KIB);
    }

    #[test]
    fn a_raw_reader_is_lent_twice_what_it_took_in_a_round_trip() {
        let (mut window, rtt) = (window(), Duration::from_millis(10));
        let mut raw = RawUse::default();
        raw.read(Instant::from_millis(5), rtt, 30 * KIB);
        raw.read(Instant::from_millis(15), rtt, 30 * KIB);
        assert_eq!(raw.growth(1024 * KIB), 120 * KIB);
        let growth = raw.growth(100 * KIB);
        raw.count(&mut window, 0, growth);
        assert_eq!(window.deficit(), 100 * KIB);
        raw.count(&mut window, 0, 0);
        assert_eq!(window.deficit(), 0);
    }

    #[test]
    fn a_link_that_was_lent_credit_is_slow_after_a_period_below_16_kb_a_second() {
        for (pace, slow) in [(15_000, true), (17_000, false)] {
            let (mut window, mut expected) = (window(), Expected::default());
            expected.set(&mut window, 900 * KIB, true);
            window.grow(Instant::ZERO, window.deficit());
            for second in 0..10 {
                window.read(Instant::from_millis(second * 1000), pace);
                assert!(!window.is_slow(Instant::from_millis(second * 1000)), "it has a whole period");
            }
            assert_eq!(window.is_slow(Instant::from_millis(11_000)), slow, "{pace} bytes/s");
        }
    }

    #[test]
    fn no_link_is_lent_more_than_its_cap() {
        let (mut window, mut expected) = (window(), Expected::default());
        expected.set(&mut window, u64::MAX, true);
        assert_eq!(window.deficit(), 1024 * KIB);
    }

    #[test]
    fn exactly_16_kb_a_second_are_not_slow() {
        for (bytes, slow) in [(159_999, true), (160_000, false)] {
            let mut window = window();
            window.grow(Instant::ZERO, 100 * KIB);
            window.read(Instant::ZERO, bytes);
            assert_eq!(window.is_slow(Instant::from_millis(10_000)), slow, "{bytes} in 10 s");
        }
    }

    #[test]
    fn the_pace_is_measured_anew_when_a_link_borrows_for_the_first_time() {
        let later = Instant::from_millis(9_000);
        let mut window = window();
        window.grow(later, 100 * KIB);
        assert_eq!(window.last_read(), later, "silence is counted from here");
        assert!(!window.is_slow(Instant::from_millis(18_999)), "its period has not passed");
        window.grow(Instant::from_millis(18_000), 1);
        assert!(window.is_slow(Instant::from_millis(19_000)), "what it borrows more changes nothing");
    }

    #[test]
    fn after_two_silent_periods_nothing_of_the_first_counts() {
        let mut window = window();
        window.grow(Instant::ZERO, 100 * KIB);
        window.read(Instant::from_millis(1), 500_000);
        assert!(!window.is_slow(Instant::from_millis(19_999)), "of the period before");
        let mut window = self::window();
        window.grow(Instant::ZERO, 100 * KIB);
        window.read(Instant::from_millis(1), 500_000);
        assert!(window.is_slow(Instant::from_millis(20_000)));
    }

    #[test]
    fn what_raw_readers_leave_occupies_the_base_window_where_nothing_is_lent_for_it() {
        let (mut window, mut raw) = (window(), RawUse::default());
        raw.count(&mut window, 10 * KIB, 0);
        assert_eq!((window.backlog(), window.deficit()), (10 * KIB, 10 * KIB));
        assert!(window.base_is_occupied());
        window.grow(Instant::ZERO, 10 * KIB);
        assert!(!window.base_is_occupied());
        assert_eq!(window.close(), 10 * KIB);
        assert_eq!((window.granted(), window.deficit(), window.backlog()), (64 * KIB, 0, 0));
    }

    #[test]
    fn only_a_message_that_has_begun_is_counted() {
        let (mut window, mut expected) = (window(), Expected::default());
        expected.arrived(&mut window);
        assert!(!expected.begun && !window.is_expecting(), "nothing is reserved");
        expected.set(&mut window, 0, true);
        assert!(!expected.begun);
        expected.set(&mut window, 100 * KIB, false);
        assert!(!window.is_expecting());
        expected.set(&mut window, 100 * KIB, true);
        assert_eq!((window.is_expecting(), window.deficit()), (true, 36 * KIB));
        expected.set(&mut window, 90 * KIB, false);
        assert_eq!(window.deficit(), 26 * KIB, "less of the same message");
        expected.set(&mut window, 200 * KIB, false);
        assert!(!window.is_expecting(), "more is another one");
        expected.arrived(&mut window);
        expected.arrived(&mut window);
        assert_eq!(window.deficit(), 136 * KIB);
        expected.read(&mut window, 200 * KIB);
        assert!(!window.is_expecting() && !expected.begun && expected.bytes() == 0);
        expected.read(&mut window, 1);
        assert!(!expected.begun);
        expected.set(&mut window, 50 * KIB, false);
        expected.read(&mut window, 10 * KIB);
        assert!(!window.is_expecting(), "it has not begun by being read");
    }

    #[test]
    fn over_several_round_trips_the_average_of_one_counts() {
        let rtt = Duration::from_millis(10);
        let mut raw = RawUse::default();
        raw.read(Instant::from_millis(5), rtt, 10 * KIB);
        raw.read(Instant::from_millis(48), rtt, 30 * KIB);
        assert_eq!(raw.last, 10 * KIB, "40 KiB in four of them");
        assert_eq!((raw.growth(u64::MAX), raw.growth(5)), (20 * KIB, 5));
        raw.read(Instant::from_millis(50), rtt, 15 * KIB);
        assert_eq!(raw.growth(u64::MAX), 30 * KIB, "what was taken since counts where it is more");
    }
}
