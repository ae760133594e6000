//! Threads that carry nodes out, for as long as the host lives.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// See the module.
///
/// The same piece of work is the same thread's each time. So a node's memory is taken, used and given back by one thread from the
/// node's beginning to its end, which allocators are made for, and stays in that processor's caches.
#[derive(Default)]
pub(super) struct Threads {
    pool: Option<ThreadPool>,
}

impl Threads {
    /// Does each piece of work on a thread of its own. Returns the results in the order of the work. A single piece is done on the
    /// calling thread; so are all pieces where the system gives no threads.
    ///
    /// # Panics
    /// Where a piece of work does.
    pub(super) fn each<R: Send>(&mut self, work: Vec<impl FnOnce() -> R + Send>) -> Vec<R> {
        if work.len() > 1
            && let Some(pool) = self.pool(work.len())
        {
            let places: Vec<_> = work.into_iter().map(|one| Mutex::new(Some(one))).collect();
            let done = pool.broadcast(|thread| {
                let place = places.get(thread.index())?;
                let work = place.lock().unwrap_or_else(PoisonError::into_inner).take()?;
                Some(work())
            });
            return done.into_iter().flatten().collect();
        }
        work.into_iter().map(|one| one()).collect()
    }

    /// At least so many threads.
    fn pool(&mut self, least: usize) -> Option<&ThreadPool> {
        if self.pool.as_ref().is_none_or(|pool| pool.current_num_threads() < least) {
            let name = |number| format!("weir-sim-{number}");
            self.pool = ThreadPoolBuilder::new().num_threads(least).thread_name(name).build().ok();
        }
        self.pool.as_ref()
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.pool.as_ref().map_or(1, ThreadPool::current_num_threads);
        f.debug_struct("Threads").field("threads", &threads).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_of_work_is_the_same_threads_again_and_results_keep_their_order() {
        let mut threads = Threads::default();
        let mut run = |pieces: u32| {
            let work = (0..pieces).map(|number| move || (number, rayon::current_thread_index())).collect();
            threads.each(work)
        };
        let three = [(0, Some(0)), (1, Some(1)), (2, Some(2))];
        assert_eq!((run(3), run(3)), (three.into(), three.into()));
        assert_eq!(run(2), three[..2], "fewer pieces leave threads idle");
        assert_eq!(run(1), [(0, None)], "a single one is done here");
        assert_eq!(run(4).len(), 4, "more pieces take more threads");
        assert_eq!(run(0), []);
    }

    #[test]
    #[should_panic(expected = "the second piece")]
    fn a_panic_on_a_thread_is_a_panic_here() {
        let work = (1..=2).map(|number| move || assert!(number < 2, "the second piece")).collect();
        Threads::default().each(work);
    }
}
