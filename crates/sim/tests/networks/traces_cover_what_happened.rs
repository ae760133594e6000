//! What an operator does to nodes and paths, and what applications decide, is in the trace at once, whatever comes of it.

use crate::common;
use crate::pair::{A, B, millis, pair};

use std::sync::Arc;

use weir_base::Instant;
use weir_sim::{Actor, Checking, Host, Model, Network, Node, Path, Place, Udp};
use weir_stack::{ConfigError, Stack};

/// Something that is done to a network, and what it is called.
type Act = (&'static str, fn(&mut Network));

#[test]
fn what_is_done_to_nodes_and_paths_is_traced() {
    let acts: [Act; 10] = [
        ("crash", |net| drop(net.host.computer(B).crash())),
        ("restart", |net| net.restart(B).unwrap()),
        ("power off", |net| drop(net.host.computer(B).power_off())),
        ("restart", |net| net.restart(B).unwrap()),
        ("hang", |net| net.host.computer(B).hang()),
        ("go on", |net| net.host.computer(B).go_on()),
        ("block", |net| net.host.block(A, B)),
        ("heal", |net| net.host.heal(A, B)),
        ("reset", |net| net.host.set_path(A, B, Path::Resetting)),
        ("move", |net| assert!(net.host.computer(B).relocate(Place::NEAR).is_some())),
    ];
    let mut net = pair(|_| {});
    for (what, act) in acts {
        net.run(millis(100), |_, _, _| {});
        let before = (net.host.trace_hash(), net.host.events());
        act(&mut net);
        assert!(net.host.events() > before.1, "{what} is no event");
        assert_ne!(net.host.trace_hash(), before.0, "{what}");
    }
}

/// A node that says that its application gave so many verdicts at its first turn, and is an honest one otherwise.
struct Deciding(Actor, u64);

impl Node for Deciding {
    fn stack(&mut self) -> &mut Stack {
        self.0.stack()
    }

    fn turned(&mut self, now: Instant) -> bool {
        self.0.turned(now)
    }

    fn verdicts(&mut self) -> u64 {
        std::mem::take(&mut self.1)
    }
}

#[test]
fn verdicts_are_traced_with_their_number() {
    let trace = |verdicts| {
        let mut host = Host::new(1, Model::calm()); // a verdict takes no time
        let config = Arc::new(common::setup(1, 1, 1).config);
        host.add(Place::NEAR, Udp::None, |birth| {
            let (actor, peer) = Actor::new(&birth, config, Checking::AtOnce)?;
            Ok::<_, ConfigError>((Deciding(actor, verdicts), peer))
        })
        .unwrap();
        host.run(millis(100));
        (host.events(), host.trace_hash())
    };
    let (none, one, two) = (trace(0), trace(1), trace(2));
    assert_eq!((one.0, two.0), (none.0 + 1, none.0 + 1));
    assert_ne!(one.1, two.1);
}
