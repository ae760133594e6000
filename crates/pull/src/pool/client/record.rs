//! How well a link delivers: what an item from it would cost in time, and how often it kept its word.

use std::time::Duration;

use weir_base::Instant;

use crate::framing::MESSAGE_RATE;

/// Bytes per second that a link is taken to deliver before it was measured: 1 Mbit/s.
const FIRST_RATE: u64 = 125_000;
/// Items after which a link has a record.
const RECORD: u32 = 16;
/// A score of this much is perfect.
const PERFECT: u32 = 1_000;
/// Least time without progress after which another source is asked.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);
/// The most that this node waits for a first byte, whatever round trip and rate it measured: a peer can make both as bad as it
/// likes, and others must not wait for it.
const MAX_PATIENCE: Duration = Duration::from_secs(2);
/// A peer can delay the answers that the round trip is measured by: it is taken for no longer than this.
pub(crate) const MAX_RTT: Duration = Duration::from_secs(1);
/// Bytes per second that a link is taken to deliver at least: what the specification asks of it.
const MIN_RATE: u64 = MESSAGE_RATE;
/// Bytes that may be asked of a link at once, however slow it was.
const LEAST_ASKED: u64 = 64 * 1024;
/// Answers that are counted before `Gone` is blamed.
const ANSWERS: u32 = 32;

/// The delivery record of one link.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    delivered: u32,
    score: u32, // 0 to PERFECT
    rate: u64,  // bytes per second, >= 1
    measured: Option<Instant>,
    burst: u64,    // bytes since `measured`
    answers: u32,  // of late: halved at twice ANSWERS
    bad_gone: u32, // of these, gone for what others then delivered
}

impl Record {
    pub(crate) const fn new() -> Self {
        Self {
            delivered: 0,
            score: PERFECT / 2,
            rate: FIRST_RATE,
            measured: None,
            burst: 0,
            answers: 0,
            bad_gone: 0,
        }
    }

    /// Whether it has delivered often, and of late more often than not.
    pub(crate) const fn proven(&self) -> bool {
        self.delivered >= RECORD && self.score >= PERFECT / 2
    }

    /// 0 to 1,000, higher is better.
    pub(crate) const fn score(&self) -> u32 {
        self.score
    }

    /// An item of `size` bytes has come; `more` where others were asked for before it and still are to come.
    pub(crate) fn item(&mut self, now: Instant, size: u64, more: More) {
        self.delivered = self.delivered.saturating_add(1);
        self.score += (PERFECT - self.score) / 16;
        self.answer();
        self.burst += size;
        if let Some(since) = self.measured.filter(|since| *since < now) {
            let nanos = u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX).max(1);
            let sample = u128::from(self.burst) * 1_000_000_000 / u128::from(nanos);
            let sample = u64::try_from(sample).unwrap_or(u64::MAX).min(u64::MAX / 16);
            self.rate = ((self.rate * 7 + sample) / 8).max(1);
            self.burst = 0;
            self.measured = Some(now);
        } else if self.measured.is_none() {
            self.burst = 0;
            self.measured = Some(now);
        }
        if let More::Idle = more {
            self.measured = None; // what comes next was not under way: its time says nothing about the rate
        }
    }

    /// It did not deliver in time.
    pub(crate) fn late(&mut self) {
        self.score -= self.score / 4;
    }

    /// It delivered something else than it had offered.
    pub(crate) fn false_item(&mut self) {
        self.score /= 4;
    }

    /// An item it had called gone was accepted from another. Whether that is now most of its answers; counting begins
    /// again then.
    pub(crate) fn bad_gone(&mut self) -> bool {
        self.bad_gone += 1;
        self.answer();
        let most = self.answers >= ANSWERS && self.bad_gone * 2 > self.answers;
        if most {
            (self.answers, self.bad_gone) = (0, 0);
        }
        most
    }

    fn answer(&mut self) {
        self.answers += 1;
        if self.answers >= 2 * ANSWERS {
            self.answers /= 2;
            self.bad_gone /= 2;
        }
    }

    /// How long so many bytes would take.
    fn transfer(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.max(MIN_RATE));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When to ask another, counted from a get behind `queued` bytes.
    pub(crate) fn patience(&self, rtt: Duration, queued: u64) -> Duration {
        let comes = rtt.min(MAX_RTT).saturating_mul(2).saturating_add(self.transfer(queued));
        comes.clamp(PATIENCE, MAX_PATIENCE)
    }

    /// Bytes that may be asked of it at once, at most `most`: what it delivers in the time that this node waits at most.
    pub(crate) fn most_asked(&self, most: u64) -> u64 {
        self.rate.saturating_mul(MAX_PATIENCE.as_secs()).max(LEAST_ASKED).min(most)
    }

    /// The expected time of a delivery: what it takes if it comes, and more the less often it came.
    pub(crate) fn expected(&self, rtt: Duration, size: u64, queued: u64) -> Duration {
        let comes = rtt.min(MAX_RTT).saturating_add(self.transfer(queued.saturating_add(size)));
        let fails = self.patience(rtt, queued).saturating_mul(PERFECT - self.score) / self.score.max(1);
        comes.saturating_add(fails)
    }
}

