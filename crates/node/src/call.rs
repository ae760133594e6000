//! Calls and requests: one question, one answer.
//!
//! - A [`Caller`] asks. Each call ends: with the response, or with a [`CallError`] that says whether to try again. Dropping
//!   its future cancels the server's work.
//! - [`Requests`] are answered. A request that is dropped is refused, to be tried again later.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument as _;
use weir_base::Instant;
use weir_base::identity::PeerId;
use weir_pull::call::Refusal;
use weir_pull::{ChannelId, Shape};

use crate::channel::Method;
use crate::core::{CallOp, EncodedRequest, Op, Replies, RequestBody};
use crate::declarations::Declarations;
use crate::error::{CallError, WithinError};
use crate::mailbox::{CancelOnDrop, Cancelled, Outbox, Pending, Promise, Queue, lock, promise};
use crate::message::Message;
use crate::shared::{Lease, Mail, Shared};
use crate::time;

/// What a dropped request tells the caller: try again after this.
pub const RETRY_DROPPED: Duration = Duration::from_secs(1);

/// Whom a call asks.
///
/// ```
/// # use weir::Method;
/// # const SQUARE: Method<u64, u64> = Method::new(5, "square");
/// # use weir::{Bytes, Service};
/// # const ARCHIVE: u32 = 1;
/// # use weir::testing::Cluster;
/// # use weir::{Keypair, Network, NetworkId};
/// # let cluster = Cluster::new(7);
/// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
/// # let (alice, node, requests) = cluster.add(describe(1).service(Service { id: ARCHIVE, version: 1, payload: Bytes::new() }).channels(SQUARE.serve()))?;
/// # let (bob, _bobs_node, square) = cluster.add(describe(2).channels(SQUARE).peers(alice.addresses()))?;
/// # cluster.spawn(async move {
/// #     while let Some(request) = requests.next().await {
/// #         match request.query().checked_mul(*request.query()) {
/// #             Some(square) => request.answer(square),
/// #             None => request.refuse(std::time::Duration::from_secs(60)),
/// #         }
/// #     }
/// # });
/// # cluster.run_until(bob.wait_for_peers(1))?;
/// use weir::{CallError, Target};
///
/// assert_eq!(cluster.run_until(square.call(Target::Any(ARCHIVE), 7)), Ok(49));
/// let nobody = cluster.run_until(square.call(Target::Any(ARCHIVE + 1), 7));
/// assert_eq!(nobody, Err(CallError::NotConnected));
/// assert_eq!(cluster.run_until(square.call(alice.peer_id(), 7)), Ok(49)); // a peer's id is a target
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
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
#[non_exhaustive]
pub struct Answer<Resp> {
    /// Who answered, or did not.
    pub peer: PeerId,
    /// The response, or why there is none.
    pub result: Result<Resp, CallError>,
}

/// What a node's handles of a method share.
#[derive(Clone, Debug)]
struct Agreed {
    name: &'static str,
    channel: ChannelId,
    max_request: u32,
    max_response: u32,
    deadline: Duration,
    requests: Option<Arc<Outbox<EncodedRequest>>>, // where this node serves it
}

/// Calls one method. Cheap to clone; made by a [`Method`] given to the builder, or by [`Requests::caller`].
pub struct Caller<Req, Resp> {
    lease: Arc<Lease>,
    method: Agreed,
    types: PhantomData<fn(Req) -> Resp>,
}

impl<Req, Resp> Clone for Caller<Req, Resp> {
    fn clone(&self) -> Self {
        Self { lease: Arc::clone(&self.lease), method: self.method.clone(), types: PhantomData }
    }
}

impl<Req, Resp> std::fmt::Debug for Caller<Req, Resp> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("method", &self.method.name).finish_non_exhaustive()
    }
}

