//! Calls and requests: one question, one answer.
//!
//! - [`Network::call`](crate::Network::call) asks. It always ends: with the response, or with a [`CallError`] that says
//!   whether to try again. Dropping its future cancels the server's work.
//! - [`Node::requests`](crate::Node::requests) answers. A request that is dropped is refused, to be tried again later.

use std::any::TypeId;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use weir_base::Instant;
use weir_base::identity::PeerId;
use weir_pull::ChannelId;
use weir_pull::call::Refusal;

use crate::channel::Method;
use crate::core::{CallOp, EncodedRequest, Op, Replies, RequestBody};
use crate::error::{CallError, ChannelError, WithinError};
use crate::mailbox::{Inbox, Outbox, Promise, lock, promise};
use crate::message::Message;
use crate::network::Network;
use crate::shared::{Lease, Mail, Shared};

/// What a dropped request tells the caller: try again after this.
pub const RETRY_DROPPED: Duration = Duration::from_secs(1);

/// Whom a call asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This peer.
    Peer(PeerId),
    /// One peer with the service of this id that has the channel: the one with the fewest calls of this node under way.
    Any(u32),
    /// This node itself. Neither request nor response is encoded.
    Local,
}

impl From<PeerId> for Target {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer)
    }
}

/// Whom a call to several asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every peer with the service of this id that has the channel.
    All(u32),
    /// So many of the peers with the service of this id, those with the fewest calls under way, or as many as there are.
    Some {
        /// The service.
        service: u32,
        /// How many.
        count: u32,
    },
}

/// One of the answers to a call to several.
#[derive(Debug)]
pub struct Answer<Resp> {
    /// Who answered, or did not.
    pub peer: PeerId,
    /// The response, or why there is none.
    pub result: Result<Resp, CallError>,
}

/// Tells the network thread when the future of a call is dropped.
struct CancelOnDrop<'a> {
    inbox: &'a Inbox,
    id: u64,
    armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.inbox.post(Op::CancelCall(self.id));
        }
    }
}

/// What a call needs to know of its method.
struct Asking<'a> {
    shared: &'a Shared,
    channel: ChannelId,
    max_request: u32,
    deadline: Duration,
}

impl<'a> Asking<'a> {
    fn new<Req: Message, Resp: Message>(
        shared: &'a Shared,
        method: &Method<Req, Resp>,
        deadline: Option<Duration>,
    ) -> Result<Self, CallError> {
        let channel = shared
            .channel(&method.declared, TypeId::of::<(Req, Resp)>())
            .map_err(|_| CallError::NotDeclared)?;
        let Mail::Call { max_request, deadline: usual, .. } = channel.mail else {
            return Err(CallError::NotDeclared);
        };
        let deadline = deadline.unwrap_or(usual).min(usual);
        Ok(Self { shared, channel: ChannelId(method.declared.id), max_request, deadline })
    }

    fn encode<Req: Message>(&self, request: &Req) -> Result<Bytes, CallError> {
        let bytes = request.encode();
        if bytes.len() as u64 > u64::from(self.max_request) { Err(CallError::TooLarge) } else { Ok(bytes) }
    }

    /// Hands the call over, waiting for room; then for what comes back.
    async fn ask<T>(
        &self,
        target: weir_stack::Target,
        request: Bytes,
        replies: Replies,
        answer: crate::mailbox::Pending<T>,
    ) -> Result<T, CallError> {
        let id = self.shared.number();
        let deadline = self.shared.now() + self.deadline;
        let call = CallOp { id, channel: self.channel, target, request, deadline, reply: replies };
        if !self.shared.inbox.room(Op::Call(Box::new(call))).await {
            return Err(CallError::Stopped);
        }
        let mut guard = CancelOnDrop { inbox: &self.shared.inbox, id, armed: true };
        let answer = answer.await;
        guard.armed = false;
        answer.ok_or(CallError::Stopped)
    }
}

/// Calls one.
pub(crate) async fn call<Req: Message, Resp: Message>(
    lease: &Arc<Lease>,
    method: &Method<Req, Resp>,
    target: Target,
    request: Req,
    deadline: Option<Duration>,
) -> Result<Resp, CallError> {
    let asking = Asking::new(&lease.shared, method, deadline)?;
    let target = match target {
        Target::Local => return local(lease, &asking, request).await,
        Target::Peer(peer) => weir_stack::Target::Peer(peer),
        Target::Any(service) => weir_stack::Target::Any(service),
    };
    let bytes = asking.encode(&request)?;
    drop(request);
    let (reply, answer) = promise();
    let (peer, response) = asking.ask(target, bytes, Replies::One(reply), answer).await??;
    decode(&lease.shared, peer, response)
}

