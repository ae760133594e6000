//! Requests and responses of other people's protocols, which go by name on every link: one request, one response, bytes each.
//!
//! - A [`Requester`] asks. Each request ends: with a [`Response`], or with a [`RequestError`].
//! - A [`Responder`] gives what peers ask, whole, as [`InboundRequest`]s. One that is dropped is broken off.
//!
//! How messages lie in a stream is the protocol's [`Framing`]; limits are those of its [declaration](crate::RequestResponse). What a
//! peer does wrong is told by type ([`Failure`](crate::error::Failure)), here or as
//! [`Event::RequestFailed`](crate::Event::RequestFailed), and nobody is blamed for it:
//! [`Peers::report`](crate::Peers::report) does that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::{Instant, ProtocolId};
#[doc(inline)]
pub use weir_stack::exchange::{BadFrame, Framing, LengthPrefix, Measure, Rest, UntilEnd};
use weir_stack::{NamedShape, exchange};

use crate::channel::{RequestResponse, ServedRequests};
use crate::core::{EncodedInbound, ExchangeOp, Op};
use crate::declarations::Declarations;
use crate::error::RequestError;
use crate::mailbox::{CancelOnDrop, Outbox, Queue, promise};
use crate::shared::{Lease, NamedMail, Shared};

/// What a dropped request is broken off with: done with it, nobody's fault.
const DROPPED: u32 = 0;

/// A framing of the application's, which runs on the network thread: where it panics, the message is malformed, and the node lives.
#[derive(Debug)]
struct Caught(&'static dyn Framing);

impl Caught {
    fn run<R>(&self, run: impl FnOnce(&dyn Framing) -> Result<R, BadFrame>) -> Result<R, BadFrame> {
        catch_unwind(AssertUnwindSafe(|| run(self.0))).unwrap_or_else(|_| {
            tracing::error!(framing = ?self.0, "a framing of the application has panicked");
            Err(BadFrame::Malformed)
        })
    }
}

impl Framing for Caught {
    fn frame(&self, message: Bytes) -> Result<(Bytes, Bytes), BadFrame> {
        self.run(|framing| framing.frame(message))
    }

    fn most(&self, max: usize) -> usize {
        self.run(|framing| Ok(framing.most(max))).unwrap_or(0)
    }

    fn measure(&self, received: &[u8], max: usize, rest: Rest) -> Result<Measure, BadFrame> {
        self.run(|framing| framing.measure(received, max, rest))
    }

    fn unframe(&self, frame: Bytes, max: usize) -> Result<Bytes, BadFrame> {
        self.run(|framing| framing.unframe(frame, max))
    }
}

/// A response, and what it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The name that was agreed on.
    pub protocol: &'static str,
    /// The response.
    pub body: Bytes,
}

/// Asks peers by a protocol of other people's. Cheap to clone; made by a [`RequestResponse`] given to the builder, or by
/// [`Responder::requester`].
#[derive(Clone, Debug)]
pub struct Requester {
    lease: Arc<Lease>,
    protocol: ProtocolId,
}

impl Requester {
    /// Adds the protocol to a node; its handle.
    pub(crate) fn declare(
        protocol: &RequestResponse,
        served: Option<Arc<Outbox<EncodedInbound>>>,
        node: &mut Declarations,
    ) -> impl FnOnce(&Arc<Lease>) -> Self + use<> {
        let is_served = served.is_some();
        let config =
            exchange::Config { framing: Arc::new(Caught(protocol.framing)), limits: protocol.limits };
        let shape = NamedShape::Exchange(config);
        let first = node.add_named(protocol.names, is_served, (shape, &NamedMail::Requests(served)));
        move |lease| Self { lease: Arc::clone(lease), protocol: first }
    }

