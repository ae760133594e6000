//! What whole networks are made of: who is linked to whom, and how large things are.

mod graph;
mod sizes;
mod transactions;

pub use graph::{Graph, rings, seeds_of};
pub use sizes::{SIZES, item_size};
pub(crate) use transactions::HEAD;
pub use transactions::{invalid, is_invalid, number_of, transaction};
