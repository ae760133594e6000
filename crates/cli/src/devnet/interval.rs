//! The time between blocks, so that blocks hold what is submitted.

use weir_chain::block::{BODY_MAX, TRANSFERS_MAX};

/// Milliseconds between blocks, where blocks of that time hold the rate.
const BLOCK_MS: u64 = 1_000;
/// The shortest time between blocks, in milliseconds: a block has to get to every node before the next.
pub(crate) const BLOCK_MS_MIN: u64 = 50;
/// How full blocks are at the rate asked, in percent. The rest is for large transactions that come together.
const FILLED_PERCENT: u64 = 75;

/// Milliseconds between blocks for `rate` transactions a second that take `mean` bytes of a block each.
pub(crate) fn fitting(rate: u32, mean: usize) -> u64 {
    let longest = room(mean) * 1_000 * FILLED_PERCENT / 100 / u64::from(rate.max(1));
    longest.clamp(BLOCK_MS_MIN, BLOCK_MS)
}

/// What to tell a user whose blocks cannot hold the rate.
pub(crate) fn overfull(rate: u32, mean: usize, block_ms: u64) -> Option<String> {
    let held = room(mean) * 1_000 / block_ms;
    if u64::from(rate) <= held {
        return None;
    }
    let best = fitting(rate, mean);
    let remedy = if best < block_ms { format!("; try --block-ms {best}") } else { String::new() };
    Some(format!(
        "--rate {rate}: a block each {block_ms} ms holds about {held} transactions a second, so the others wait{remedy}"
    ))
}

/// Transactions that a block holds.
fn room(mean: usize) -> u64 {
    ((BODY_MAX - 4) / mean.max(1)).min(TRANSFERS_MAX) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_each_second_and_faster_only_where_they_would_be_full() {
        assert_eq!(fitting(0, 600), 1_000);
        assert_eq!(fitting(1_300, 600), 1_000);
        let faster = fitting(2_000, 600);
        assert!((500..1_000).contains(&faster), "{faster}");
        assert!(2_000 * faster / 1_000 * 600 < BODY_MAX as u64, "a block has room for all of its time");
        assert_eq!(fitting(100_000, 600), BLOCK_MS_MIN);
    }

    #[test]
    fn small_transactions_are_bounded_by_their_number() {
        let fast = fitting(40_000, 200);
        assert!(40_000 * fast / 1_000 < TRANSFERS_MAX as u64, "{fast}");
    }

    #[test]
    fn blocks_that_cannot_hold_the_rate_are_named_with_what_would() {
        assert_eq!(overfull(1_000, 600, 1_000), None);
        let told = overfull(3_000, 600, 1_000).unwrap();
        assert!(told.contains("about 1747 ") && told.contains("--block-ms 436"), "{told}");
        let told = overfull(100_000, 600, BLOCK_MS_MIN).unwrap();
        assert!(told.contains("34940") && !told.contains("try"), "{told}");
    }
}
