//! Raw streams: between the stack and the pipes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use weir_base::identity::PeerId;
use weir_base::stream::Class;
use weir_base::{Chunk, Instant, KIB, ProtocolId, Rope, StreamKey};
use weir_pull::Ticket;
use weir_stack::{Command, Refused, Stack, raw};

use crate::error::{OpenError, StreamError};
use crate::mailbox::Promise;
use crate::shared::Shared;
use crate::stream::{Drained, Ending, NewStream, Pipe};

/// Bytes moved from a pipe at once; keeps the lock short.
const STEP: usize = 256 * KIB;

/// All raw streams of the node. Bounded by the stack's limit.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    by_key: BTreeMap<StreamKey, Stream>,
    by_pipe: BTreeMap<u64, StreamKey>,
    opening: BTreeMap<Ticket, (PeerId, Promise<Result<NewStream, OpenError>>)>,
    chunks: Vec<Chunk>, // of one read; kept for its memory
}

#[derive(Debug)]
struct Stream {
    pipe: Arc<Pipe>,
    rope: Rope, // taken off the pipe, and the link had no room for it after all
    reading: bool,
    writing: bool,
}

impl Streams {
    /// Asks the stack for a stream.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        (protocol, class, peer): (ProtocolId, Class, PeerId),
        reply: Promise<Result<NewStream, OpenError>>,
        wakers: &mut Vec<Waker>,
    ) {
        match stack.command(now, Command::Raw(raw::Command::Open { peer, protocol, class })) {
            Ok(ticket) => {
                self.opening.insert(ticket, (peer, reply));
            }
            Err(refused) => {
                let error = match refused {
                    Refused::Closing => OpenError::Stopped,
                    Refused::NoPeer => OpenError::NotConnected,
                    Refused::Limit => OpenError::Busy,
                    _ => OpenError::Unsupported,
                };
                reply.fill(Err(error), wakers);
            }
        }
    }

    /// What happened to a stream.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        shared: &Arc<Shared>,
        event: raw::Event,
        wakers: &mut Vec<Waker>,
    ) {
        match event {
            raw::Event::Opened { ticket, key, protocol } => {
                let Some((peer, promise)) = self.opening.remove(&ticket) else { return };
                let name = shared.streams(protocol).map_or("", |(name, _)| name);
                let fresh = self.add(shared, key, (peer, name));
                promise.fill(Ok(fresh), wakers); // given up meanwhile: the fresh stream ends itself
            }
            raw::Event::Refused { ticket, reason } => {
                let Some((_, promise)) = self.opening.remove(&ticket) else { return };
                let error = match reason {
                    raw::NotOpened::Closed => OpenError::NotConnected,
                    raw::NotOpened::Limit => OpenError::Busy,
                    raw::NotOpened::Unspoken => OpenError::Unsupported,
                };
                promise.fill(Err(error), wakers);
            }
            raw::Event::Accepted { key, protocol, peer } => {
                let Some((name, streams)) = shared.streams(protocol) else { return };
                let fresh = self.add(shared, key, (peer, name));
                if streams.push(fresh, wakers).is_err() {
                    tracing::debug!(%peer, name, "nobody accepts streams: one was broken off");
                }
            }
            raw::Event::Readable(key) => self.read(now, stack, key, wakers),
            raw::Event::Writable(key) => self.write(now, stack, key, wakers),
            raw::Event::Stopped(key, code) => {
                if let Some(stream) = self.by_key.get_mut(&key) {
                    stream.writing = false;
                    stream.rope = Rope::new();
                    stream.pipe.fail_writes(StreamError::Stopped(code), wakers);
                }
                self.forget_ended(key);
            }
            raw::Event::Unspoken(key) => self.lose(key, StreamError::Unsupported, wakers),
            raw::Event::Lost(key) => self.lose(key, StreamError::Gone, wakers),
        }
    }

    /// A pipe was listed by its user: there may be something to write, room to read, or an end.
    pub(crate) fn service(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        pipe: &Arc<Pipe>,
        wakers: &mut Vec<Waker>,
    ) {
        pipe.unlist();
        if let Some(key) = self.by_pipe.get(&pipe.id).copied() {
            self.write(now, stack, key, wakers);
            self.read(now, stack, key, wakers);
        }
    }

    /// Whether everything that was written is with the stack.
    pub(crate) fn drained(&self) -> bool {
        self.by_key
            .values()
            .all(|stream| !stream.writing || stream.pipe.is_drained() && stream.rope.is_empty())
    }

    /// The node is gone.
    pub(crate) fn lose_all(&mut self, wakers: &mut Vec<Waker>) {
        while let Some((key, _)) = self.by_key.first_key_value() {
            self.lose(*key, StreamError::Gone, wakers);
        }
        self.opening.clear();
    }

    fn add(&mut self, shared: &Arc<Shared>, key: StreamKey, who: (PeerId, &'static str)) -> NewStream {
        let limits = &shared.limits;
        let pipe = Pipe::new(
            Arc::clone(&shared.listed),
            shared.number(),
            limits.stream_send as usize,
            limits.stream_receive as usize,
        );
        let pipe = Arc::new(pipe);
        self.by_pipe.insert(pipe.id, key);
        let stream = Stream { pipe: Arc::clone(&pipe), rope: Rope::new(), reading: true, writing: true };
        self.by_key.insert(key, stream);
        NewStream::new(who, pipe)
    }

    /// Moves what was written to the link, as far as there is room.
    fn write(&mut self, now: Instant, stack: &mut Stack, key: StreamKey, wakers: &mut Vec<Waker>) {
        let Some(stream) = self.by_key.get_mut(&key).filter(|stream| stream.writing) else { return };
        loop {
            let mut drained = Drained::More;
            if stream.rope.is_empty() {
                // Where there is no room, `Writable` comes; the pipe stays noted until then, so that no write rings.
                let room = stack.raw_streams(now).room(key);
                if room == 0 && !stream.pipe.is_ending() {
                    return;
                }
                drained = stream.pipe.drain(room.min(STEP), &mut stream.rope, wakers);
            }
            if !stream.rope.is_empty() && stack.raw_streams(now).write(key, &mut stream.rope).is_err() {
                stream.rope = Rope::new(); // it ended meanwhile, and its event is on the way
                return;
            }
            match drained {
                _ if !stream.rope.is_empty() => return,
                Drained::More => {}
                Drained::Empty => return,
                Drained::Ended(ending) => {
                    stream.writing = false;
                    let command = match ending {
                        Ending::Finish => raw::Command::Finish(key),
                        Ending::Reset(code) => raw::Command::Reset(key, code),
                    };
                    tell(now, stack, command);
                    return self.forget_ended(key);
                }
            }
        }
    }

    /// Moves what has arrived to the reader, as far as it has room.
    fn read(&mut self, now: Instant, stack: &mut Stack, key: StreamKey, wakers: &mut Vec<Waker>) {
        let Some(stream) = self.by_key.get_mut(&key).filter(|stream| stream.reading) else { return };
        if let Some(code) = stream.pipe.stopped() {
            stream.reading = false;
            tell(now, stack, raw::Command::Stop(key, code));
            return self.forget_ended(key);
        }
        let mut room = stream.pipe.incoming_room();
        let end = loop {
            if room == 0 {
                break None;
            }
            match stack.raw_streams(now).read(key, room) {
                raw::Read::Data(chunk) => {
                    room = room.saturating_sub(chunk.len());
                    self.chunks.push(chunk);
                    if room == 0 {
                        stream.pipe.give(&mut self.chunks, wakers);
                        room = stream.pipe.incoming_room();
                    }
                }
                raw::Read::Blocked => break None,
                raw::Read::End => break Some(Ok(())),
                raw::Read::Reset(code) => break Some(Err(StreamError::Reset(code))),
                raw::Read::Closed => break Some(Err(StreamError::Gone)),
            }
        };
        if !self.chunks.is_empty() {
            stream.pipe.give(&mut self.chunks, wakers);
        }
        if let Some(end) = end {
            stream.reading = false;
            stream.pipe.end_reads(end, wakers);
            self.forget_ended(key);
        }
    }

    fn lose(&mut self, key: StreamKey, error: StreamError, wakers: &mut Vec<Waker>) {
        if let Some(stream) = self.by_key.remove(&key) {
            self.by_pipe.remove(&stream.pipe.id);
            stream.pipe.fail_writes(error, wakers);
            stream.pipe.end_reads(Err(error), wakers);
        }
    }

    fn forget_ended(&mut self, key: StreamKey) {
        let ended = self.by_key.get(&key).is_some_and(|stream| !stream.reading && !stream.writing);
        if ended && let Some(stream) = self.by_key.remove(&key) {
            self.by_pipe.remove(&stream.pipe.id);
        }
    }
}

fn tell(now: Instant, stack: &mut Stack, command: raw::Command) {
    if let Err(refused) = stack.command(now, Command::Raw(command)) {
        tracing::trace!(%refused, "a raw stream had ended before");
    }
}
