//! A node takes a transfer of its own user only where it is signed and next in order: its peers would blame the node for others.

use weir_chain::Transfer;
use weir_chain::ledger::Refused;
use weir_chain::node::SubmitError;

use crate::rig::Rig;

#[test]
fn own_transfers_are_checked_before_they_are_taken() {
    let mut rig = Rig::new(41);
    let node = rig.start(1);
    let right = rig.transfer(0, 1);
    let mut bytes = right.encoded().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = Transfer::decode(bytes.into()).unwrap();
    let submit = |transfer: &Transfer| rig.cluster.run_until(node.submit(transfer));
    assert_eq!(submit(&forged), Err(SubmitError::Signature));
    assert_eq!(submit(&rig.transfer(1, 1)), Err(SubmitError::Refused(Refused::NonceGap)));
    assert_eq!((node.waiting(), node.gaps()), (0, 0));
    assert_eq!(submit(&right), Ok(()));
    assert_eq!(submit(&right), Err(SubmitError::Refused(Refused::NonceUsed)));
}
