//! What the streams of a link have written and what is below did not take yet: how much of each class, and whose turn it is.

use weir_base::stream::Class;

use super::scheduler::Scheduler;

/// Bytes of one class that may wait on a link; the last write may pass it. Which class what is below gets its bytes from is
/// decided when it takes them, so that more would only wait.
const QUEUED_MAX: u64 = 64 * 1024;

/// Written bytes by class, and the streams that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    scheduler: Scheduler,
    queued: [u64; 6],
}

impl Outbox {
    /// Bytes were written.
    pub(crate) fn add(&mut self, class: Class, len: u64) {
        if let Some(queued) = self.queued.get_mut(class as usize) {
            *queued += len;
        }
    }

    /// Bytes that were written do not wait any more: they were taken, or dropped.
    pub(crate) fn sub(&mut self, class: Class, len: u64) {
        if let Some(queued) = self.queued.get_mut(class as usize) {
            *queued = queued.saturating_sub(len);
        }
    }

    /// Bytes that a class may still write.
    pub(crate) fn room(&self, class: Class) -> u64 {
        QUEUED_MAX.saturating_sub(self.queued_of(class))
    }

    /// Bytes of a class.
    pub(crate) fn queued_of(&self, class: Class) -> u64 {
        self.queued.get(class as usize).copied().unwrap_or_default()
    }

    /// Bytes of all classes.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.iter().sum()
    }

    /// A stream with bytes waits for its turn. The caller sees to it that it waits once.
    pub(crate) fn push(&mut self, stream: u64, class: Class) {
        self.scheduler.push(stream, class);
    }

    /// The stream whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<u64> {
        self.scheduler.pop()
    }

    /// The stream of control whose turn it is.
    pub(crate) fn pop_control(&mut self) -> Option<u64> {
        self.scheduler.pop_control()
    }

    /// Whether no stream waits for its turn.
    pub(crate) fn nobody_waits(&self) -> bool {
        self.scheduler.is_empty()
    }

    /// So many bytes of a class were taken.
    pub(crate) fn served(&mut self, class: Class, len: u64) {
        self.scheduler.served(class, len);
    }

    /// A stream is of another class now, with all that it has queued.
    pub(crate) fn reclass(&mut self, stream: u64, half: &mut super::SendHalf, class: Class) {
        let len = half.queue.len() as u64;
        self.sub(half.class, len);
        self.add(class, len);
        half.class = class;
        if half.scheduled {
            self.scheduler.remove(stream);
            self.scheduler.push(stream, class);
        }
    }

    /// Forgets a stream.
    pub(crate) fn remove(&mut self, stream: u64) {
        self.scheduler.remove(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{SendEnd, SendHalf};

    #[test]
    fn a_stream_of_another_class_takes_its_bytes_and_its_turn_along() {
        let mut outbox = Outbox::default();
        let mut half = SendHalf::new(SendEnd::Open, Class::Bulk);
        half.queue.push(bytes::Bytes::from_static(&[1; 1000]));
        half.scheduled = true;
        outbox.add(Class::Bulk, 1000);
        outbox.push(1, Class::Pool);
        outbox.push(2, Class::Bulk);
        outbox.reclass(2, &mut half, Class::Control);
        assert_eq!(outbox.room(Class::Control), QUEUED_MAX - 1000);
        assert_eq!(outbox.room(Class::Bulk), QUEUED_MAX);
        assert_eq!([outbox.pop(), outbox.pop(), outbox.pop()], [Some(2), Some(1), None]);
    }
}