impl<Req: Message, Resp: Message> Caller<Req, Resp> {
    /// Adds the method to a node; its handle.
    pub(crate) fn declare(
        method: Method<Req, Resp>,
        requests: Option<Arc<Outbox<EncodedRequest>>>,
        node: &mut Declarations,
    ) -> impl FnOnce(&Arc<Lease>) -> Self + use<Req, Resp> {
        let mut config = weir_pull::call::Config { class: method.declared.class, ..Default::default() };
        let limits = method.limits;
        config.max_request = limits.max_request.unwrap_or(config.max_request);
        config.max_response = limits.max_response.unwrap_or(config.max_response);
        config.concurrency = limits.concurrency.unwrap_or(config.concurrency);
        config.rate = limits.rate;
        config.deadline = limits.deadline.unwrap_or(config.deadline);
        config.replay_safe = limits.replay_safe;
        let agreed = Agreed {
            name: method.declared.name,
            channel: ChannelId(method.declared.id),
            max_request: config.max_request,
            max_response: config.max_response,
            deadline: config.deadline,
            requests: requests.clone(),
        };
        node.add(method.declared, Shape::Call(config), Mail::Call(requests));
        move |lease| Self { lease: Arc::clone(lease), method: agreed, types: PhantomData }
    }

    /// Asks one peer, any peer with a service, or this node itself, and waits for the response, at most the method's
    /// deadline. A call to a peer that is being dialled waits for the link. Dropping the future gives the call up and
    /// cancels the server's work.
    ///
    /// ```
    /// # use weir::Method;
    /// # const SQUARE: Method<u64, u64> = Method::new(5, "square");
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, requests) = cluster.add(describe(1).channels(SQUARE.serve()))?;
    /// # let (bob, _bobs_node, square) = cluster.add(describe(2).channels(SQUARE).peers(alice.addresses()))?;
    /// # cluster.spawn(async move {
    /// #     while let Some(request) = requests.next().await {
    /// #         match request.query().checked_mul(*request.query()) {
    /// #             Some(square) => request.answer(square),
    /// #             None => request.refuse(std::time::Duration::from_secs(60)),
    /// #         }
    /// #     }
    /// # });
    /// # cluster.run_until(bob.wait_for_peers(1))?;
    /// use std::time::Duration;
    ///
    /// use weir::Retry;
    ///
    /// assert_eq!(cluster.run_until(square.call(alice.peer_id(), 7)), Ok(49));
    ///
    /// let refused = cluster.run_until(square.call(alice.peer_id(), u64::MAX)).unwrap_err();
    /// assert_eq!(refused.retry(), Retry::After(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`CallError`]; its [`retry`](CallError::retry) says whether, when and where to try again.
    pub async fn call(&self, target: impl Into<Target>, request: Req) -> Result<Resp, CallError> {
        self.ask(target.into(), request, self.method.deadline).await
    }

    /// As [`call`](Self::call) with a deadline of its own, counted from now, if that is shorter than the method's.
    ///
    /// # Errors
    /// As `call`.
    pub async fn call_within(
        &self,
        target: impl Into<Target>,
        request: Req,
        deadline: Duration,
    ) -> Result<Resp, CallError> {
        self.ask(target.into(), request, deadline.min(self.method.deadline)).await
    }

    /// Asks several peers at once and waits for all their answers, at most the method's deadline. The request is encoded
    /// once. Answers come in the order of their arrival, one for each peer that was asked.
    ///
    /// # Errors
    /// [`CallError`] where nobody was asked: no such peer is connected, or too much is under way. What goes wrong with one
    /// peer is in its [`Answer`].
    pub async fn call_many(&self, targets: Targets, request: Req) -> Result<Vec<Answer<Resp>>, CallError> {
        let span = when_enabled(|| tracing::debug_span!("call", channel = self.method.name, ?targets));
        let bytes = self.encode(&request)?;
        drop(request);
        let target = match targets {
            Targets::All(service) => weir_stack::Target::All(service),
            Targets::Some { service, count } => weir_stack::Target::Some { service, count },
        };
        let (reply, answers) = promise();
        let asked = self.send(target, bytes, self.method.deadline, Replies::Many(reply), answers);
        let answers = asked.instrument(span).await??;
        let decoded = |(peer, result): (PeerId, Result<Bytes, CallError>)| Answer {
            peer,
            result: result.and_then(|response| decode(peer, response)),
        };
        Ok(answers.into_iter().map(decoded).collect())
    }

    async fn ask(&self, target: Target, request: Req, deadline: Duration) -> Result<Resp, CallError> {
        let span = when_enabled(|| tracing::debug_span!("call", channel = self.method.name, ?target));
        let target = match target {
            Target::Local => return self.ask_here(request, deadline).instrument(span).await,
            Target::Peer(peer) => weir_stack::Target::Peer(peer),
            Target::Any(service) => weir_stack::Target::Any(service),
        };
        let bytes = self.encode(&request)?;
        drop(request);
        let (reply, answer) = promise();
        let asked = self.send(target, bytes, deadline, Replies::One(reply), answer);
        let (peer, response) = asked.instrument(span).await??;
        decode(peer, response)
    }

    fn encode(&self, request: &Req) -> Result<Bytes, CallError> {
        let bytes = request.encode();
        let fits = bytes.len() as u64 <= u64::from(self.method.max_request);
        fits.then_some(bytes).ok_or(CallError::TooLarge)
    }

    /// Hands the call over, waiting for room; then for what comes back.
    async fn send<T>(
        &self,
        target: weir_stack::Target,
        request: Bytes,
        deadline: Duration,
        reply: Replies,
        answer: Pending<T>,
    ) -> Result<T, CallError> {
        let shared = &self.lease.shared;
        let (id, deadline) = (shared.number(), shared.now() + deadline);
        let call = CallOp { id, channel: self.method.channel, target, request, deadline, reply };
        if !shared.inbox.room(Op::Call(Box::new(call))).await {
            return Err(CallError::Stopped);
        }
        let guard = CancelOnDrop::new(&shared.inbox, Op::CancelCall(id));
        let answer = answer.await;
        guard.disarm();
        answer.ok_or(CallError::Stopped)
    }

    /// Hands the request to this node's own requests, as it is.
    async fn ask_here(&self, request: Req, deadline: Duration) -> Result<Resp, CallError> {
        let shared = &self.lease.shared;
        let requests = self.method.requests.as_ref().ok_or(CallError::NotServed)?;
        let (reply, answer) = promise::<Result<Resp, CallError>>();
        let cancelled = Arc::new(Cancelled::default());
        let _guard = CancelLocal(Arc::clone(&cancelled));
        let body = RequestBody::Local { query: Box::new(request), reply: Box::new(reply) };
        let due = shared.now() + deadline;
        let mut wakers = Vec::new();
        let encoded = EncodedRequest { peer: shared.peer_id, deadline: due, cancelled, body };
        let pushed = requests.push(encoded, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        if pushed.is_err() {
            return Err(if shared.inbox.is_closed() { CallError::Stopped } else { CallError::Busy });
        }
        match time::within(shared, deadline, answer).await {
            Ok(Some(result)) => result,
            Ok(None) | Err(WithinError::Stopped) => Err(CallError::Stopped),
            Err(WithinError::Elapsed(_)) => Err(CallError::Deadline),
        }
    }
}

