//! A node that advertises four megabytes more than it has lent is seen over frames: with the base windows of all links that may exist
//! that is more than its budget, though its peers' windows alone are not.

use crate::common;

use weir_base::Instant;
use weir_sim::flood::Flood;
use weir_sim::{NodeId, Outcome, Tamper};
use weir_stack::{Frame, WireId};

const MIB: u64 = 1 << 20;

/// Says that much more than its stack does, on each link.
struct Generous(u64);

impl Tamper for Generous {
    fn outgoing(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        out.send.push(match frame {
            Frame::LinkCredit { total } => Frame::LinkCredit { total: total + self.0 },
            other => other,
        });
    }

    fn incoming(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        out.receive.push(frame);
    }
}

fn over(more: u64) -> (u64, bool) {
    let mut setup = common::setup(4, 3, 7);
    setup.config.budget.receive_total = 22 * MIB; // of which 16 are base windows
    let mut flood = Flood::new(setup, common::load(400, 2, 10)).unwrap();
    flood.net.host.computer(NodeId(0)).tamper(Box::new(Generous(more)));
    flood.run();
    (flood.net.found().peak_over, flood.spread().converged.is_some())
}

#[test]
fn advertised_and_reserved_together_are_compared_with_the_budget_of_the_node() {
    assert_eq!(over(0), (0, true));
    let (excess, converged) = over(4 * MIB);
    // three links of four megabytes each, where six are left
    assert!(converged && (5 * MIB..7 * MIB).contains(&excess), "{excess}");
}
