//! Interruptions of this machine's processors by its host. A virtual machine shares its processors with others and may lose one for tens
//! of milliseconds, which the honest pair's latencies then include.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An interruption: when it ended, and how long it lasted.
type Away = (Instant, Duration);

/// Measures interruptions by a thread of real-time priority on each processor, which wakes every millisecond. No other thread of this
/// machine delays it: where it wakes late, the host had taken the processor.
pub(crate) struct Machine {
    away: Arc<Mutex<Vec<Away>>>,
}

impl Machine {
    /// Starts the threads. `None` where the system or the user's rights do not allow real-time priority.
    pub(crate) fn watch() -> Option<Self> {
        let away = Arc::default();
        on_each(&away).then_some(Self { away })
    }

    /// The longest interruption that overlaps this window. Those that ended before it are forgotten.
    pub(crate) fn longest(&self, from: Instant, to: Instant) -> Duration {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.retain(|(until, _)| *until >= from);
        longest(&away, to)
    }
}

fn longest(away: &[Away], to: Instant) -> Duration {
    away.iter().filter(|(until, took)| *until - *took < to).map(|(_, took)| *took).max().unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn on_each(_: &Arc<Mutex<Vec<Away>>>) -> bool {
    false
}

#[cfg(target_os = "linux")]
use linux::on_each;

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
    use std::time::{Duration, Instant};

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use thread_priority::{
        RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };

    use super::Away;

    /// How often each processor is asked for.
    const EVERY: Duration = Duration::from_millis(1);

    /// Less than this may be the system's own work.
    const LEAST: Duration = Duration::from_millis(2);

    /// A thread for each processor, until `away` is dropped. False where one of them has not the priority.
    pub(super) fn on_each(away: &Arc<Mutex<Vec<Away>>>) -> bool {
        let Ok(all) = sched_getaffinity(None) else { return false };
        let (told, hears) = mpsc::sync_channel(CpuSet::MAX_CPU);
        for processor in (0..CpuSet::MAX_CPU).filter(|number| all.is_set(*number)) {
            let (away, told) = (Arc::downgrade(away), told.clone());
            std::thread::spawn(move || {
                let first = stay_on(processor);
                let _ = told.send(first); // who hears waits for all of them
                drop(told);
                if first {
                    look(&away);
                }
            });
        }
        drop(told);
        hears.iter().all(|first| first)
    }

    /// Whether this thread runs on that processor now, before all others.
    fn stay_on(processor: usize) -> bool {
        let mut own = CpuSet::new();
        own.set(processor);
        let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
        sched_setaffinity(None, &own).is_ok()
            && set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Max, fifo).is_ok()
    }

    fn look(away: &Weak<Mutex<Vec<Away>>>) {
        let mut last = Instant::now();
        loop {
            std::thread::sleep(EVERY);
            let Some(away) = away.upgrade() else { return };
            let now = Instant::now();
            let late = (now - last).saturating_sub(EVERY);
            if late >= LEAST {
                away.lock().unwrap_or_else(PoisonError::into_inner).push((now, late));
            }
            last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_away_is_that_of_the_window() {
        let begun = Instant::now();
        let millis = Duration::from_millis;
        let away = [(10, 9), (20, 3), (31, 7), (60, 20)];
        let away = away.map(|(until, took)| (begun + millis(until), millis(took)));
        let machine = Machine { away: Arc::new(Mutex::new(away.to_vec())) };
        let of = |from, to| machine.longest(begun + millis(from), begun + millis(to));
        assert_eq!(of(11, 24), millis(3));
        assert_eq!(of(15, 25), millis(7), "it began within the window");
        assert_eq!(of(35, 41), millis(20));
        assert_eq!(of(61, 80), Duration::ZERO);
    }
}
