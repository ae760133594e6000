//! The event loop of a node, for applications that run it themselves.
//!
//! Threat: whoever does not call `turn` starves this node alone: peers notice it as one that does not answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use weir_base::Instant;
use weir_node::host::Host;
use weir_node::{Builder, Network, Node, StartError};

use crate::engine::Engine;
use crate::lock::lock;
use crate::park::block_on;
use crate::prepare::{Parts, prepare};
use crate::queue::{EVENTS, look, wake};
use crate::turns::{Driving, Turn, turn};

/// The event loop of a node, for applications that run it themselves: on a thread of theirs, or as a task of their runtime.
///
/// A node with a network thread of its own ([`start`](crate::start)) costs two wakes of a thread for what arrives: the network thread, then
/// the thread whose task waits for it. A runtime that watches the event loop's descriptor beside those of the application carries out the
/// turn and goes on with the task that was woken, on one thread.
///
/// - The application calls [`turn`](Self::turn), which never waits, and does what it says.
/// - What arrives makes the descriptor readable; handles wake whoever waits in [`woken`](Self::woken), and otherwise the descriptor.
///
/// A turn is bounded as one of a network thread is, so that the application's other tasks wait some milliseconds at most. Dropped, the event
/// loop ends its node without goodbye, with every handle.
pub struct EventLoop {
    poll: mio::Poll,
    events: mio::Events,
    /// While the node runs, and out of here during a turn, so that a turn that panics ends it. The lock is never taken: with it, a shared
    /// loop may be waited for from any thread.
    engine: Mutex<Option<Box<Engine>>>,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop").finish_non_exhaustive()
    }
}

/// What handles know of an event loop.
struct Inner {
    anchor: std::time::Instant,
    waker: Arc<mio::Waker>,
    waiting: Mutex<Waiting>,
}

/// Who waits for handles.
#[derive(Debug, Default)]
enum Waiting {
    /// Nobody: the descriptor becomes readable.
    #[default]
    Nobody,
    Task(Waker),
    /// It was woken, and has not come yet.
    Woken,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl EventLoop {
    /// Starts a node on real sockets that lives by this event loop: beside it the handle to its network, the end that stops it,
    /// and the handles of its [channels](Builder::channels).
    ///
    /// The calls of handles that wait on their thread (`next_blocking`, [`Network::block_on`]) need another thread to run the loop.
    ///
    /// # Errors
    /// [`StartError`], which names the field, address or port and the remedy. Nothing is left behind.
    pub fn start<H>(node: Builder<H>) -> Result<(Self, (Network, Node, H)), StartError> {
        let inner = |anchor, waker| Inner { anchor, waker, waiting: Mutex::default() };
        let Parts { driver: inner, poll, engine, application } = prepare(node, inner)?;
        let events = mio::Events::with_capacity(EVENTS);
        Ok((Self { poll, events, engine: Mutex::new(Some(Box::new(engine))), inner }, application))
    }

    /// Carries out what there is to do, up to a bound, and says what comes next. It never waits. After a turn that panicked the node is over.
    pub fn turn(&mut self) -> Turn {
        self.turn_within(Some(Duration::ZERO))
    }

    /// Runs the node on this thread until it has ended.
    pub fn run(mut self) {
        let mut pause = Some(Duration::ZERO);
        loop {
            pause = match self.turn_within(pause) {
                Turn::Again => Some(Duration::ZERO),
                Turn::Wait(pause) => pause,
                Turn::Over => return,
            };
        }
    }

    /// Waits until a handle has something for the node, for one task at once. Whatever ends the wait, a turn is to follow.
    pub fn woken(&self) -> Woken<'_> {
        Woken { inner: &self.inner }
    }

    /// A turn, once the system says something of the sockets, or after `pause`.
    fn turn_within(&mut self, pause: Option<Duration>) -> Turn {
        *lock(&self.inner.waiting) = Waiting::Nobody; // what handles have is taken in this turn
        if let Err(error) = look(&mut self.poll, &mut self.events, pause) {
            tracing::error!(%error, "the event queue failed; the node stops");
            self.end();
            return Turn::Over;
        }
        let Some(mut engine) = self.engine().take() else {
            return Turn::Over;
        };
        let driving = Driving::begin();
        let turn = turn(&mut engine, &self.events);
        if turn == Turn::Over {
            drop(engine);
        } else {
            *self.engine() = Some(engine);
        }
        drop(driving);
        // With as many events there may be more, of which the descriptor tells nobody again.
        let full = self.events.iter().count() >= EVENTS;
        if full && turn != Turn::Over { Turn::Again } else { turn }
    }

    /// The node ends, with every handle.
    fn end(&mut self) {
        let _driving = Driving::begin();
        *self.engine() = None;
    }

    fn engine(&mut self) -> &mut Option<Box<Engine>> {
        self.engine.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The descriptor of the event queue: readable when something has arrived, or can be sent again. A turn takes all that makes it so, so
/// whoever watches it by its edges clears what is known of it before the turn. It is the same one for as long as the event loop lives.
#[cfg(unix)]
impl std::os::fd::AsFd for EventLoop {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

/// The same, for runtimes that ask for its number.
#[cfg(unix)]
impl std::os::fd::AsRawFd for EventLoop {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.poll.as_raw_fd()
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.end();
    }
}

/// See [`EventLoop::woken`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Woken<'a> {
    inner: &'a Inner,
}

impl Future for Woken<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = lock(&self.inner.waiting);
        if let Waiting::Woken = *waiting {
            *waiting = Waiting::Nobody;
            return Poll::Ready(());
        }
        *waiting = Waiting::Task(cx.waker().clone());
        Poll::Pending
    }
}

