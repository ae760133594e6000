//! What has come and is unread, and how much more may.

use std::collections::{BTreeMap, BTreeSet};

use weir_libp2p::connection::{Connection, INPUT_MAX, Muxer};
use weir_libp2p::yamux;

use super::stream::{Stream, id};
use crate::carrier::Scope;
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

    /// Bytes that the host may hand in: the link's window and one record, less what is unread, decrypted or not.
    pub(super) fn room(&mut self, conn: &mut Connection, window: &Window) -> usize {
        let waits = INPUT_MAX.saturating_sub(conn.room());
        let unread = conn.muxer().map_or(0, |muxer| muxer.unread()) as u64 + self.kept;
        let left = (window.granted() + RECORD).saturating_sub(unread + waits as u64);
        let room = conn.room().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.starved = room == 0;
        room
    }

    /// What was read has left memory: what waits to be decrypted goes on. Returns whether the host, which was told not to read, can
    /// go on, too.
    pub(super) fn go_on(&mut self, conn: &mut Connection, scope: &Scope<'_>) -> bool {
        let limit = usize::try_from(scope.window.granted() + RECORD).unwrap_or(usize::MAX);
        if let Some(muxer) = conn.muxer() {
            muxer.limit_unread(limit);
        }
        if conn.room() < INPUT_MAX {
            conn.resume(scope.now);
        }
        self.starved && self.room(conn, scope.window) > 0
    }

    /// Whether the host was told not to read, or what it read waits to be decrypted.
    pub(super) fn waits_for_room(&self, conn: &Connection) -> bool {
        self.starved || conn.room() < INPUT_MAX
    }

    /// After bytes arrived or streams ended: counts what is unread.
    pub(super) fn count_arrived(
        &mut self,
        conn: &mut Connection,
        streams: &mut BTreeMap<u64, Box<Stream>>,
        window: &mut Window,
    ) {
        let Some(muxer) = conn.muxer() else { return };
        let raws = std::mem::take(&mut self.unread_raws);
        for stream in &raws {
            self.count_raw(muxer, streams, *stream);
        }
        self.unread_raws = raws;
        self.count(muxer, window);
    }
}
