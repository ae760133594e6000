//! Classes of a QUIC link whose writers were told to wait because of what their class has queued. Over other transports a writer
//! waits for its stream alone.

use weir_base::stream::Class;

use crate::streams::Outbox;

/// The classes with writers to be told.
#[derive(Debug, Default)]
pub(super) struct RefusedWriters([Option<Class>; 6]);

impl RefusedWriters {
    /// Whether a class may write no more now; if so, its writers are told later. Control may always write.
    pub(super) fn refuses(&mut self, outbox: &Outbox, class: Class) -> bool {
        let full = class != Class::Control && outbox.room(class) == 0;
        if full && let Some(slot) = self.0.get_mut(class as usize) {
            *slot = Some(class);
        }
        full
    }

    /// Whether a class whose writers were refused may write again. Asked once for each time.
    pub(super) fn take_freed(&mut self, outbox: &Outbox) -> bool {
        let mut any = false;
        for slot in &mut self.0 {
            if slot.is_some_and(|class| outbox.room(class) > 0) {
                *slot = None;
                any = true;
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_was_refused_is_told_once_when_it_has_room() {
        let (mut refused_writers, mut outbox) = (RefusedWriters::default(), Outbox::default());
        let most = outbox.room(Class::Pool);
        outbox.add(Class::Pool, most);
        outbox.add(Class::Control, most);
        assert!(
            refused_writers.refuses(&outbox, Class::Pool) && !refused_writers.refuses(&outbox, Class::Tip)
        );
        assert!(!refused_writers.refuses(&outbox, Class::Control), "control may always write");
        assert!(!refused_writers.take_freed(&outbox));
        outbox.sub(Class::Pool, 1);
        assert!(refused_writers.take_freed(&outbox));
        assert!(!refused_writers.take_freed(&outbox), "once");
        assert_eq!((outbox.room(Class::Pool), outbox.queued()), (1, 2 * most - 1));
    }
}
