//! The examples in the documentation of `weir-node` run in clusters, and so use `weir`, which is above it. A crate cannot depend on one that
//! depends on it, not for tests either if both are published. So they run here: a module for each file of its sources.

#[cfg(doctest)]
include!(concat!(env!("OUT_DIR"), "/modules.rs"));
