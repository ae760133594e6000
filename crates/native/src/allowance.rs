//! How much a turn may send.

use weir_base::KIB;

/// Bytes that a turn sends before the sockets are asked again: less than a millisecond of sealing. What came meanwhile waits no longer,
/// however much all links have to send.
const TURN_BYTES: usize = 256 * KIB;
/// Bytes that a turn sends while a socket still has what was not read: everybody's next request waits behind that. So
/// the socket empties faster than acknowledgements of what is sent fill it.
pub(crate) const UNREAD_BYTES: usize = 64 * KIB;

/// What a call counts beside its bytes: it takes about as long as sealing so many.
pub(crate) const EACH: usize = 4 * KIB;

/// Bytes that may still be sent in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance(usize);

impl Allowance {
    /// Of so many bytes.
    #[cfg(test)]
    pub(crate) const fn of(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Of a turn.
    pub(crate) const fn of_turn(unread: bool) -> Self {
        Self(if unread { UNREAD_BYTES } else { TURN_BYTES })
    }

    /// One call has sent so much. The last one may send more than was left.
    pub(crate) const fn spend(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes.saturating_add(EACH));
    }

    /// Whether nothing more may be sent.
    pub(crate) const fn is_spent(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_of_the_network_thread_is_bounded_by_bytes_and_calls() {
        for (unread, bytes) in [(true, 64 * KIB), (false, 256 * KIB)] {
            let mut allowance = Allowance::of_turn(unread);
            allowance.spend(bytes - EACH - 1);
            assert!(!allowance.is_spent());
            allowance.spend(1_000);
            assert!(allowance.is_spent());

            let mut allowance = Allowance::of_turn(unread);
            (1..bytes / EACH).for_each(|_| allowance.spend(0));
            assert!(!allowance.is_spent());
            allowance.spend(0);
            assert!(allowance.is_spent());
        }
    }
}
