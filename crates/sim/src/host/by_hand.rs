//! Byte streams whose one end no stack holds, but a peer that decides about every byte: [`ByHand`].

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use weir_base::Instant;
use weir_stack::{PipeChange, PipeId};

use super::carry::Output;

/// What a peer by hand hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The byte stream is connected.
    Connected,
    /// The other end sent this.
    Bytes(&'a [u8]),
    /// The other end has ended its direction, or the byte stream.
    End,
    /// It is time: see [`ByHand::poll_timeout`].
    Time,
}

/// A peer that decides about every byte of one byte stream.
pub trait ByHand: Send {
    /// Something happened. What it says is appended to `out`.
    fn hear(&mut self, now: Instant, heard: Heard<'_>, out: &mut BytesMut);
    /// Whether it reads: what it has not read makes the other end's system wait in the end.
    fn reads(&self) -> bool {
        true
    }
    /// When it wants to act by itself.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Byte streams below this number are the stack's.
const FIRST: u64 = 1 << 62;

/// Those of one node.
#[derive(Default)]
pub(super) struct Hands {
    list: BTreeMap<PipeId, Box<dyn ByHand>>,
    dialled: u64,
}

impl Hands {
    /// One more, to be dialled under this number.
    pub(super) fn add(&mut self, by: Box<dyn ByHand>) -> PipeId {
        self.dialled += 1;
        let pipe = PipeId(FIRST + 2 * self.dialled);
        self.list.insert(pipe, by);
        pipe
    }

    /// Whether a byte stream is held by hand.
    pub(super) fn has(&self, pipe: PipeId) -> bool {
        self.list.contains_key(&pipe)
    }

    /// Bytes came. Whether they were read.
    pub(super) fn bytes(
        &mut self,
        now: Instant,
        pipe: PipeId,
        bytes: &[u8],
        leaving: &mut Vec<Output>,
    ) -> bool {
        self.hear(now, pipe, Heard::Bytes(bytes), leaving);
        self.list.get(&pipe).is_none_or(|by| by.reads())
    }

    /// A byte stream changed.
    pub(super) fn changed(
        &mut self,
        now: Instant,
        pipe: PipeId,
        change: PipeChange,
        leaving: &mut Vec<Output>,
    ) {
        let heard = if change == PipeChange::Connected { Heard::Connected } else { Heard::End };
        self.hear(now, pipe, heard, leaving);
        if matches!(change, PipeChange::Failed | PipeChange::Closed) {
            self.list.remove(&pipe);
        }
    }

    fn hear(&mut self, now: Instant, pipe: PipeId, heard: Heard<'_>, leaving: &mut Vec<Output>) {
        let Some(by) = self.list.get_mut(&pipe) else { return };
        let mut out = BytesMut::new();
        by.hear(now, heard, &mut out);
        if !out.is_empty() {
            let bytes: Bytes = out.freeze();
            leaving.push(Output::Bytes { pipe, bytes, finish: false });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.list.values().filter_map(|by| by.poll_timeout()).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, leaving: &mut Vec<Output>) {
        let is_due = |by: &dyn ByHand| by.poll_timeout().is_some_and(|due| due <= now);
        let due = self.list.iter().filter(|(_, by)| is_due(by.as_ref())).map(|(pipe, _)| *pipe);
        for pipe in due.collect::<Vec<_>>() {
            self.hear(now, pipe, Heard::Time, leaving);
        }
    }
}