    /// Asks a connected peer, and waits for the response, at most the protocol's deadline. Dropping the future breaks the request off.
    ///
    /// ```
    /// # use weir::RequestResponse;
    /// # const SIZE: RequestResponse = RequestResponse::new(&["/my/size/1"]).max_request(64).max_response(8);
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, requests) = cluster.add(describe(1).channels(SIZE.serve()))?;
    /// # let (bob, _bobs_node, size) = cluster.add(describe(2).channels(SIZE).peers(alice.addresses()))?;
    /// # cluster.spawn(async move {
    /// #     while let Some(request) = requests.next().await {
    /// #         match request.body().len() {
    /// #             0 => request.refuse(7),
    /// #             len => drop(request.respond(vec![u8::try_from(len).unwrap_or(u8::MAX)].into())),
    /// #         }
    /// #     }
    /// # });
    /// # cluster.run_until(bob.wait_for_peers(1))?;
    /// use weir::Bytes;
    ///
    /// let response = cluster.run_until(size.request(alice.peer_id(), Bytes::from_static(b"four")))?;
    /// assert_eq!((response.protocol, &response.body[..]), ("/my/size/1", &[4][..]));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]; its [`retry`](RequestError::retry) says whether to try again.
    pub async fn request(&self, peer: PeerId, request: Bytes) -> Result<Response, RequestError> {
        self.ask(peer, request, None).await
    }

    /// As [`request`](Self::request) with a deadline of its own, counted from now, if that is shorter than the protocol's.
    ///
    /// # Errors
    /// As `request`.
    pub async fn request_within(
        &self,
        peer: PeerId,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Response, RequestError> {
        self.ask(peer, request, Some(deadline)).await
    }

    async fn ask(
        &self,
        peer: PeerId,
        request: Bytes,
        deadline: Option<Duration>,
    ) -> Result<Response, RequestError> {
        let shared = &self.lease.shared;
        let (id, (reply, answer)) = (shared.number(), promise());
        let op = ExchangeOp { id, peer, protocol: self.protocol, request, deadline, reply };
        if !shared.inbox.room(Op::Exchange(Box::new(op))).await {
            return Err(RequestError::Stopped);
        }
        let guard = CancelOnDrop::new(&shared.inbox, Op::CancelExchange(id));
        let answer = answer.await;
        guard.disarm();
        let (protocol, body) = answer.ok_or(RequestError::Stopped)??;
        Ok(Response { protocol: shared.name_of(protocol), body })
    }
}

/// The requests of peers by one protocol. Several tasks may share them, each request goes to one. They are a
/// [`Stream`](futures_core::Stream) of [`InboundRequest`]s.
///
/// ```
/// # use weir::RequestResponse;
/// # const SIZE: RequestResponse = RequestResponse::new(&["/my/size/1"]).max_request(64).max_response(8);
/// # use weir::testing::Cluster;
/// # use weir::{Keypair, Network, NetworkId};
/// # let cluster = Cluster::new(7);
/// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
/// # let (alice, node, requests) = cluster.add(describe(1).channels(SIZE.serve()))?;
/// # let (bob, _bobs_node, size) = cluster.add(describe(2).channels(SIZE).peers(alice.addresses()))?;
/// use weir::Bytes;
///
/// cluster.spawn(async move {
///     while let Some(request) = requests.next().await {
///         let size = u8::try_from(request.body().len()).unwrap_or(u8::MAX);
///         request.respond(Bytes::copy_from_slice(&[size]))?;
///     }
///     Ok::<(), weir::RequestError>(())
/// });
/// # cluster.run_until(bob.wait_for_peers(1))?;
/// # let response = cluster.run_until(size.request(alice.peer_id(), Bytes::from_static(b"four")))?;
/// # assert_eq!(&response.body[..], &[4][..]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Responder {
    requester: Requester,
    max_response: u32,
    queue: Queue<EncodedInbound>,
}

impl Responder {
    /// Adds a protocol that is served to a node; its handle.
    pub(crate) fn declare(
        ServedRequests(protocol): &ServedRequests,
        node: &mut Declarations,
    ) -> impl FnOnce(&Arc<Lease>) -> Self + use<> {
        let max_response = protocol.limits.max_response;
        // There is a place for each that the stack tells.
        let requests = Arc::new(Outbox::new(protocol.limits.total as usize));
        let requester = Requester::declare(protocol, Some(Arc::clone(&requests)), node);
        move |lease| Self { requester: requester(lease), max_response, queue: Queue::new(requests) }
    }

