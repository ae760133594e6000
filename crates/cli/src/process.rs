//! What the system tells of this process. Nothing where it does not tell.

/// Clock ticks in a second in `/proc`: `USER_HZ`, 100 on every architecture that Linux runs on (`man 5 proc`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Peak resident bytes.
pub(crate) fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// User and system time of all threads so far, in seconds.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    seconds(&stat)
}

/// Fields 14 and 15; the second, a name in parentheses, may hold anything.
fn seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = |at: usize| rest.split_whitespace().nth(at)?.parse::<u32>().ok();
    Some(f64::from(ticks(11)?) / TICKS_PER_SECOND + f64::from(ticks(12)?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(seconds(stat), Some(3.0));
        assert_eq!(seconds("nothing"), None);
    }
}
