//! What chance does to one direction of a path. Each direction has a generator of its own, seeded from the run's seed, the
//! two nodes and what flows there, so that a change in one place does not redraw everything else.

use super::Model;

/// A generator of 8 bytes (`SplitMix64`, Steele, Lea and Flood 2014): a network has hundreds of thousands of directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    /// For what these numbers name.
    pub(crate) fn of(seed: u64, names: [u64; 3]) -> Self {
        let mut state = Self(seed);
        for name in names {
            state = Self(state.next() ^ name);
        }
        state.next();
        state
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 to `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        ((u128::from(self.next()) * (u128::from(most) + 1)) >> 64) as u64
    }

    /// True `of` in a million times.
    pub(crate) fn per_million(&mut self, of: u64) -> bool {
        of > 0 && self.up_to(999_999) < of
    }
}

/// A burst of losses is over after such a time, in nanoseconds, however few packets came in it: 100 ms.
const BURST: u64 = 100_000_000;

/// Losses of one direction, in bursts: a chain of two states, *good* without loss and *bad*, in which every second packet is
/// lost (Gilbert 1960, Elliott 1963).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    bad: bool,
    last: u64, // time of the last packet
}

impl Losses {
    /// Whether one of `packets` in a row is lost at `now`, in nanoseconds.
    pub(crate) fn lost(&mut self, model: &Model, draws: &mut Draws, now: u64, packets: u64) -> bool {
        if model.loss_per_million == 0 {
            return false;
        }
        let bad = 2 * u64::from(model.loss_per_million).min(499_999); // share of packets in the bad state, per million
        let leave = 1_000_000 / u64::from(model.burst.max(1));
        let enter = bad * leave / (1_000_000 - bad);
        if now.saturating_sub(self.last) > BURST {
            self.bad = draws.per_million(bad);
        }
        self.last = self.last.max(now);
        let mut any = false;
        for _ in 0..packets {
            self.bad = if self.bad { !draws.per_million(leave) } else { draws.per_million(enter) };
            any |= self.bad && draws.next() & 1 == 0;
        }
        any
    }
}

/// How much later than its latency something comes, in nanoseconds: up to the model's share of the latency, evenly; of
/// [`Model::tail_per_million`] up to a hundred times that, with a tail that falls with the square (Pareto's of index 1).
pub(crate) fn jitter(model: &Model, draws: &mut Draws, one_way: u64) -> u64 {
    let most = one_way / 100 * u64::from(model.jitter_percent);
    let jitter = draws.up_to(most);
    if most == 0 || !draws.per_million(model.tail_per_million.into()) {
        return jitter;
    }
    most * 100 / (1 + draws.up_to(99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_come_as_often_as_the_model_says_and_in_bursts() {
        let model = Model { loss_per_million: 10_000, burst: 8, ..Model::default() };
        let (mut draws, mut losses) = (Draws::of(1, [1, 2, 3]), Losses::default());
        let lost: Vec<bool> = (0..400_000).map(|_| losses.lost(&model, &mut draws, 1, 1)).collect();
        let count = lost.iter().filter(|lost| **lost).count();
        assert!((3_000..5_000).contains(&count), "{count}");
        let after = lost.windows(2).filter(|pair| pair[0] && pair[1]).count();
        assert!(after * 4 > count, "{after} of {count} right after another: bursts");
    }

    #[test]
    fn jitter_stays_within_its_share_but_for_its_tail() {
        let model = Model { tail_per_million: 10_000, ..Model::default() };
        let mut draws = Draws::of(1, [1, 2, 3]);
        let found: Vec<u64> = (0..100_000).map(|_| jitter(&model, &mut draws, 100_000)).collect();
        let tail = found.iter().filter(|jitter| **jitter > 5_000).count();
        assert!((500..1_100).contains(&tail), "{tail}");
        assert!(found.iter().all(|jitter| *jitter <= 500_000));
        assert!(found.iter().any(|jitter| *jitter > 100_000), "the tail is long");
    }

    #[test]
    fn directions_draw_for_themselves() {
        let first = |names| Draws::of(7, names).next();
        assert_ne!(first([1, 2, 0]), first([2, 1, 0]));
        assert_ne!(first([1, 2, 0]), first([1, 2, 1]));
        assert_eq!(first([1, 2, 0]), first([1, 2, 0]));
    }
}