/// Calls several.
pub(crate) async fn call_many<Req: Message, Resp: Message>(
    lease: &Arc<Lease>,
    method: &Method<Req, Resp>,
    targets: Targets,
    request: Req,
    deadline: Option<Duration>,
) -> Result<Vec<Answer<Resp>>, CallError> {
    let asking = Asking::new(&lease.shared, method, deadline)?;
    let bytes = asking.encode(&request)?;
    drop(request);
    let target = match targets {
        Targets::All(service) => weir_stack::Target::All(service),
        Targets::Some { service, count } => weir_stack::Target::Some { service, count },
    };
    let (reply, answers) = promise();
    let answers = asking.ask(target, bytes, Replies::Many(reply), answers).await??;
    let decoded = |(peer, result): (PeerId, Result<Bytes, CallError>)| Answer {
        peer,
        result: result.and_then(|response| decode(&lease.shared, peer, response)),
    };
    Ok(answers.into_iter().map(decoded).collect())
}

fn decode<Resp: Message>(_: &Shared, peer: PeerId, response: Bytes) -> Result<Resp, CallError> {
    Resp::decode(response).map_err(|error| {
        tracing::debug!(%peer, %error, "a response cannot be decoded");
        CallError::Malformed
    })
}

/// Hands the request to this node's own requests, as it is.
async fn local<Req: Message, Resp: Message>(
    lease: &Arc<Lease>,
    asking: &Asking<'_>,
    request: Req,
) -> Result<Resp, CallError> {
    let shared = &lease.shared;
    let Some(Mail::Call { requests: Some(requests), .. }) = shared.mail(asking.channel) else {
        return Err(CallError::NotServed);
    };
    let (reply, answer) = promise::<Result<Resp, CallError>>();
    let cancelled = Arc::new(Cancelled::default());
    let _guard = CancelLocal(Arc::clone(&cancelled));
    let body = RequestBody::Local { query: Box::new(request), reply: Box::new(reply) };
    let deadline = shared.now() + asking.deadline;
    let mut wakers = Vec::new();
    let pushed =
        requests.push(EncodedRequest { peer: shared.peer_id, deadline, cancelled, body }, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
    if pushed.is_err() {
        return Err(if shared.inbox.is_closed() { CallError::Stopped } else { CallError::Busy });
    }
    match Network::of(lease).within(asking.deadline, answer).await {
        Ok(Some(result)) => result,
        Ok(None) | Err(WithinError::Stopped) => Err(CallError::Stopped),
        Err(WithinError::Elapsed(_)) => Err(CallError::Deadline),
    }
}

struct CancelLocal(Arc<Cancelled>);

impl Drop for CancelLocal {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        self.0.cancel(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Whether a request still needs an answer.
#[derive(Debug, Default)]
pub(crate) struct Cancelled(Mutex<(bool, Option<Waker>)>);

impl Cancelled {
    pub(crate) fn cancel(&self, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.0);
        state.0 = true;
        wakers.extend(state.1.take());
    }
}

/// The requests for one method at this node. Several tasks may share them, each request goes to one.
pub struct Requests<Req, Resp> {
    lease: Arc<Lease>,
    channel: ChannelId,
    types: PhantomData<fn(Req) -> Resp>,
}

impl<Req, Resp> Clone for Requests<Req, Resp> {
    fn clone(&self) -> Self {
        Self { lease: Arc::clone(&self.lease), channel: self.channel, types: PhantomData }
    }
}

impl<Req, Resp> std::fmt::Debug for Requests<Req, Resp> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl<Req: Message, Resp: Message> Requests<Req, Resp> {
    pub(crate) fn new(lease: &Arc<Lease>, method: &Method<Req, Resp>) -> Result<Self, ChannelError> {
        let channel = lease.shared.channel(&method.declared, TypeId::of::<(Req, Resp)>())?;
        if !matches!(channel.mail, Mail::Call { requests: Some(_), .. }) {
            return Err(ChannelError::NotServed { id: method.declared.id, name: method.declared.name });
        }
        Ok(Self { lease: Arc::clone(lease), channel: ChannelId(method.declared.id), types: PhantomData })
    }

    /// Waits for the next request; `None` once the node has stopped.
    pub async fn next(&self) -> Option<Request<Req, Resp>> {
        loop {
            let raw = self.mailbox()?.next().await?;
            if let Some(request) = self.open(raw) {
                return Some(request);
            }
        }
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<Request<Req, Resp>> {
        self.lease.shared.block_on(self.next())
    }

    /// The next request, if one waits.
    pub fn try_next(&self) -> Option<Request<Req, Resp>> {
        loop {
            let raw = self.mailbox()?.take()?;
            if let Some(request) = self.open(raw) {
                return Some(request);
            }
        }
    }

    fn mailbox(&self) -> Option<&Outbox<EncodedRequest>> {
        match self.lease.shared.mail(self.channel) {
            Some(Mail::Call { requests, .. }) => requests.as_ref(),
            _ => None,
        }
    }

    /// Decodes; one whose caller no longer waits is dropped, one that is malformed refused.
    fn open(&self, raw: EncodedRequest) -> Option<Request<Req, Resp>> {
        let shared = &self.lease.shared;
        let EncodedRequest { peer, deadline, cancelled, body } = raw;
        let (query, reply) = match body {
            RequestBody::Remote { ticket, bytes, others_wait } => {
                let taken = Op::TookRequest(self.channel, ticket, shared.now());
                if others_wait {
                    shared.inbox.post(taken);
                } else {
                    shared.inbox.post_quietly(taken); // nobody is woken for it: it says when it was
                }
                let reply = Reply::Remote(ticket);
                (Req::decode(bytes), reply)
            }
            RequestBody::Local { query, reply } => {
                let reply = reply.downcast::<Promise<Result<Resp, CallError>>>().ok()?;
                (Ok(*query.downcast::<Req>().ok()?), Reply::Local(*reply))
            }
        };
        let max_response = match shared.mail(self.channel) {
            Some(Mail::Call { max_response, .. }) => *max_response,
            _ => 0,
        };
        let answer = PendingAnswer {
            shared: Arc::clone(shared),
            channel: self.channel,
            max_response,
            reply: Mutex::new(Some(reply)),
        };
        if lock(&cancelled.0).0 {
            return None;
        }
        match query {
            Ok(query) => Some(Request { query, peer, deadline, cancelled, answer }),
            Err(error) => {
                tracing::debug!(%peer, %error, "a request cannot be decoded");
                answer.refuse(Duration::from_secs(3600));
                None
            }
        }
    }
}

/// A request that waits for an answer. Dropped without one, it is refused, to be tried again after 1 s.
#[derive(Debug)]
pub struct Request<Req, Resp: Message> {
    query: Req,
    peer: PeerId,
    deadline: Instant,
    cancelled: Arc<Cancelled>,
    answer: PendingAnswer<Resp>,
}

enum Reply<Resp> {
    Remote(weir_pull::Ticket),
    Local(Promise<Result<Resp, CallError>>),
}

struct PendingAnswer<Resp: Message> {
    shared: Arc<Shared>,
    channel: ChannelId,
    max_response: u32,
    reply: Mutex<Option<Reply<Resp>>>,
}

impl<Resp: Message> std::fmt::Debug for PendingAnswer<Resp> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if lock(&self.reply).is_some() { "owed" } else { "answered" })
    }
}

