//! The simulated host: real stacks in virtual time, on a modelled network, watched at every step.

pub mod check;
pub mod host;
pub mod model;
mod queue;
mod trace;

pub use host::{Birth, Captured, Host, Node, NodeId, NodeTraffic, Outcome, Step, Tamper, Udp, WALL};
pub use model::{Line, Model, Place, Region};