/// A span where somebody listens. One that is off still costs at every poll.
fn when_enabled(span: impl FnOnce() -> tracing::Span) -> tracing::Span {
    if tracing::enabled!(tracing::Level::DEBUG) { span() } else { tracing::Span::none() }
}

fn decode<Resp: Message>(peer: PeerId, response: Bytes) -> Result<Resp, CallError> {
    Resp::decode(response).map_err(|error| {
        tracing::debug!(%peer, %error, "a response cannot be decoded");
        CallError::Malformed
    })
}

struct CancelLocal(Arc<Cancelled>);

impl Drop for CancelLocal {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        self.0.cancel(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The requests for one method at this node. Several tasks may share them, each request goes to one. They are a
/// [`Stream`](futures_core::Stream) of [`Request`]s.
///
/// ```
/// # use weir::Method;
/// # const SQUARE: Method<u64, u64> = Method::new(5, "square");
/// # use weir::testing::Cluster;
/// # use weir::{Keypair, Network, NetworkId};
/// # let cluster = Cluster::new(7);
/// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
/// # let (alice, node, requests) = cluster.add(describe(1).channels(SQUARE.serve()))?;
/// # let (bob, _bobs_node, square) = cluster.add(describe(2).channels(SQUARE).peers(alice.addresses()))?;
/// use std::time::Duration;
///
/// cluster.spawn(async move {
///     while let Some(request) = requests.next().await {
///         match request.query().checked_mul(*request.query()) {
///             Some(square) => request.answer(square),
///             None => request.refuse(Duration::from_secs(60)), // try again then
///         }
///     }
/// });
/// # cluster.run_until(bob.wait_for_peers(1))?;
/// assert_eq!(cluster.run_until(square.call(alice.peer_id(), 7)), Ok(49));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct Requests<Req, Resp> {
    caller: Caller<Req, Resp>,
    queue: Queue<EncodedRequest>,
}

impl<Req, Resp> Clone for Requests<Req, Resp> {
    fn clone(&self) -> Self {
        Self { caller: self.caller.clone(), queue: self.queue.clone() }
    }
}

impl<Req, Resp> std::fmt::Debug for Requests<Req, Resp> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("method", &self.caller.method.name).finish_non_exhaustive()
    }
}

