//! What is done, the same for every side.

pub mod calls;
pub mod pools;
