//! A deterministic executor: tasks in the order in which they became ready.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::mailbox::{Pending, lock, promise};

type Queue = Arc<Mutex<VecDeque<Arc<Ticket>>>>;
type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See the module.
#[derive(Default)]
pub(super) struct Executor {
    queue: Queue,
    tasks: Mutex<BTreeMap<u64, Body>>, // those that are not just being polled
    next: AtomicU64,
}

/// A task's place in the queue.
struct Ticket {
    task: u64,
    queued: AtomicBool,
    queue: Queue,
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            lock(&self.queue).push_back(Arc::clone(&self));
        }
    }
}

/// A spawned task. Await it for its result; dropped, the task goes on.
#[derive(Debug)]
pub struct Task<T> {
    result: Pending<T>,
}

impl<T> Future for Task<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.result).poll(cx) {
            Poll::Ready(Some(result)) => Poll::Ready(result),
            // The task is gone without a result: only where the cluster itself is.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("tasks", &lock(&self.tasks).len()).finish_non_exhaustive()
    }
}

impl Executor {
    pub(super) fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (sender, result) = promise();
        let body = Box::pin(async move { sender.fill_now(future.await) });
        let task = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.tasks).insert(task, body);
        Arc::new(Ticket { task, queued: AtomicBool::new(false), queue: Arc::clone(&self.queue) }).wake();
        Task { result }
    }

    /// Polls the task that is ready longest. False where none is. No lock is held while it runs, so that it may itself drive
    /// the cluster; then it is not polled again below.
    pub(super) fn run_one(&self) -> bool {
        let Some(ticket) = lock(&self.queue).pop_front() else { return false };
        ticket.queued.store(false, Ordering::SeqCst);
        let Some(mut body) = lock(&self.tasks).remove(&ticket.task) else { return true };
        let task = ticket.task;
        let waker = Waker::from(ticket);
        if body.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            lock(&self.tasks).insert(task, body);
        }
        true
    }

    /// Drops all tasks, outside the lock.
    pub(super) fn clear(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        lock(&self.queue).clear();
        drop(tasks);
    }
}
