//! What waits between two windows: what came for nodes that had nothing to do, and what the last window's nodes sent.

use weir_base::Instant;

use super::computer::Computer;
use super::threads::Threads;
use super::world::Parcel;

/// What windows keep beside the computers: all of it small, so that a window begins and ends without a look at these.
#[derive(Debug, Default)]
pub(super) struct Windows {
    pub(super) next: Vec<Instant>, // by node: when something comes there; what is in `sent` left out
    pub(super) boxes: Vec<Vec<Parcel>>, // by node: what came for it
    pub(super) sent: Sent,
    pub(super) threads: Threads,
}

/// What the last window's nodes sent and nobody has got.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) each: usize,                    // nodes of a part; 0: no window passed
    pub(super) parcels: Vec<Vec<Vec<Parcel>>>, // by the part of those who sent them, and of those who get them
    pub(super) earliest: Option<Instant>,
}

impl Windows {
    /// What is left is given to those for whom it is: they may be looked at one by one. Where no window passed since the last time
    /// there is nothing.
    pub(super) fn deliver<N>(&mut self, computers: &mut [Computer<N>]) {
        let Self { next, boxes, sent, .. } = self;
        if sent.each == 0 {
            return;
        }
        let sent = std::mem::take(sent).parcels.into_iter().flatten().flatten();
        for parcel in boxes.iter_mut().flat_map(|came| came.drain(..)).chain(sent) {
            let to = parcel.to.index();
            if let (Some(computer), Some(next)) = (computers.get_mut(to), next.get_mut(to)) {
                *next = (*next).min(parcel.key.due);
                computer.system.agenda.push(parcel.key, parcel.due);
            }
        }
    }
}
