//! How a node ends: what owners still want to write goes out first, then goodbye to all, then the links deliver what was
//! written and end. Each step has its part of the deadline.

use std::time::Duration;

use weir_base::Instant;
use weir_link::DownReason;

use crate::types::Report;

/// See the module.
#[derive(Debug)]
pub(crate) struct Ending {
    flushed_by: Instant,
    until: Instant,
    phase: Phase,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Owners write what they have.
    Flushing,
    /// Goodbye was said; links end.
    Closing,
    /// Told.
    Closed,
}

impl Ending {
    /// Ends within `deadline` of `now`; the first half of it is for what owners still want to write.
    pub(crate) fn new(now: Instant, deadline: Duration) -> Self {
        let report = Report::default();
        Self { flushed_by: now + deadline / 2, until: now + deadline, phase: Phase::Flushing, report }
    }

    /// Whether goodbye should be said now; once. `wanting` streams have more to write.
    pub(crate) fn should_say(&mut self, now: Instant, wanting: usize) -> bool {
        let due = self.phase == Phase::Flushing && (wanting == 0 || now >= self.flushed_by);
        if due {
            self.phase = Phase::Closing;
        }
        due
    }

    /// A link has ended.
    pub(crate) fn count(&mut self, reason: DownReason) {
        match reason {
            DownReason::Closed(_) | DownReason::ByPeer(_) => self.report.closed += 1,
            _ => self.report.unfinished += 1,
        }
    }

    /// The report, once: when no link is left, or time is up.
    pub(crate) fn finish(&mut self, now: Instant, links: usize) -> Option<Report> {
        if self.phase != Phase::Closing || (links > 0 && now < self.until) {
            return None;
        }
        self.phase = Phase::Closed;
        self.report.unfinished += u32::try_from(links).unwrap_or(u32::MAX);
        Some(self.report)
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.phase {
            Phase::Flushing => Some((self.flushed_by, "say goodbye")),
            Phase::Closing => Some((self.until, "end the node")),
            Phase::Closed => None,
        }
    }
}
