//! Waiting on the calling thread.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// A flag of its own per call: a nested call that eats the thread's unpark token takes no wake from the outer one.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

thread_local! {
    /// The parker of the last call, to be used again: most calls wait for nanoseconds and should not allocate.
    static SPARE: Cell<Option<Arc<Parker>>> = const { Cell::new(None) };
}

/// Runs a future on this thread, which sleeps while the future waits. For native nodes; where a node may also live in a
/// simulated cluster, use [`Network::block_on`](weir_node::Network::block_on).
pub fn block_on<F: Future>(future: F) -> F::Output {
    let parker = SPARE.take().unwrap_or_else(|| {
        Arc::new(Parker { thread: std::thread::current(), woken: AtomicBool::new(false) })
    });
    let waker = Waker::from(Arc::clone(&parker));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let output = loop {
        parker.woken.store(false, Ordering::Release);
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            break output;
        }
        while !parker.woken.load(Ordering::Acquire) {
            std::thread::park();
        }
    };
    SPARE.set(Some(parker));
    output
}
