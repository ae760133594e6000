//! Things that have something to do for the network thread, each listed at most once by a flag of its own: raw streams.

use std::sync::{Arc, Mutex};

use super::{Bell, lock};

/// See the module. Its length is bounded by how many things there are.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    bell: Arc<Bell>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    things: Vec<T>,
    closed: bool,
}

impl<T> Listed<T> {
    /// An empty list, which rings this bell.
    pub(crate) const fn new(bell: Arc<Bell>) -> Self {
        Self { bell, state: Mutex::new(State { things: Vec::new(), closed: false }) }
    }

    /// Appends one. Where the node has stopped it is dropped.
    pub(crate) fn list(&self, thing: T) {
        {
            let mut state = lock(&self.state);
            if state.closed {
                return;
            }
            state.things.push(thing);
        }
        self.bell.ring();
    }

    /// Takes all, into an empty list.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        std::mem::swap(&mut lock(&self.state).things, into);
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).things.is_empty()
    }

    /// The node has stopped: what is listed is dropped, and nothing more is taken.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let rest = std::mem::take(&mut state.things);
        drop(state);
        drop(rest);
    }

    /// The bell that it rings.
    #[cfg(test)]
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::unused_bell;

    #[test]
    fn what_is_listed_rings_a_sleeping_host_once_and_is_dropped_after_the_end() {
        let listed = Listed::new(Arc::new(unused_bell()));
        listed.bell().sleep();
        [1, 2].into_iter().for_each(|thing| listed.list(thing));
        assert_eq!((listed.bell().rings(), listed.is_empty()), (1, false));
        let mut taken = Vec::new();
        listed.take(&mut taken);
        assert_eq!((taken, listed.is_empty()), (vec![1, 2], true));
        listed.list(3);
        listed.close();
        assert!(listed.is_empty(), "what was listed is dropped");
        listed.list(4);
        assert!(listed.is_empty(), "nobody takes it any more");
    }
}
