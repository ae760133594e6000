//! Items, held once for all nodes of a run: the first to be given one keeps it, and the others share it.
//!
//! Small bodies are copied by their sender and by their receiver, and over QUIC and TCP all are; beside its body an item takes 104
//! bytes: without this, each node would hold copies of its own, and they would be the larger part of a node's memory. It stands for
//! an application that has the items already ([`Command::Share`](weir_stack::pool::Command::Share)).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use weir_stack::pool::Item;

/// Parts, each with a lock of its own, so that threads seldom wait for each other.
const PARTS: usize = 64;

/// So many items a part has at least before it looks for those that only it still holds.
const FEW: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bodies {
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    items: BTreeMap<[u8; 32], Item>,
    swept: usize, // items that were left when it looked for the last time
}

impl Default for Bodies {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Bodies {
    /// The item that all nodes share whose SHA-256 is `id`: what `make` makes, where there was none. `None` where that makes none.
    pub(crate) fn share(&self, id: &[u8; 32], make: impl FnOnce() -> Option<Item>) -> Option<Item> {
        let number = usize::from(id.first().copied().unwrap_or_default()) % PARTS;
        let mut part = self.parts.get(number)?.lock().unwrap_or_else(PoisonError::into_inner); // each change of it is whole
        if let Some(shared) = part.items.get(id) {
            return Some(shared.clone());
        }
        let item = make()?;
        if part.items.len() >= 2 * part.swept.max(FEW) {
            part.items.retain(|_, item| item.is_shared());
            part.swept = part.items.len();
        }
        part.items.insert(*id, item.clone());
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_stack::pool::Summary;

    use super::*;

    /// An id of the first part.
    fn id(number: u64) -> [u8; 32] {
        let mut id = [0; 32];
        id.iter_mut().skip(1).zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        id
    }

    #[test]
    fn the_first_item_is_everybodys_while_anybody_has_it() {
        let bodies = Bodies::default();
        let [first, second] = [1, 1].map(|byte| Bytes::from(vec![byte; 40]));
        let make = |bytes: &Bytes| Some(Item::new(bytes.clone(), Summary::EMPTY, 1));
        let kept = bodies.share(&id(0), || make(&first)).unwrap();
        assert_eq!(bodies.share(&id(0), || make(&second)).unwrap().bytes().as_ptr(), first.as_ptr());
        let count = |bodies: &Bodies| bodies.parts[0].lock().unwrap().items.len();
        for number in 1..1_000 {
            bodies.share(&id(number), || make(&second)); // nobody keeps it
            assert!(count(&bodies) <= 2 * FEW);
        }
        assert_eq!(bodies.share(&id(0), || None).unwrap().bytes().as_ptr(), kept.bytes().as_ptr());
        assert!(bodies.share(&id(1_000), || None).is_none(), "nobody has made it");
    }
}
