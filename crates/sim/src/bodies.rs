//! Bodies of items, held once for all nodes of a run: the first to be given one keeps it, and the others share its buffer.
//!
//! Small bodies are copied by their sender and by their receiver, and over QUIC and TCP all are: without this, each node would
//! hold copies of its own, and they would be the larger part of a node's memory. It stands for an application that keeps
//! items in memory of its own ([`Command::Share`](weir_stack::pool::Command::Share)).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Parts, each with a lock of its own, so that threads seldom wait for each other.
const PARTS: usize = 64;

/// So many bodies a part has at least before it looks for those that only it still holds.
const FEW: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bodies {
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    bodies: BTreeMap<[u8; 32], Bytes>,
    swept: usize, // bodies that were left when it looked for the last time
}

impl Default for Bodies {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Bodies {
    /// The body that all nodes share whose SHA-256 is `id`: `bytes`, where there was none.
    pub(crate) fn share(&self, id: &[u8; 32], bytes: &Bytes) -> Bytes {
        let number = usize::from(id.first().copied().unwrap_or_default()) % PARTS;
        let Some(part) = self.parts.get(number) else { return bytes.clone() };
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner); // each change of it is whole
        if let Some(shared) = part.bodies.get(id) {
            return shared.clone();
        }
        if part.bodies.len() >= 2 * part.swept.max(FEW) {
            part.bodies.retain(|_, body| !body.is_unique());
            part.swept = part.bodies.len();
        }
        part.bodies.insert(*id, bytes.clone());
        bytes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id of the first part.
    fn id(number: u64) -> [u8; 32] {
        let mut id = [0; 32];
        id.iter_mut().skip(1).zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        id
    }

    #[test]
    fn the_first_buffer_is_everybodys_while_anybody_has_it() {
        let bodies = Bodies::default();
        let [first, second] = [1, 1].map(|byte| Bytes::from(vec![byte; 40]));
        let shared = bodies.share(&id(0), &first);
        assert_eq!(bodies.share(&id(0), &second).as_ptr(), first.as_ptr());
        drop(first);
        let count = |bodies: &Bodies| bodies.parts[0].lock().unwrap().bodies.len();
        for number in 1..1_000 {
            bodies.share(&id(number), &Bytes::from(vec![2; 40])); // nobody keeps it
            assert!(count(&bodies) <= 2 * FEW);
        }
        assert_eq!(bodies.share(&id(0), &second).as_ptr(), shared.as_ptr());
    }
}