impl<Req, Resp: Message> Request<Req, Resp> {
    /// What is asked.
    pub fn query(&self) -> &Req {
        &self.query
    }

    /// Who asks; this node itself for a local call.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// When the caller no longer waits, on the clock of [`Network::now`](crate::Network::now).
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Answers. The first answer or refusal counts. Where the response is larger than the method allows, the caller is told
    /// to try again after 1 s instead, and a warning is logged.
    pub fn answer(&self, response: Resp) {
        self.answer.respond(response);
    }

    /// Not now: the caller may try again after this time, an hour at most, in whole milliseconds.
    pub fn refuse(&self, retry_after: Duration) {
        self.answer.refuse(retry_after);
    }

    /// Whether the caller has given up: an answer would go nowhere.
    pub fn is_cancelled(&self) -> bool {
        lock(&self.cancelled.0).0
    }

    /// Waits until the caller gives up; for a server that can stop its work. One task at a time.
    pub async fn cancelled(&self) {
        poll_fn(|cx| {
            let mut state = lock(&self.cancelled.0);
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl<Resp: Message> PendingAnswer<Resp> {
    fn respond(&self, response: Resp) {
        let reply = lock(&self.reply).take();
        match reply {
            Some(Reply::Remote(ticket)) => {
                let bytes = response.encode();
                let fits = bytes.len() as u64 <= u64::from(self.max_response);
                if !fits {
                    tracing::warn!(
                        channel = self.channel.0,
                        size = bytes.len(),
                        "the response is larger than the method allows"
                    );
                }
                let result = if fits { Ok(bytes) } else { Err(Refusal { retry_after: RETRY_DROPPED }) };
                self.shared.inbox.post(Op::Answer(self.channel, ticket, result));
            }
            Some(Reply::Local(promise)) => promise.fill_now(Ok(response)),
            None => {}
        }
    }

    fn refuse(&self, retry_after: Duration) {
        let reply = lock(&self.reply).take();
        match reply {
            Some(Reply::Remote(ticket)) => {
                self.shared.inbox.post(Op::Answer(self.channel, ticket, Err(Refusal { retry_after })));
            }
            Some(Reply::Local(promise)) => promise.fill_now(Err(CallError::Refused { retry_after })),
            None => {}
        }
    }
}

impl<Resp: Message> Drop for PendingAnswer<Resp> {
    fn drop(&mut self) {
        self.refuse(RETRY_DROPPED);
    }
}