impl<Req: Message, Resp: Message> Requests<Req, Resp> {
    /// Adds a method that is served to a node; its handle.
    pub(crate) fn declare(
        method: Method<Req, Resp>,
        node: &mut Declarations,
    ) -> impl FnOnce(&Arc<Lease>) -> Self + use<Req, Resp> {
        let requests = Arc::new(Outbox::new(node.config.mailboxes.requests as usize));
        let caller = Caller::declare(method, Some(Arc::clone(&requests)), node);
        move |lease| Self { caller: caller(lease), queue: Queue::new(requests) }
    }

    /// Calls the same method: of peers, or of this node itself.
    pub fn caller(&self) -> Caller<Req, Resp> {
        self.caller.clone()
    }

    /// Waits for the next request; `None` once the node has stopped.
    pub async fn next(&self) -> Option<Request<Req, Resp>> {
        loop {
            let raw = self.queue.next().await?;
            if let Some(request) = self.open(raw) {
                return Some(request);
            }
        }
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<Request<Req, Resp>> {
        self.caller.lease.shared.block_on(self.next())
    }

    /// The next request, if one waits.
    pub fn try_next(&self) -> Option<Request<Req, Resp>> {
        loop {
            let raw = self.queue.take()?;
            if let Some(request) = self.open(raw) {
                return Some(request);
            }
        }
    }

    /// Decodes; one whose caller no longer waits is dropped, one that is malformed refused.
    fn open(&self, raw: EncodedRequest) -> Option<Request<Req, Resp>> {
        let (shared, method) = (&self.caller.lease.shared, &self.caller.method);
        let EncodedRequest { peer, deadline, cancelled, body } = raw;
        let (query, reply) = match body {
            RequestBody::Remote { ticket, bytes, others_wait } => {
                let taken = Op::TookRequest(method.channel, ticket, shared.now());
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
        let answer = PendingAnswer {
            shared: Arc::clone(shared),
            channel: method.channel,
            max_response: method.max_response,
            reply: Mutex::new(Some(reply)),
        };
        if cancelled.is_cancelled() {
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

impl<Req: Message, Resp: Message> futures_core::Stream for Requests<Req, Resp> {
    type Item = Request<Req, Resp>;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Request<Req, Resp>>> {
        let this = self.get_mut();
        loop {
            let Some(encoded) = ready!(this.queue.poll_next(cx)) else { return Poll::Ready(None) };
            if let Some(request) = this.open(encoded) {
                return Poll::Ready(Some(request));
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
        self.cancelled.is_cancelled()
    }

    /// Waits until the caller gives up; for a server that can stop its work. One task at a time.
    pub async fn cancelled(&self) {
        self.cancelled.wait().await;
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
                self.post(ticket, result);
            }
            Some(Reply::Local(promise)) => promise.fill_now(Ok(response)),
            None => {}
        }
    }

    fn post(&self, ticket: weir_pull::Ticket, result: Result<Bytes, Refusal>) {
        self.shared.inbox.post(Op::Answer(self.channel, ticket, self.shared.now(), result));
    }

    fn refuse(&self, retry_after: Duration) {
        let reply = lock(&self.reply).take();
        match reply {
            Some(Reply::Remote(ticket)) => {
                self.post(ticket, Err(Refusal { retry_after }));
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
