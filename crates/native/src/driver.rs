//! Who drives a node: its network thread.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use weir_base::Instant;
use weir_node::host::Host;

use crate::engine::Engine;
use crate::lock;

thread_local! {
    /// Whether this thread drives a node: it must not wait for one to end.
    static DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// See the module.
pub(crate) struct Driver {
    anchor: std::time::Instant,
    waker: Arc<mio::Waker>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl Driver {
    /// For a node whose clock is zero at `anchor`.
    pub(crate) const fn new(anchor: std::time::Instant, waker: Arc<mio::Waker>) -> Self {
        Self { anchor, waker, thread: Mutex::new(None) }
    }

    /// The thread to wait for when the node ends.
    pub(crate) fn runs_on(&self, thread: JoinHandle<()>) {
        *lock(&self.thread) = Some(thread);
    }
}

/// The network thread: until the node has ended. A panic ends the node too, with every handle, and is passed on.
pub(crate) fn run(mut poll: mio::Poll, mut engine: Engine) {
    DRIVING.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| drive(&mut poll, &mut engine)));
    // Outside the panic, so that closing may itself run code of the application.
    drop(engine);
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

fn drive(poll: &mut mio::Poll, engine: &mut Engine) {
    let mut events = mio::Events::with_capacity(64);
    let mut pause = Some(Duration::ZERO);
    loop {
        match poll.poll(&mut events, pause) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                tracing::error!(%error, "the event queue failed; the node stops");
                return;
            }
            _ => {}
        }
        engine.wake_up(&events);
        let busy = !engine.core.stopped() && engine.turn();
        if engine.core.stopped() {
            return;
        }
        pause = if busy { Some(Duration::ZERO) } else { engine.sleep_for() };
    }
}

impl Host for Driver {
    fn now(&self) -> Instant {
        Instant::ZERO + self.anchor.elapsed()
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "cannot wake the network thread");
        }
    }

    fn block_on(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        crate::block_on(future);
    }

    fn join(&self) {
        let Some(thread) = lock(&self.thread).take() else { return };
        if !DRIVING.get() && thread.join().is_err() {
            tracing::error!("the network thread has panicked");
        }
    }
}
