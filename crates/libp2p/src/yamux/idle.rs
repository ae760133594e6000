//! What comes and moves nothing: frames that change nothing, and what was on its way to streams that are over.

use weir_base::{Fault, Instant, MIB};

use super::{OVERRUN, STORM};
use crate::storm::Storm;

/// Frames without bytes that may still come for a stream which is over at this side: ACK, FIN and RST.
const LAST_WORDS: u64 = 3;

/// Bytes that may still come for streams that are over at this side, together: more than are on their way on a path of 10 Gbit/s in 200 ms.
const LATE_MAX: u64 = 256 * MIB as u64;

/// Window updates that a peer may send for a frame of data, and one more for each so many bytes of it. Most send one for half a window,
/// js-libp2p one for a frame, and py-libp2p one for each read.
const UPDATES: u64 = 4;
const BYTES_AN_UPDATE: u64 = 256;

/// What may come of it.
#[derive(Debug)]
pub(super) struct Idle {
    frames: Storm,
    late: u64, // bytes for streams that are over, <= LATE_MAX
}

impl Idle {
    pub(super) fn new(now: Instant) -> Self {
        Self { frames: Storm::new(now), late: 0 }
    }

    /// Counts a frame that nothing this side did calls for.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Fault> {
        if self.frames.take(now) { Ok(()) } else { Err(STORM) }
    }

    /// Counts a frame that this side may have called for.
    pub(super) fn take_stray(&mut self, now: Instant) -> Result<(), Fault> {
        if self.frames.take_stray(now) { Ok(()) } else { Err(STORM) }
    }

    /// Counts bytes for a stream that is over.
    pub(super) fn take_late(&mut self, len: u32) -> Result<(), Fault> {
        self.late = self.late.checked_sub(len.into()).ok_or(OVERRUN)?;
        Ok(())
    }

    /// A stream is over at this side. What was on its way then may still come: the credit that its peer had left, and its last words.
    pub(super) fn expect_rest(&mut self, credit: u32) {
        self.late = self.late.saturating_add(credit.into()).min(LATE_MAX);
        self.frames.expect(LAST_WORDS);
    }

    /// This side has sent a frame of data. Its reader gives credit back.
    pub(super) fn expect_updates(&mut self, len: u32) {
        self.frames.expect(UPDATES + u64::from(len) / BYTES_AN_UPDATE);
    }
}
