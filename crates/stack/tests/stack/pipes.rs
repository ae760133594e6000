//! Byte streams between the nodes of a [`Net`], as TCP gives them to a host: in order, in pieces of [`Net::piece`] bytes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use weir_base::Instant;
use weir_stack::{Input, PipeChange, PipeId, Stack};

use crate::net::{Flight, Net, address};

/// The byte streams of one node.
#[derive(Default)]
pub(crate) struct Pipes {
    ends: BTreeMap<PipeId, Pipe>,
    /// The stack has room for more.
    pub(crate) wanted: bool,
}

/// One end of a byte stream.
struct Pipe {
    other: (usize, PipeId),
    unread: VecDeque<Unread>,
    due: Instant, // when the last piece for the other end arrives
}

pub(crate) enum Unread {
    Bytes(Bytes),
    Change(PipeChange),
}

impl Pipes {
    /// Whether the stream is there; what came on it waits until the node reads.
    pub(crate) fn arrived(&mut self, pipe: PipeId, what: Unread) -> bool {
        let end = self.ends.get_mut(&pipe);
        end.map(|end| end.unread.push_back(what)).is_some()
    }

    /// Gives the stack what it has room for.
    pub(crate) fn give(&mut self, stack: &mut Stack, now: Instant) {
        let mut gone = Vec::new();
        for (pipe, end) in &mut self.ends {
            while let Some(next) = end.unread.pop_front() {
                let mut bytes = match next {
                    Unread::Bytes(bytes) => bytes,
                    Unread::Change(change) => {
                        if matches!(change, PipeChange::Failed | PipeChange::Closed) {
                            gone.push(*pipe);
                        }
                        stack.handle(now, Input::Pipe(*pipe, change));
                        continue;
                    }
                };
                let mut len = 0;
                stack.read_pipe(now, *pipe, &mut vec![0; bytes.len()], &mut |memory| {
                    len = bytes.len().min(memory.len());
                    memory[..len].copy_from_slice(&bytes.split_to(len));
                    len
                });
                if !bytes.is_empty() {
                    end.unread.push_front(Unread::Bytes(bytes));
                }
                if len == 0 {
                    break;
                }
            }
        }
        gone.iter().for_each(|pipe| drop(self.ends.remove(pipe)));
    }
}

impl Net {
    pub(crate) fn dial_pipe(&mut self, index: usize, pipe: PipeId, remote: SocketAddr) {
        let to = (0..self.nodes.len()).find(|node| address(*node) == remote && self.nodes[*node].alive);
        let theirs = PipeId(self.next_number() * 2 + 1);
        let end = |other| Pipe { other, unread: VecDeque::new(), due: Instant::ZERO };
        self.nodes[index].pipes.ends.insert(pipe, end((to.unwrap_or(index), theirs)));
        let Some(to) = to else {
            return self.fly(index, index, Flight::Pipe(pipe, Unread::Change(PipeChange::Failed)));
        };
        self.nodes[to].pipes.ends.insert(theirs, end((index, pipe)));
        let accepted = PipeChange::Accepted { remote: address(index) };
        self.fly(index, to, Flight::Pipe(theirs, Unread::Change(accepted)));
        self.fly(to, index, Flight::Pipe(pipe, Unread::Change(PipeChange::Connected)));
    }

    pub(crate) fn send_bytes(&mut self, index: usize, pipe: PipeId, mut bytes: Bytes, finish: bool) {
        let Some((to, theirs)) = self.nodes[index].pipes.ends.get(&pipe).map(|end| end.other) else { return };
        self.note(index, to, || format!("{} bytes, finish: {finish}", bytes.len()));
        if self.logging {
            self.sent.entry(pipe).or_default().extend_from_slice(&bytes);
        }
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.piece));
            self.after_the_last(index, pipe, to, Flight::Pipe(theirs, Unread::Bytes(piece)));
        }
        if finish {
            self.after_the_last(index, pipe, to, Flight::Pipe(theirs, Unread::Change(PipeChange::Finished)));
        }
    }

    fn after_the_last(&mut self, index: usize, pipe: PipeId, to: usize, flight: Flight) {
        let (now, pace) = (self.now, self.pace);
        let end = self.nodes[index].pipes.ends.get_mut(&pipe).expect("it sends");
        end.due = end.due.max(now) + pace;
        let late = end.due.since(now);
        self.fly_later(index, to, late, flight);
    }

    /// Somebody who is no node connects to a node and sends bytes; what comes back leads nowhere.
    pub(crate) fn connect_from(&mut self, remote: SocketAddr, to: usize, bytes: &[u8]) -> PipeId {
        let theirs = PipeId(self.next_number() * 2 + 1);
        let nowhere = (self.nodes.len(), theirs);
        let bytes = Unread::Bytes(Bytes::copy_from_slice(bytes));
        let unread = VecDeque::from([Unread::Change(PipeChange::Accepted { remote }), bytes]);
        self.nodes[to].pipes.ends.insert(theirs, Pipe { other: nowhere, unread, due: Instant::ZERO });
        self.drain(to);
        theirs
    }

    pub(crate) fn close_pipe(&mut self, index: usize, pipe: PipeId) {
        if let Some(end) = self.nodes[index].pipes.ends.remove(&pipe) {
            self.fly(index, end.other.0, Flight::Pipe(end.other.1, Unread::Change(PipeChange::Closed)));
        }
    }

    /// Tells who still holds the other end of a stream that a node knows nothing of.
    pub(crate) fn refuse_pipe(&mut self, index: usize, pipe: PipeId) {
        let holder = self.nodes.iter().enumerate().find_map(|(other, node)| {
            let end = node.pipes.ends.iter().find(|(_, end)| end.other == (index, pipe))?;
            Some((other, *end.0))
        });
        if let Some((other, theirs)) = holder {
            self.fly(index, other, Flight::Pipe(theirs, Unread::Change(PipeChange::Closed)));
        }
    }
}
