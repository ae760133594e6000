//! Who drives a node: its network thread.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use weir_base::Instant;
use weir_node::host::Host;

use crate::engine::Engine;
use crate::lock::lock;
use crate::park::block_on;
use crate::queue::{EVENTS, look, wake};
use crate::turns::{Driving, Turn, is_driving, turn};

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
    let _driving = Driving::begin();
    let ended = catch_unwind(AssertUnwindSafe(|| drive(&mut poll, &mut engine)));
    // Outside the panic, so that closing may itself run code of the application.
    drop(engine);
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

fn drive(poll: &mut mio::Poll, engine: &mut Engine) {
    let mut events = mio::Events::with_capacity(EVENTS);
    let mut pause = Some(Duration::ZERO);
    loop {
        if let Err(error) = look(poll, &mut events, pause) {
            tracing::error!(%error, "the event queue failed; the node stops");
            return;
        }
        pause = match turn(engine, &events) {
            Turn::Again => Some(Duration::ZERO),
            Turn::Wait(pause) => pause,
            Turn::Over => return,
        };
    }
}

impl Host for Driver {
    fn now(&self) -> Instant {
        Instant::ZERO + self.anchor.elapsed()
    }

    fn wake(&self) {
        wake(&self.waker);
    }

    fn block_on(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        block_on(future);
    }

    fn join(&self) {
        let Some(thread) = lock(&self.thread).take() else { return };
        if !is_driving() && thread.join().is_err() {
            tracing::error!("the network thread has panicked");
        }
    }
}
