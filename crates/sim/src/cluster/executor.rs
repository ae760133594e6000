//! A deterministic executor: tasks in the order in which they became ready.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

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
    result: Arc<Mutex<TaskResult<T>>>,
}

/// What a task came to, and who waits for it.
#[derive(Debug)]
struct TaskResult<T> {
    value: Option<T>,
    waiter: Option<Waker>,
}

impl<T> Future for Task<T> {
    type Output = T;
    /// Where the cluster is gone, a task that had not ended never does.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut result = lock(&self.result);
        let Some(value) = result.value.take() else {
            result.waiter = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(value)
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
        let result = Arc::new(Mutex::new(TaskResult { value: None, waiter: None }));
        let filled = Arc::clone(&result);
        let body = Box::pin(async move {
            let value = future.await;
            let waiter = {
                let mut result = lock(&filled);
                result.value = Some(value);
                result.waiter.take()
            };
            if let Some(waiter) = waiter {
                waiter.wake();
            }
        });
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

/// Locks, also after a panic of another holder: a test that failed may still use its cluster.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
