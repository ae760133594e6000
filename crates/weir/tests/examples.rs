//! The examples run.
#![allow(unreachable_pub)] // their `main` is called from here

#[path = "../examples/call.rs"]
mod call;
#[path = "../examples/cluster.rs"]
mod cluster;
#[path = "../examples/events.rs"]
mod events;
#[path = "../examples/gate.rs"]
mod gate;
#[path = "../examples/on_tokio.rs"]
mod on_tokio;
#[path = "../examples/own_host.rs"]
mod own_host;
#[path = "../examples/pool.rs"]
mod pool;
#[path = "../examples/protocol.rs"]
mod protocol;
#[path = "../examples/raw.rs"]
mod raw;
#[path = "../examples/request.rs"]
mod request;
#[path = "../examples/tip.rs"]
mod tip;

#[test]
fn call_runs() {
    call::main().unwrap();
}

#[test]
fn cluster_runs() {
    cluster::main().unwrap();
}

#[test]
fn events_runs() {
    events::main().unwrap();
}

#[test]
fn gate_runs() {
    gate::main().unwrap();
}

#[test]
fn on_tokio_runs() {
    on_tokio::main().unwrap();
}

#[test]
fn own_host_runs_and_is_short() {
    own_host::main().unwrap();
    assert!(include_str!("../examples/own_host.rs").lines().count() < 150);
}

#[test]
fn pool_runs() {
    pool::main().unwrap();
}

#[test]
fn protocol_runs() {
    protocol::main().unwrap();
}

#[test]
fn raw_runs() {
    raw::main().unwrap();
}

#[test]
fn request_runs() {
    request::main().unwrap();
}

#[test]
fn tip_runs() {
    tip::main().unwrap();
}
