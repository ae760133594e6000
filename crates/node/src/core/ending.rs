//! How a node ends: what was written first, then goodbye, then nothing.

use std::task::Waker;

use weir_base::Instant;
use weir_stack::Report;

use crate::mailbox::Promise;
use crate::report::ShutdownReport;

/// A shutdown on its way.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    due: Option<Instant>,
    said: bool,
    stopped: bool,
    aborted: bool,
    report: ShutdownReport,
    asked: Vec<Promise<ShutdownReport>>, // one per call of shutdown; the last lease adds none
}

impl Ending {
    /// Somebody wants the node to end by `due`; the earliest counts.
    pub(crate) fn ask(&mut self, due: Instant, report: Option<Promise<ShutdownReport>>) {
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        self.asked.extend(report);
    }

    /// It ends now, without goodbye.
    pub(crate) fn abort(&mut self) {
        self.aborted = !self.stopped;
        self.stopped = true;
    }

    /// It is gone: whoever asked it to end hears of it.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) {
        self.stopped = true;
        for promise in self.asked.drain(..) {
            promise.fill(self.report, wakers);
        }
    }

    /// Whether it ended by [`abort`](Self::abort).
    pub(crate) fn aborted(&self) -> bool {
        self.aborted
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.due.is_some() && !self.stopped
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Until goodbye is said; then the stack keeps the time.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.said && !self.stopped)
    }

    /// Goodbye is said.
    pub(crate) fn said(&mut self) {
        self.said = true;
    }

    /// The stack has ended.
    pub(crate) fn ended(&mut self, report: Report) {
        self.report = ShutdownReport { closed: report.closed, unfinished: report.unfinished };
        tracing::debug!(closed = report.closed, unfinished = report.unfinished, "the node has stopped");
        self.stopped = true;
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};
    use std::time::Duration;

    use super::*;
    use crate::mailbox::promise;

    #[test]
    fn the_earliest_deadline_counts_until_goodbye_is_said() {
        let (mut ending, at) = (Ending::default(), |seconds| Instant::ZERO + Duration::from_secs(seconds));
        [5, 3, 4].into_iter().for_each(|seconds| ending.ask(at(seconds), None));
        assert_eq!((ending.due(), ending.is_asked()), (Some(at(3)), true));
        ending.said();
        assert_eq!((ending.due(), ending.is_asked()), (None, true));
        ending.abort();
        assert!(ending.stopped() && ending.aborted() && !ending.is_asked());
    }

    #[test]
    fn whoever_asked_hears_how_it_ended_and_a_node_that_has_stopped_is_not_aborted() {
        let mut ending = Ending::default();
        let (promise, pending) = promise();
        ending.ask(Instant::ZERO, Some(promise));
        ending.ended(Report { closed: 3, unfinished: 1 });
        ending.abort();
        assert!(!ending.aborted());
        ending.close(&mut Vec::new());
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(report)) = std::pin::pin!(pending).poll(&mut context) else {
            panic!("no report")
        };
        assert_eq!((report.closed, report.unfinished), (3, 1));
    }
}
