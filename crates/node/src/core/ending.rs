//! How a node ends: what was written first, then goodbye, then nothing.

use std::task::Waker;

use weir_base::Instant;
use weir_stack::{Command, Report};

use super::Core;
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
}

impl Core {
    /// Says goodbye once raw streams have handed over what was written, or at the deadline.
    pub(super) fn say_goodbye(&mut self, now: Instant) {
        let Some(due) = self.ending.due() else { return };
        if now < due && !self.streams.drained() {
            return;
        }
        self.ending.said = true;
        if let Err(refused) = self.stack.command(now, Command::Shutdown { deadline: due.since(now) }) {
            tracing::debug!(%refused, "the stack had been told to end before");
        }
    }

    /// The stack has ended.
    pub(super) fn ended(&mut self, report: Report) {
        self.ending.report = ShutdownReport { closed: report.closed, unfinished: report.unfinished };
        tracing::debug!(closed = report.closed, unfinished = report.unfinished, "the node has stopped");
        self.ending.stopped = true;
    }
}
