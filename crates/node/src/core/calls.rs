//! Calls under way: of this node, and the requests of others that wait for an answer.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::{Instant, Numbered};
use weir_pull::{Ticket, call};
use weir_stack::{Command, Refused, Stack, Target};

use super::op::{CallOp, Replies};
use crate::error::CallError;
use crate::mailbox::Cancelled;

/// By the stack's ticket and by the future's number. Bounded by the stack's limit of calls to targets.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    waiting: Numbered<Ticket, Waiting>,
    tickets: Numbered<u64, Ticket>,
    expired: u64,
    requests: Numbered<Ticket, Arc<Cancelled>>, // <= what the stack handed out
    last: Option<Instant>,                      // when a call or a request was handed over last
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    reply: Replies,
    answers: Vec<(PeerId, Result<Bytes, CallError>)>, // of a call to several, so far
}

impl Calls {
    /// Hands a call to the stack; one that is too late already never gets there.
    pub(crate) fn begin(&mut self, now: Instant, stack: &mut Stack, op: CallOp, wakers: &mut Vec<Waker>) {
        let CallOp { id, channel, target, request, deadline, reply } = op;
        let left = deadline.since(now);
        let begun = if left.is_zero() {
            self.expired += 1;
            Err(CallError::Deadline)
        } else {
            let command = Command::CallTarget { channel, target, request, deadline: Some(left) };
            stack.command(now, command).map_err(|refused| match (call_error(&refused), target) {
                // There is a link, so it is the channel that is missing.
                (CallError::NotConnected, Target::Peer(peer))
                    if stack.peers().ready_link(&peer).is_some() =>
                {
                    CallError::Unsupported
                }
                (error, _) => error,
            })
        };
        match begun {
            Ok(ticket) => {
                self.tickets.insert(id, ticket);
                self.waiting.insert(ticket, Waiting { id, reply, answers: Vec::new() });
            }
            Err(error) => end(reply, error, wakers),
        }
    }

    /// Calls and requests under way.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.requests.len()
    }

    /// When a call ended, or a request came, the last time.
    pub(crate) const fn last(&self) -> Option<Instant> {
        self.last
    }

    /// A request lies in its mailbox.
    pub(crate) fn requested(&mut self, now: Instant, ticket: Ticket, cancelled: Arc<Cancelled>) {
        self.last = Some(now);
        self.requests.insert(ticket, cancelled);
    }

    /// A request was answered.
    pub(crate) fn request_over(&mut self, ticket: Ticket) {
        self.requests.remove(ticket);
    }

    /// Whoever asked no longer waits.
    pub(crate) fn cancel_request(&mut self, ticket: Ticket, wakers: &mut Vec<Waker>) {
        if let Some(request) = self.requests.remove(ticket) {
            request.cancel(wakers);
        }
    }

    /// Nobody will be answered any more.
    pub(crate) fn cancel_requests(&mut self, wakers: &mut Vec<Waker>) {
        for ticket in self.requests.keys() {
            self.cancel_request(ticket, wakers);
        }
    }

    /// Calls that were too late.
    pub(crate) const fn expired(&self) -> u64 {
        self.expired
    }

    /// The future was dropped.
    pub(crate) fn cancel(&mut self, now: Instant, stack: &mut Stack, id: u64) {
        if let Some(ticket) = self.tickets.remove(id) {
            self.waiting.remove(ticket);
            if let Err(refused) = stack.command(now, Command::CancelTarget(ticket)) {
                tracing::trace!(%refused, "a call ended before it was cancelled");
            }
        }
    }

    /// An answer has come; `left` more will.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        ticket: Ticket,
        from: PeerId,
        result: Result<Bytes, call::CallError>,
        left: u32,
        wakers: &mut Vec<Waker>,
    ) {
        self.last = Some(now);
        let Some(waiting) = self.waiting.get_mut(ticket) else { return };
        let result = result.map_err(|error| answer_error(&error));
        if left > 0 {
            return waiting.answers.push((from, result));
        }
        let Some(Waiting { id, reply, mut answers }) = self.waiting.remove(ticket) else { return };
        self.tickets.remove(id);
        match reply {
            Replies::One(promise) => promise.fill(result.map(|response| (from, response)), wakers),
            Replies::Many(promise) => {
                answers.push((from, result));
                promise.fill(Ok(answers), wakers);
            }
        }
    }
}

fn end(reply: Replies, error: CallError, wakers: &mut Vec<Waker>) {
    match reply {
        Replies::One(promise) => promise.fill(Err(error), wakers),
        Replies::Many(promise) => promise.fill(Err(error), wakers),
    }
}

fn call_error(refused: &Refused) -> CallError {
    match refused {
        Refused::Closing => CallError::Stopped,
        Refused::NoPeer | Refused::Pull(weir_pull::Refused::NoLink) => CallError::NotConnected,
        Refused::Pull(weir_pull::Refused::TooLarge) => CallError::TooLarge,
        Refused::Limit | Refused::Pull(weir_pull::Refused::Busy) => CallError::Busy,
        _ => CallError::Unsupported,
    }
}

fn answer_error(error: &call::CallError) -> CallError {
    match error {
        call::CallError::Refused(refusal) => CallError::Refused { retry_after: refusal.retry_after },
        call::CallError::Timeout => CallError::Deadline,
        call::CallError::NoLink => CallError::NotConnected,
        call::CallError::LinkDown => CallError::LinkDown,
        call::CallError::Unsupported => CallError::Unsupported,
        call::CallError::TooLarge => CallError::TooLarge,
        call::CallError::Aborted => CallError::Aborted,
        call::CallError::NoStream => CallError::Busy,
        call::CallError::Malformed => CallError::Malformed,
    }
}
