//! How much a turn may send.

use weir_base::KIB;

/// Bytes that a turn sends before the sockets are asked again: some milliseconds of sealing. What came meanwhile waits no longer,
/// however much all links have to send.
const TURN_BYTES: usize = 2 << 20;
/// Bytes that a turn sends while a socket still has what was not read: everybody's next request waits behind that. So
/// the socket empties faster than acknowledgements of what is sent fill it.
pub(crate) const UNREAD_BYTES: usize = 128 * KIB;

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
        self.0 = self.0.saturating_sub(bytes);
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
    fn a_turn_of_the_network_thread_is_bounded_by_bytes_and_not_by_calls() {
        for (unread, bytes) in [(true, 128 * KIB), (false, 2 << 20)] {
            let mut allowance = Allowance::of_turn(unread);
            (0..1_000).for_each(|_| allowance.spend(0));
            assert!(!allowance.is_spent());
            allowance.spend(bytes - 1);
            assert!(!allowance.is_spent());
            allowance.spend(1_000);
            assert!(allowance.is_spent());
        }
    }
}