    /// Asks peers by the same protocol.
    pub fn requester(&self) -> Requester {
        self.requester.clone()
    }

    /// Waits for the next request; `None` once the node has stopped.
    pub async fn next(&self) -> Option<InboundRequest> {
        Some(self.open(self.queue.next().await?))
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<InboundRequest> {
        self.requester.lease.shared.block_on(self.next())
    }

    fn open(&self, encoded: EncodedInbound) -> InboundRequest {
        let shared = Arc::clone(&self.requester.lease.shared);
        InboundRequest { encoded, shared, max_response: self.max_response, answered: false }
    }
}

impl futures_core::Stream for Responder {
    type Item = InboundRequest;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<InboundRequest>> {
        let this = self.get_mut();
        this.queue.poll_next(cx).map(|encoded| encoded.map(|encoded| this.open(encoded)))
    }
}

/// A request of a peer's, whole, that waits for a response. Dropped without one, it is broken off with code 0.
#[derive(Debug)]
pub struct InboundRequest {
    encoded: EncodedInbound,
    shared: Arc<Shared>,
    max_response: u32,
    answered: bool,
}

impl InboundRequest {
    /// What is asked.
    pub fn body(&self) -> &Bytes {
        &self.encoded.body
    }

    /// Who asks.
    pub fn peer(&self) -> PeerId {
        self.encoded.peer
    }

    /// The name that was agreed on.
    pub fn protocol(&self) -> &'static str {
        self.encoded.protocol
    }

    /// When a response comes too late, on the clock of [`Network::now`](crate::Network::now).
    pub fn deadline(&self) -> Instant {
        self.encoded.deadline
    }

    /// Whether no response is needed any more: the peer gave up, went on after the end of its request, or the deadline has passed.
    pub fn is_cancelled(&self) -> bool {
        self.encoded.cancelled.is_cancelled()
    }

    /// Waits until no response is needed any more; for a server that can stop its work. One task at a time.
    pub async fn cancelled(&self) {
        self.encoded.cancelled.wait().await;
    }

    /// Responds.
    ///
    /// # Errors
    /// [`RequestError::TooLarge`] where the response is larger than the protocol allows; the peer's stream is broken off then.
    pub fn respond(mut self, response: Bytes) -> Result<(), RequestError> {
        if response.len() > self.max_response as usize {
            return Err(RequestError::TooLarge);
        }
        self.answer(Ok(response));
        Ok(())
    }

    /// Refuses it: the stream is broken off with a code of the application's.
    ///
    /// ```
    /// # use weir::RequestResponse;
    /// # const SIZE: RequestResponse = RequestResponse::new(&["/my/size/1"]).max_request(64).max_response(8);
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, requests) = cluster.add(describe(1).channels(SIZE.serve()))?;
    /// # let (bob, _bobs_node, size) = cluster.add(describe(2).channels(SIZE).peers(alice.addresses()))?;
    /// # cluster.spawn(async move {
    /// #     while let Some(request) = requests.next().await {
    /// #         match request.body().len() {
    /// #             0 => request.refuse(7),
    /// #             len => drop(request.respond(vec![u8::try_from(len).unwrap_or(u8::MAX)].into())),
    /// #         }
    /// #     }
    /// # });
    /// # cluster.run_until(bob.wait_for_peers(1))?;
    /// use weir::error::Failure;
    /// use weir::{Bytes, RequestError};
    ///
    /// // Alice refuses what is empty, by `request.refuse(7)`.
    /// let refused = cluster.run_until(size.request(alice.peer_id(), Bytes::new()));
    /// assert_eq!(refused, Err(RequestError::Failed(Failure::Reset(7))));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn refuse(mut self, code: u32) {
        self.answer(Err(code));
    }

    fn answer(&mut self, answer: Result<Bytes, u32>) {
        self.answered = true;
        self.shared.inbox.post(Op::Respond(self.encoded.key, answer));
    }
}

impl Drop for InboundRequest {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Err(DROPPED));
        }
    }
}
