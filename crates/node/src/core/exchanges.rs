//! Requests by name: between the stack and the handles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use weir_base::{Instant, ProtocolId, StreamKey};
use weir_pull::Ticket;
use weir_pull::framing::code;
use weir_stack::exchange;
use weir_stack::{Command, Refused, Stack};

use super::op::{EncodedInbound, ExchangeOp};
use crate::error::RequestError;
use crate::event::Event;
use crate::mailbox::{Cancelled, Outbox, Promise};
use crate::shared::{Named, NamedMail, Shared};

type Reply = Promise<Result<(ProtocolId, Bytes), RequestError>>;

/// All exchanges of the node. Bounded by the stack's limits.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    asked: BTreeMap<Ticket, (u64, Reply)>,
    tickets: BTreeMap<u64, Ticket>,
    told: BTreeMap<StreamKey, Told>,
}

/// A request of a peer's that was told.
#[derive(Debug)]
struct Told {
    requests: Arc<Outbox<EncodedInbound>>, // where it was put, and may still be
    cancelled: Arc<Cancelled>,
}

impl Exchanges {
    /// Begins to ask.
    pub(crate) fn begin(&mut self, now: Instant, stack: &mut Stack, op: ExchangeOp, wakers: &mut Vec<Waker>) {
        let ExchangeOp { id, peer, protocol, request, deadline, reply } = op;
        let command = exchange::Command::Request { peer, protocol, request, deadline };
        match stack.command(now, Command::Exchange(command)) {
            Ok(ticket) => {
                self.tickets.insert(id, ticket);
                self.asked.insert(ticket, (id, reply));
            }
            Err(refused) => reply.fill(Err(refusal(&refused)), wakers),
        }
    }

    /// The future was dropped.
    pub(crate) fn cancel(&mut self, now: Instant, stack: &mut Stack, id: u64) {
        if let Some(ticket) = self.tickets.remove(&id) {
            self.asked.remove(&ticket);
            tell(now, stack, exchange::Command::Cancel(ticket));
        }
    }

    /// The application answered, or refused.
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        key: StreamKey,
        answer: Result<Bytes, u32>,
    ) {
        if self.told.remove(&key).is_some() {
            tell(
                now,
                stack,
                match answer {
                    Ok(response) => exchange::Command::Respond(key, response),
                    Err(code) => exchange::Command::Refuse(key, code),
                },
            );
        }
    }

    /// What happened; and what the application's listeners should hear of it.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        shared: &Shared,
        event: exchange::Event,
        wakers: &mut Vec<Waker>,
    ) -> Option<Event> {
        match event {
            exchange::Event::Answered { ticket, result } => {
                let (id, reply) = self.asked.remove(&ticket)?;
                self.tickets.remove(&id);
                reply.fill(result.map_err(RequestError::Failed), wakers);
            }
            exchange::Event::Requested { key, protocol, peer, request, deadline } => {
                let Some(Named { name, mail: NamedMail::Requests(Some(requests)) }) =
                    shared.protocols.get(&protocol)
                else {
                    tell(now, stack, exchange::Command::Refuse(key, code::UNKNOWN_CHANNEL));
                    return None;
                };
                let (cancelled, requests) = (Arc::new(Cancelled::default()), Arc::clone(requests));
                let told = Told { requests: Arc::clone(&requests), cancelled: Arc::clone(&cancelled) };
                let request =
                    EncodedInbound { key, peer, protocol: name, body: request, deadline, cancelled };
                if requests.push(request, wakers).is_ok() {
                    self.told.insert(key, told);
                } else {
                    tell(now, stack, exchange::Command::Refuse(key, code::LIMIT));
                }
            }
            exchange::Event::Cancelled(key) => {
                let Told { requests, cancelled } = self.told.remove(&key)?;
                cancelled.cancel(wakers);
                requests.remove(|waiting| waiting.key == key); // its place is another's
            }
            exchange::Event::Failed { peer, protocol, reason } => {
                let protocol = shared.name_of(protocol).to_owned();
                return Some(Event::RequestFailed { peer, protocol, failure: reason });
            }
        }
        None
    }

    /// The node is gone.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) {
        std::mem::take(&mut self.told).into_values().for_each(|told| told.cancelled.cancel(wakers));
        (self.asked, self.tickets) = Default::default();
    }
}

fn refusal(refused: &Refused) -> RequestError {
    match refused {
        Refused::Closing => RequestError::Stopped,
        Refused::Limit => RequestError::Busy,
        Refused::TooLarge => RequestError::TooLarge,
        Refused::Unframed => RequestError::Unframed,
        _ => RequestError::NotConnected,
    }
}

fn tell(now: Instant, stack: &mut Stack, command: exchange::Command) {
    if let Err(refused) = stack.command(now, Command::Exchange(command)) {
        tracing::trace!(%refused, "an exchange had ended before");
    }
}
