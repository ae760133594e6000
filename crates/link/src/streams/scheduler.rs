//! Which stream's bytes go next on a link: control first, then each class its guaranteed share, the rest in order.
//!
//! Source: `docs/spec/streams.md`, "Classes".

use std::collections::VecDeque;

use weir_base::stream::Class;

/// Classes after control with their guaranteed shares, in percent.
const SHARES: [(Class, u64); 5] =
    [(Class::Consensus, 20), (Class::Tip, 10), (Class::Block, 15), (Class::Pool, 10), (Class::Bulk, 5)];

/// Served bytes are halved when they reach this, so that shares are of the recent past. 1 MiB is some fifty frames.
const MEMORY: u64 = 1 << 20;

/// Streams with bytes to send, by class; within a class round robin.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    control: VecDeque<u64>,
    rest: [Queue; 5],
    waiting: usize, // streams in `rest`
    served: u64,    // sum over `rest`
}

#[derive(Debug, Default)]
struct Queue {
    streams: VecDeque<u64>,
    served: u64,
}

impl Scheduler {
    /// Puts a stream at the end of its class. The caller sees to it that it waits once.
    pub(super) fn push(&mut self, stream: u64, class: Class) {
        match self.queue(class) {
            Some(queue) => {
                queue.streams.push_back(stream);
                self.waiting += 1;
            }
            None => self.control.push_back(stream),
        }
    }

    /// Takes the stream whose turn it is.
    pub(super) fn pop(&mut self) -> Option<u64> {
        if let Some(stream) = self.pop_control() {
            return Some(stream);
        }
        if self.waiting == 0 {
            return None; // asked after every input of a link
        }
        let total = self.served;
        let waiting = |queue: &Queue| !queue.streams.is_empty();
        let below = |(queue, (_, share)): &(&Queue, &(Class, u64))| {
            waiting(queue) && queue.served.saturating_mul(100) < share.saturating_mul(total)
        };
        let below_share = self.rest.iter().zip(&SHARES).position(|pair| below(&pair));
        let index = below_share.or_else(|| self.rest.iter().position(waiting))?;
        self.waiting -= 1;
        self.rest.get_mut(index)?.streams.pop_front()
    }

    /// Takes the stream of control whose turn it is.
    pub(super) fn pop_control(&mut self) -> Option<u64> {
        self.control.pop_front()
    }

    /// Whether no stream waits.
    pub(super) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.waiting == 0
    }

    /// Counts `len` bytes as served to `class`.
    pub(super) fn served(&mut self, class: Class, len: u64) {
        if let Some(queue) = self.queue(class) {
            queue.served += len;
            self.served += len;
        }
        if self.served >= MEMORY {
            self.rest.iter_mut().for_each(|queue| queue.served /= 2);
            self.served = self.rest.iter().map(|queue| queue.served).sum();
        }
    }

    /// Forgets a stream.
    pub(super) fn remove(&mut self, stream: u64) {
        self.control.retain(|waiting| *waiting != stream);
        self.rest.iter_mut().for_each(|queue| queue.streams.retain(|waiting| *waiting != stream));
        self.waiting = self.rest.iter().map(|queue| queue.streams.len()).sum();
    }

    /// The queue of a class; `None` for control.
    fn queue(&mut self, class: Class) -> Option<&mut Queue> {
        let index = SHARES.iter().position(|(other, _)| *other == class)?;
        self.rest.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves 1,000 frames of 1,000 bytes from streams numbered by class; returns frames per class.
    fn serve(classes: &[Class]) -> Vec<u64> {
        let mut scheduler = Scheduler::default();
        let mut count = vec![0; classes.len()];
        classes.iter().zip(0..).for_each(|(class, stream)| scheduler.push(stream, *class));
        for _ in 0..1000 {
            let stream = scheduler.pop().unwrap();
            let index = usize::try_from(stream).unwrap();
            count[index] += 1;
            scheduler.served(classes[index], 1000);
            scheduler.push(stream, classes[index]);
        }
        count
    }

    #[test]
    fn every_class_gets_its_share_and_the_first_the_rest() {
        let count = serve(&[Class::Consensus, Class::Tip, Class::Block, Class::Pool, Class::Bulk]);
        assert!(count[0] >= 550, "{count:?}");
        for (served, least) in count.iter().zip([200, 100, 150, 100, 50]) {
            assert!(*served + 10 >= least, "{count:?}");
        }
    }

    #[test]
    fn what_a_silent_class_leaves_goes_to_the_others_in_order() {
        let count = serve(&[Class::Pool, Class::Bulk]);
        assert!(count[0] >= 940 && count[1] >= 45, "{count:?}");
    }

    #[test]
    fn control_goes_before_all_and_streams_of_a_class_take_turns() {
        let mut scheduler = Scheduler::default();
        scheduler.push(1, Class::Pool);
        scheduler.push(5, Class::Pool);
        scheduler.push(0, Class::Control);
        assert_eq!(scheduler.pop(), Some(0));
        assert_eq!(scheduler.pop(), Some(1));
        scheduler.push(1, Class::Pool);
        assert_eq!(scheduler.pop(), Some(5));
        scheduler.remove(1);
        assert!(scheduler.is_empty());
        assert_eq!(scheduler.pop(), None);
    }
}
