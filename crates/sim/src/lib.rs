//! The simulated host: real stacks in virtual time, on a modelled network, watched at every step.
//!
//! - [`Host`] runs nodes of any kind that has a [`Stack`](weir_stack::Stack) ([`Node`]), and carries their frames and
//!   datagrams as [`Model`] says; [`Tamper`] stands between a misbehaving node and the network;
//! - [`Actor`] is the node of whole-network tests: a bare stack and the simplest application;
//! - [`check::Checker`] watches that nothing is sent that was not granted;
//! - [`cluster::Cluster`] hosts whole nodes, for the tests of applications;
//! - every run has a trace hash: same seed, same hash.

// numbers of wires and nodes, and bytes of one run, fit 32 and 52 bits; the simulator runs on hosts of 64 bits
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]

mod actor;
mod bodies;
mod calibrate;
pub mod check;
pub mod cluster;
pub mod compare;
mod deliveries;
mod dials;
pub mod flood;
pub mod host;
mod id;
mod links;
pub mod load;
mod look;
pub mod misbehave;
pub mod model;
mod network;
mod queue;
pub mod report;
mod scenarios;
mod trace;

pub use actor::{Actor, Checking, Note, Told, Undecided, keypair};
pub use calibrate::{Calibration, Sample, calibrate};
pub use dials::Dials;
pub use host::{
    Birth, ByHand, Captured, DeviceTraffic, Drops, Heard, Host, Inside, Node, NodeId, NodeTraffic, Outcome,
    Path, Reason, Step, Tamper, Turned, Udp, WALL, Work,
};
pub use look::TableBound;
pub use misbehave::tamper;
pub use model::{LAN, Line, Model, Place, Processor, Processors, Region};
pub use network::{Network, Seen, Setup, Transport};
pub use report::{Percentiles, Report, Stopwatch};
pub use scenarios::{Options, RunError, SCENARIOS, Scenario, run, run_measured};
pub use weir_base::Rng;
