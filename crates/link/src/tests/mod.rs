//! Two or more [`Links`](crate::Links) joined in virtual time: scenarios, one a file.

mod blocked_sockets;
mod by_name;
mod by_name_hostile;
mod classes;
mod dials_and_slots;
mod duplicates;
mod ends_without_room;
mod flow;
mod frames_flow;
mod frames_hostile;
mod gates;
mod gives_way;
pub(crate) mod harness;
mod pinned;
mod pipes;

mod quic_flow;
mod quic_hostile;
mod quic_names;
mod quic_names_hostile;
mod quic_setup;
mod quic_windows;
mod random_use;
mod reset_tokens;
mod storms;
mod tcp_flow;
mod tcp_hostile;
mod tcp_setup;
mod tubes;
mod what_leaves;
