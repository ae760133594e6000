//! One direction of a stream in a test network: what its writer sent and its reader has not taken.

use std::collections::VecDeque;

use crate::stream::Incoming;
use crate::{Chunk, Instant};

/// What a writer sends, in order.
#[derive(Debug)]
pub enum Part {
    /// Bytes.
    Data(Chunk),
    /// The end.
    End,
    /// The direction is broken off.
    Reset(u32),
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub struct Flow {
    written: usize, // bytes sent and not yet taken by the reader, <= the network's window
    last_due: Instant,
    arrived: VecDeque<Part>, // <= window bytes, waiting for room
    closed: bool,            // by its writer, or at the reader's wish
    finishing: bool,         // its writer ends it once it has no more
    ended: bool,             // for its reader
}

impl Flow {
    /// Bytes that its writer may send where so many may be untaken; `None` once the writer has closed it.
    pub fn room(&self, window: usize) -> Option<usize> {
        (!self.closed).then(|| window.saturating_sub(self.written))
    }

    /// The writer sent so many bytes.
    pub fn wrote(&mut self, len: usize) {
        self.written += len;
    }

    /// The writer ends it once it has no more to send.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whether it ends once its writer has no more to send.
    pub fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// The writer sends no more. Whether that is new.
    pub fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    /// The reader takes no more. Whether that is new.
    pub fn stop(&mut self) -> bool {
        self.arrived.clear();
        !std::mem::replace(&mut self.ended, true)
    }

    /// When something arrives that would arrive at `due` by itself: nothing overtakes what was sent before.
    pub fn in_order(&mut self, due: Instant) -> Instant {
        self.last_due = self.last_due.max(due);
        self.last_due
    }

    /// When all that was sent has arrived.
    pub fn last_due(&self) -> Instant {
        self.last_due
    }

    /// Something arrived. A reader that stopped does not see it.
    pub fn arrive(&mut self, part: Part) {
        if !self.ended {
            self.arrived.push_back(part);
        }
    }

    /// Whether its reader has something to take, if it has room.
    pub fn has_arrived(&self) -> bool {
        !self.ended && !self.arrived.is_empty()
    }

    /// What its reader takes next, with room for so many bytes. An end needs no room.
    pub fn take(&mut self, room: usize) -> Option<Incoming> {
        if self.ended {
            return None;
        }
        match self.arrived.pop_front()? {
            Part::Data(chunk) if room == 0 => {
                self.arrived.push_front(Part::Data(chunk));
                None
            }
            Part::Data(mut chunk) => {
                let taken = chunk.split_to(room);
                if !chunk.is_empty() {
                    self.arrived.push_front(Part::Data(chunk));
                }
                self.written = self.written.saturating_sub(taken.len());
                Some(Incoming::Data(taken))
            }
            Part::End => {
                self.ended = true;
                Some(Incoming::End)
            }
            Part::Reset(code) => {
                self.ended = true;
                Some(Incoming::Reset(code))
            }
        }
    }
}
