//! Who drives a node: its network thread, and for single turns the thread of a handle while the network thread sleeps.
//!
//! A call with no other call in progress waits mostly for threads to wake each other. So the thread that makes it, or answers
//! it, carries out the turn that sends it where the network thread is asleep, and wakes nobody. It never waits for the engine,
//! and sends a bounded number of datagrams; whatever is left wakes the network thread.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, TryLockError};
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

/// See the module. The engine is there while the node runs.
pub(crate) struct Driver {
    anchor: std::time::Instant,
    waker: Arc<mio::Waker>,
    engine: Mutex<Option<Engine>>,
    inline: bool, // as configured
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl Driver {
    /// For a node whose clock is zero at `anchor`. `inline`: other threads may carry out turns.
    pub(crate) const fn new(anchor: std::time::Instant, waker: Arc<mio::Waker>, inline: bool) -> Self {
        Self { anchor, waker, engine: Mutex::new(None), inline, thread: Mutex::new(None) }
    }

    /// The thread to wait for when the node ends.
    pub(crate) fn runs_on(&self, thread: JoinHandle<()>) {
        *lock(&self.thread) = Some(thread);
    }

    /// The network thread: until the node has ended. A panic ends the node too, with every handle, and is passed on.
    pub(crate) fn run(&self, mut poll: mio::Poll, engine: Engine) {
        DRIVING.set(true);
        *lock(&self.engine) = Some(engine);
        let ended = catch_unwind(AssertUnwindSafe(|| self.drive(&mut poll)));
        // Outside the panic, so that closing may itself run code of the application.
        drop(self.take());
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
    }

    fn drive(&self, poll: &mut mio::Poll) {
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
            // An inline turn that has panicked leaves nothing to go on with.
            let Ok(mut held) = self.engine.lock() else { return };
            let Some(engine) = held.as_mut() else { return };
            engine.wake_up(&events);
            let busy = !engine.core.stopped() && engine.turn();
            if engine.core.stopped() {
                return;
            }
            pause = if busy { Some(Duration::ZERO) } else { engine.sleep_for() };
        }
    }

    fn take(&self) -> Option<Engine> {
        lock(&self.engine).take()
    }

    fn wake_thread(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "cannot wake the network thread");
        }
    }
}

impl Host for Driver {
    fn now(&self) -> Instant {
        Instant::ZERO + self.anchor.elapsed()
    }

    fn wake(&self) {
        self.wake_thread();
    }

    fn run_inline(&self) -> bool {
        if !self.inline {
            return false;
        }
        match self.engine.try_lock() {
            Ok(mut held) => {
                let _driving = Driving::begin(self);
                held.as_mut().is_none_or(Engine::inline_turn)
            }
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => false,
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

/// While it lives, this thread drives a node that is not its own.
struct Driving<'a> {
    driver: &'a Driver,
    before: bool,
}

impl<'a> Driving<'a> {
    fn begin(driver: &'a Driver) -> Self {
        Self { driver, before: DRIVING.replace(true) }
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        DRIVING.set(self.before);
        if std::thread::panicking() {
            self.driver.wake_thread(); // the network thread finds what is left, and ends
        }
    }
}
