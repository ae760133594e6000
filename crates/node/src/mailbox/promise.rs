//! One answer from the network thread to one future.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::lock;

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Waker>),
    Filled(T),
    Gone,
}

/// The end that answers. Dropped without an answer, the future ends with `None`.
#[derive(Debug)]
pub(crate) struct Promise<T>(Option<Arc<Mutex<State<T>>>>);

/// The end that waits.
#[derive(Debug)]
pub(crate) struct Pending<T>(Arc<Mutex<State<T>>>);

/// Two ends of one answer.
pub(crate) fn promise<T>() -> (Promise<T>, Pending<T>) {
    let state = Arc::new(Mutex::new(State::Waiting(None)));
    (Promise(Some(Arc::clone(&state))), Pending(state))
}

fn settle<T>(state: &Mutex<State<T>>, new: State<T>) -> Option<Waker> {
    match std::mem::replace(&mut *lock(state), new) {
        State::Waiting(waker) => waker,
        State::Filled(_) | State::Gone => None,
    }
}

impl<T> Promise<T> {
    /// Answers; the waiting task's waker goes to `wakers`.
    pub(crate) fn fill(mut self, value: T, wakers: &mut Vec<Waker>) {
        if let Some(state) = self.0.take() {
            wakers.extend(settle(&state, State::Filled(value)));
        }
    }

    /// Answers and wakes at once.
    pub(crate) fn fill_now(mut self, value: T) {
        if let Some(waker) = self.0.take().and_then(|state| settle(&state, State::Filled(value))) {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take().and_then(|state| settle(&state, State::Gone)) {
            waker.wake();
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Gone) {
            State::Filled(value) => Poll::Ready(Some(value)),
            State::Gone => Poll::Ready(None),
            State::Waiting(_) => {
                *state = State::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}
