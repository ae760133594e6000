//! What has come and is unread, and how much more may.

use std::collections::{BTreeMap, BTreeSet};

use weir_libp2p::connection::{INPUT_MAX, Muxer};
use weir_libp2p::yamux;

use super::link::{TcpLink, id};
use super::stream::Stream;
use crate::window::{RawUse, Window};

/// Unread bytes of streams that are not raw, beyond which the base window pays for them: what the peer may send on one stream at
/// birth, so that one stream which is not read holds nobody up.
const UNREAD_MAX: u64 = yamux::WINDOW_MIN as u64;

/// The most that one record of the security adds to what is unread, in bytes.
const RECORD: u64 = yamux::LOW as u64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    held: RawUse,                          // what the window counts
    pub(super) kept: u64,                  // unread bytes that came with the end of a negotiation
    raw: u64,                              // sum of `Stream::counted`
    pub(super) unread_raws: BTreeSet<u64>, // raw streams whose reader has not seen the end of what is there
    pub(super) told: Vec<u64>,             // streams that this side broke off and whose reader is to be told
    starved: bool,                         // the host was told not to read
}

impl Receiving {
    /// Drops what a stream has kept.
    pub(super) fn drop_kept(&mut self, entry: &mut Stream) {
        self.kept -= entry.receive.discard();
    }

    /// A stream is gone.
    pub(super) fn forget(&mut self, stream: u64, entry: &Stream) {
        self.unread_raws.remove(&stream);
        self.raw -= entry.counted;
        self.kept -= entry.receive.unread();
    }

    /// A raw stream has as much unread as it has now.
    pub(super) fn count_raw(&mut self, muxer: &Muxer, streams: &mut BTreeMap<u64, Box<Stream>>, stream: u64) {
        let Some(entry) = streams.get_mut(&stream) else { return };
        if !entry.raw {
            return;
        }
        let unread = muxer.unread_of(id(stream)) as u64 + entry.receive.unread();
        self.raw = self.raw - entry.counted + unread;
        entry.counted = unread;
    }

    /// Counts all that is unread in the link's window, instead of what was counted before.
    pub(super) fn count(&mut self, muxer: &Muxer, window: &mut Window) {
        let unread = muxer.unread() as u64 + self.kept;
        let others = unread.saturating_sub(self.raw);
        self.held.count(window, self.raw + others.min(UNREAD_MAX), 0);
    }
}

impl TcpLink {
    /// Bytes that the host may hand in: the link's window and one record, less what is unread, decrypted or not.
    pub(super) fn pipe_room(&mut self, window: &Window) -> usize {
        let waits = INPUT_MAX.saturating_sub(self.conn.room());
        let unread = self.conn.muxer().map_or(0, |muxer| muxer.unread()) as u64 + self.receiving.kept;
        let left = (window.granted() + RECORD).saturating_sub(unread + waits as u64);
        let room = self.conn.room().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.receiving.starved = room == 0;
        room
    }

    /// What was read has left memory: what waits to be decrypted goes on. Returns whether the host, which was told not to read, can
    /// go on, too.
    pub(super) fn go_on(&mut self, window: &Window) -> bool {
        let limit = usize::try_from(window.granted() + RECORD).unwrap_or(usize::MAX);
        if let Some(muxer) = self.conn.muxer() {
            muxer.limit_unread(limit);
        }
        if self.conn.room() < INPUT_MAX {
            self.conn.resume(self.now);
        }
        self.receiving.starved && self.pipe_room(window) > 0
    }

    /// After bytes arrived or streams ended: counts what is unread.
    pub(super) fn count_arrived(&mut self, window: &mut Window) {
        let Some(muxer) = self.conn.muxer() else { return };
        let raws = std::mem::take(&mut self.receiving.unread_raws);
        for stream in &raws {
            self.receiving.count_raw(muxer, &mut self.streams, *stream);
        }
        self.receiving.unread_raws = raws;
        self.receiving.count(muxer, window);
    }
}