/// Whether more is to come on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// Other gets are under way.
    Expected,
    /// None is.
    Idle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_items_one_behind_another() {
        let mut record = Record::new();
        for n in 1..200 {
            record.item(Instant::from_millis(n * 10), 10_000, More::Expected);
        }
        assert!(record.rate > 900_000 && record.rate < 1_100_000, "{}", record.rate);
        assert!(record.proven());
        let rtt = Duration::from_millis(100);
        assert!(record.expected(rtt, 1_000, 0) < Duration::from_millis(110));
        assert_eq!(record.patience(rtt, 1_000), PATIENCE);
        assert!(record.patience(rtt, 1_000_000) > Duration::from_millis(1_100));
        assert_eq!(record.patience(rtt, 1_000_000_000), MAX_PATIENCE);
        assert_eq!(record.patience(Duration::from_secs(40), 0), MAX_PATIENCE);
    }

    #[test]
    fn failing_makes_expected_delivery_worse_until_it_counts_as_new() {
        let (mut good, mut bad) = (Record::new(), Record::new());
        for n in 0..100 {
            for record in [&mut good, &mut bad] {
                record.item(Instant::from_millis(n), 100, More::Idle);
            }
        }
        (0..4).for_each(|_| bad.late());
        assert!(good.proven() && !bad.proven());
        let rtt = Duration::from_millis(50);
        assert!(good.expected(rtt, 100, 50_000) < bad.expected(rtt, 100, 0));
    }

    #[test]
    fn gone_is_blamed_only_where_it_is_most_answers() {
        let mut record = Record::new();
        for n in 0..200 {
            record.item(Instant::from_millis(n), 100, More::Idle);
            assert!(n % 3 != 0 || !record.bad_gone());
        }
        let blamed = (0..100).filter(|_| record.bad_gone()).count();
        assert!((1..=3).contains(&blamed), "{blamed}");
    }

    #[test]
    fn a_score_moves_by_parts_of_what_is_left() {
        let mut record = Record::new();
        assert_eq!(record.score(), 500);
        record.item(Instant::from_millis(1), 100, More::Idle);
        assert_eq!(record.score(), 531, "a sixteenth of what it lacks");
        record.late();
        assert_eq!(record.score(), 399, "less a quarter");
        record.false_item();
        assert_eq!(record.score(), 99, "a quarter");
    }

    #[test]
    fn a_record_takes_sixteen_items_and_half_of_all_points() {
        let mut record = Record::new();
        for n in 1..=15 {
            record.item(Instant::from_millis(n), 100, More::Idle);
        }
        assert!(!record.proven());
        record.item(Instant::from_millis(16), 100, More::Idle);
        assert!(record.proven());
        record.score = 500;
        assert!(record.proven());
        record.score = 499;
        assert!(!record.proven());
    }

    #[test]
    fn the_rate_is_an_eighth_of_the_last_sample_and_the_rest_of_those_before() {
        let mut record = Record::new();
        record.item(Instant::from_millis(1_000), 9_999, More::Expected);
        assert_eq!(record.rate, FIRST_RATE, "the first says when, not how fast");
        record.item(Instant::from_millis(1_000), 30_000, More::Expected);
        record.item(Instant::from_millis(1_100), 20_000, More::Expected);
        assert_eq!(record.rate, (125_000 * 7 + 500_000) / 8, "50 kB in 100 ms");
        record.item(Instant::from_millis(1_200), 0, More::Idle);
        let before = record.rate;
        record.item(Instant::from_millis(9_000), 1_000, More::Expected);
        assert_eq!(record.rate, before, "it was idle meanwhile");
    }

    #[test]
    fn what_a_delivery_takes_follows_rate_round_trip_and_score() {
        let (ms, mut record) = (Duration::from_millis, Record::new());
        assert_eq!(record.transfer(125_000), ms(1_000));
        assert_eq!(record.patience(ms(200), 125_000), ms(1_400));
        assert_eq!(record.patience(ms(10), 0), PATIENCE);
        let comes = ms(200 + 1_000);
        assert_eq!(record.expected(ms(200), 100_000, 25_000), comes + record.patience(ms(200), 25_000));
        record.score = 250;
        assert_eq!(record.expected(ms(200), 100_000, 25_000), comes + record.patience(ms(200), 25_000) * 3);
        record.score = PERFECT;
        assert_eq!(
            record.expected(ms(5_000), 125_000, 0),
            ms(2_000),
            "a round trip is taken for 1 s at most"
        );
        assert_eq!(record.most_asked(u64::MAX), 250_000, "what comes in 2 s");
        assert_eq!(record.most_asked(200_000), 200_000);
        record.rate = 10;
        assert_eq!(record.most_asked(u64::MAX), LEAST_ASKED);
        assert_eq!(record.transfer(16_000), ms(1_000), "no link is taken for slower than 16 kB/s");
    }

    #[test]
    fn gone_is_blamed_from_32_answers_on_where_it_is_more_than_half() {
        let mut record = Record::new();
        for n in 0..16 {
            record.item(Instant::from_millis(n), 100, More::Idle);
        }
        assert!((0..16).all(|_| !record.bad_gone()), "half of 32");
        assert!(record.bad_gone(), "17 of 33");
        assert_eq!((record.answers, record.bad_gone), (0, 0));
        assert!((0..31).all(|_| !record.bad_gone()), "31 answers are too few");
        assert!(record.bad_gone());
        for n in 0..62 {
            record.item(Instant::from_millis(n), 100, More::Idle);
        }
        assert!(!record.bad_gone());
        assert_eq!((record.answers, record.bad_gone), (63, 1));
        assert!(!record.bad_gone());
        assert_eq!((record.answers, record.bad_gone), (32, 1), "all count half from 64 on");
    }
}