/// From here on the descriptor tells.
impl Drop for Woken<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.inner.waiting);
        if let Waiting::Task(_) = *waiting {
            *waiting = Waiting::Nobody;
        }
    }
}

impl Host for Inner {
    fn now(&self) -> Instant {
        Instant::ZERO + self.anchor.elapsed()
    }

    fn wake(&self) {
        let task = {
            let mut waiting = lock(&self.waiting);
            match std::mem::replace(&mut *waiting, Waiting::Woken) {
                Waiting::Woken => return,
                Waiting::Task(waker) => Some(waker),
                Waiting::Nobody => {
                    *waiting = Waiting::Nobody;
                    None
                }
            }
        };
        match task {
            Some(waker) => waker.wake(),
            None => wake(&self.waker),
        }
    }

    fn block_on(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        block_on(future);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use weir_base::NetworkId;
    use weir_base::identity::Keypair;
    use weir_node::Stopped;

    use super::*;

    /// How often a task was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn node(listen: &[&str]) -> (EventLoop, (Network, Node, ())) {
        let builder = Network::builder(Keypair::ed25519_from_seed([8; 32]), NetworkId([7; 32]));
        EventLoop::start(listen.iter().fold(builder, |builder, address| builder.listen(*address))).unwrap()
    }

    /// Turns until there is nothing to do.
    fn settle(events: &mut EventLoop) {
        for _ in 0..1_000 {
            if matches!(events.turn(), Turn::Wait(_)) {
                return;
            }
        }
        panic!("there is always something to do");
    }

    fn is_readable(events: &mut EventLoop) -> bool {
        look(&mut events.poll, &mut events.events, Some(Duration::ZERO)).unwrap();
        !events.events.is_empty()
    }

    #[test]
    fn a_handle_wakes_the_task_that_waits_and_without_one_the_descriptor() {
        let (mut events, (network, ..)) = node(&["127.0.0.1:0"]);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let mut asked = Vec::new();
        let mut ask = || {
            let network = network.clone();
            let mut stats: Pin<Box<dyn Future<Output = _>>> = Box::pin(async move { network.stats().await });
            assert!(stats.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            asked.push(stats);
        };

        settle(&mut events);
        assert!(!is_readable(&mut events));
        ask();
        assert!(is_readable(&mut events), "nobody waits");

        settle(&mut events);
        let mut woken = Box::pin(events.woken());
        assert!(woken.as_mut().poll(&mut context).is_pending());
        ask();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(woken.as_mut().poll(&mut context).is_ready());
        drop(woken);
        assert!(!is_readable(&mut events), "the task knows");

        settle(&mut events);
        let mut woken = Box::pin(events.woken());
        assert!(woken.as_mut().poll(&mut context).is_pending());
        drop(woken);
        ask();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(is_readable(&mut events), "it waits no more");
        settle(&mut events);
        for mut stats in asked {
            let told = stats.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(told, Poll::Ready(Ok(_))));
        }
    }

    #[test]
    fn before_it_waits_it_has_seen_all_that_the_system_says() {
        let (mut events, (network, ..)) = node(&["/ip4/127.0.0.1/tcp/0"; 5]);
        settle(&mut events);
        let addresses = network.addresses().iter().filter_map(weir_base::Multiaddr::socket_addr);
        let strangers: Vec<TcpStream> =
            addresses.flat_map(|(_, to)| (0..16).map(move |_| TcpStream::connect(to).unwrap())).collect();
        assert!(strangers.len() > EVENTS);
        settle(&mut events);
        assert!(!is_readable(&mut events));
    }

    /// A waker of an application that fails it.
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker that panics");
        }
    }

    #[test]
    fn a_task_whose_waker_panics_ends_no_node() {
        let (mut events, (network, ..)) = node(&["127.0.0.1:0"]);
        settle(&mut events);
        let mut stats: Pin<Box<dyn Future<Output = _>>> = Box::pin(async { network.stats().await });
        let waker = Waker::from(Arc::new(Panics));
        assert!(stats.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        settle(&mut events);
        assert!(matches!(stats.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
        assert_ne!(events.turn(), Turn::Over);
    }

    #[test]
    fn an_event_loop_that_is_dropped_ends_its_handles() {
        let (mut events, (network, ..)) = node(&["127.0.0.1:0"]);
        settle(&mut events);
        drop(events);
        assert_eq!(block_on(network.stats()).err(), Some(Stopped));
    }

    #[test]
    fn a_node_that_is_shut_down_is_over_and_its_port_free() {
        let (mut events, (network, node, ())) = node(&["/ip4/127.0.0.1/tcp/0"]);
        settle(&mut events);
        let address = network.addresses()[0].clone();
        let running = std::thread::spawn(move || events.run());
        block_on(node.shutdown(Duration::from_secs(5)));
        let (_, port) = address.socket_addr().unwrap();
        drop(std::net::TcpListener::bind(port).unwrap());
        running.join().unwrap();
    }
}
