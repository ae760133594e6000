//! Call — one request, one response, on a stream of its own (`docs/spec/call.md`).
//!
//! Message flow: the caller opens a stream, writes Request and ends; the server writes Response or Refusal and ends.
//! Either side gives up by breaking the stream off; the server's work is then cancelled.
//!
//! At the server a request waits for its link's turn (`turns`) and for memory (`memory`) before the application gets it.
//!
//! Threat: a caller that asks much and reads little. What requests and answers of all channels and links hold is bounded by one
//! budget, which the parent keeps; a caller's memory by `concurrency` responses per link. Both sides end what takes too long.

mod accounts;
mod calling;
pub mod codec;
pub(crate) mod memory;
mod part;
mod serving;
#[cfg(test)]
mod tests;
mod turns;
mod types;

use std::sync::Arc;

use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError};
use weir_base::{Instant, LinkId, Rope, StreamKey};

use crate::machine::{
    Counters, Machine, MachineSetup, Negotiated, Opened, Refused, TAG_END, Ticket, Tickets, earlier,
};
use calling::Caller;
use memory::Hold;
pub(crate) use serving::Claim;
use serving::Server;
pub use types::{CallError, Command, Config, DEFAULT_MEMORY, Event, Refusal};

/// One call channel on all links: the caller's side and the server's, each a machine of its own. Which of them a stream belongs
/// to is known by who opened it.
#[derive(Debug)]
pub(crate) struct Call {
    config: Arc<Config>,
    tickets: Tickets,
    caller: Caller,
    server: Server,
}

impl Call {
    /// `memory` is the budget that all call channels share, in bytes.
    pub(crate) fn new(config: Config, memory: u64, setup: MachineSetup) -> Self {
        let config = Arc::new(config);
        Self {
            caller: Caller::new(Arc::clone(&config), setup.channel.protocol(0)),
            server: Server::new(Arc::clone(&config), memory),
            config,
            tickets: setup.tickets,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn command(&mut self, now: Instant, command: Command) -> Result<Ticket, Refused> {
        match command {
            Command::Call { link, request, deadline } => {
                let ticket = self.tickets.next();
                self.caller.call(now, ticket, link, (request, deadline)).map(|()| ticket)
            }
            Command::Cancel { ticket } => self.caller.cancel(ticket).map(|()| ticket),
            Command::Taken { ticket, at } => self.server.taken(ticket, at).map(|()| ticket),
            Command::Answer { ticket, at, response } => {
                self.server.answer(now, ticket, at.min(now), response).map(|()| ticket)
            }
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.server.poll_event().or_else(|| self.caller.poll_event())
    }

    /// Whether the parent has something to do: what streams hold has changed, or requests wait for their turn.
    pub(crate) fn has_claims(&self) -> bool {
        self.server.has_claims()
    }

    /// The next change of what streams hold.
    pub(crate) fn poll_claim(&mut self) -> Option<Claim> {
        self.server.poll_claim()
    }

    /// The request to hand over next. Where there is room for what it [`wants`](Self::wants), the parent calls
    /// [`hand_over`](Self::hand_over), else [`hold_back`](Self::hold_back).
    pub(crate) fn next_request(&self) -> Option<StreamKey> {
        self.server.next_request()
    }

    /// The requests that would be next one after the other if each were held back.
    pub(crate) fn requests_in_turn(&self) -> Vec<StreamKey> {
        self.server.requests_in_turn()
    }

    /// What a request and its largest answer hold, and weigh. `None` where it does not wait for its turn any more.
    pub(crate) fn wants(&mut self, key: StreamKey) -> Option<(u64, Hold)> {
        self.server.wants(key)
    }

    /// The application gets a request.
    pub(crate) fn hand_over(&mut self, now: Instant, key: StreamKey) {
        self.server.hand_over(now, key, self.tickets.next());
    }

    /// There is no memory for a request.
    pub(crate) fn hold_back(&mut self, key: StreamKey) {
        self.server.hold_back(key);
    }

    /// There may be memory again for what was held back.
    pub(crate) fn try_again(&mut self) {
        self.server.try_again();
    }

    /// There is no memory for a stream, or others need it more.
    pub(crate) fn refuse_for_memory(&mut self, now: Instant, key: StreamKey) {
        self.server.refuse_for_memory(now, key);
    }
}

impl Machine for Call {
    fn link_up(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        self.caller.link_up(link);
        self.server.link_up(now, link, info);
    }

    fn link_share(&mut self, link: LinkId, quarters: u8) {
        self.server.link_share(link, quarters);
    }

    fn link_ready(&mut self, _: Instant, link: LinkId, negotiated: &Negotiated) {
        self.caller.link_ready(link, negotiated);
        self.server.link_ready(link, negotiated);
    }

    fn link_unmatched(&mut self, now: Instant, link: LinkId) {
        self.caller.link_ended(link, CallError::Unsupported);
        self.server.link_ended(now, link);
    }

    fn link_down(&mut self, now: Instant, link: LinkId) {
        self.caller.link_ended(link, CallError::LinkDown);
        self.server.link_ended(now, link);
    }

    fn handle_opened(&mut self, now: Instant, key: StreamKey, opened: Opened) {
        match opened {
            Opened::Local { tag } => self.caller.opened(key, self.tickets.of(tag)),
            Opened::Peer { lane } => self.server.opened(now, key, lane),
        }
    }

    fn handle_refused(&mut self, _: Instant, tag: u64, error: OpenError) {
        let error = match error {
            OpenError::Closed => CallError::LinkDown,
            OpenError::Limit => CallError::NoStream,
        };
        self.caller.conclude(self.tickets.of(tag % TAG_END), Err(error));
    }

    fn class(&self, _: u8) -> Class {
        self.config.class
    }

    fn room(&self, key: StreamKey) -> usize {
        self.caller.room(key).or_else(|| self.server.room(key)).unwrap_or(0)
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        if self.caller.has(key) {
            self.caller.incoming(now, key, input);
        } else {
            self.server.incoming(now, key, input);
        }
    }

    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        if self.caller.has(key) {
            self.caller.write(now, key, room, out);
        } else {
            self.server.write(now, key, room, out);
        }
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.caller.poll_ask().or_else(|| self.server.poll_ask())
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.caller.handle_timeout(now);
        self.server.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        earlier(self.caller.poll_timeout(), self.server.poll_timeout())
    }

    fn counters(&self) -> Counters {
        let (calls, requests) = (self.caller.counters(), self.server.counters());
        Counters {
            messages_in: calls.messages_in + requests.messages_in,
            messages_out: calls.messages_out + requests.messages_out,
            expired: calls.expired + requests.expired,
        }
    }
}
