use crate::ShortKey;
use crate::channel::ChannelId;
use weir_base::{Rng, UnixTime};

use super::*;
use crate::keys::{Keys, NumberedKey};

#[test]
fn values_of_links_that_are_gone_wait_for_a_verdict_but_not_without_end() {
    let keys = Keys { current: NumberedKey { number: 1, key: ShortKey([0; 16]) }, previous: None };
    let rng = Rng::from_number(1);
    let setup = MachineSetup { channel: ChannelId(1), tickets: Tickets::new(1), keys, rng };
    let mut tip = Tip::new(Config::default(), setup);
    let tickets: Vec<Ticket> = (0..=MAX_ORPHANS).map(|_| tip.tickets.next()).collect();
    for ticket in &tickets {
        tip.undecided.insert(*ticket, Undecided { link: LinkId(1), value: "value".into() });
        tip.orphaned(*ticket);
    }
    assert_eq!((tip.undecided.len(), tip.orphans.len()), (MAX_ORPHANS, MAX_ORPHANS));
    let ignore = |ticket| Command::Verdict { ticket, verdict: Verdict::Ignore };
    assert_eq!(tip.command(Instant::ZERO, ignore(tickets[0])), Err(Refused::UnknownTicket));
    assert_eq!(tip.command(Instant::ZERO, ignore(tickets[1])), Ok(tickets[1]));
    assert_eq!((tip.undecided.len(), tip.orphans.len()), (MAX_ORPHANS - 1, MAX_ORPHANS - 1));
}

#[test]
fn evidence_waits_for_its_slot_and_skips_peers_that_take_no_value_so_large() {
    let mut relay = Relay::new(&Config::default());
    let now = Instant::ZERO;
    let (mut small, mut large) = (peer::Server::new(4, &relay), peer::Server::new(5, &relay));
    let begins = Some(UnixTime::from_millis(20_000));
    let grounds = |begins| Grounds { slot: SlotKey([1; 32]), unvalidated: 0, begins };
    relay.adopt(now, "one".into(), &grounds(None)).unwrap();
    relay.withdraw();
    relay.set_wall(now, UnixTime::from_millis(19_499));
    relay.evidence(now, "other".into(), &grounds(begins));
    assert_eq!(large.next(&relay, &peer::Crossed::default()), None, "501 ms before it");
    relay.set_wall(now, UnixTime::from_millis(19_500));
    relay.evidence(now, "other".into(), &grounds(begins));
    let evidence = peer::Next::Evidence(0, "other".into());
    assert_eq!(large.next(&relay, &peer::Crossed::default()), Some(evidence));
    assert_eq!(small.next(&relay, &peer::Crossed::default()), None);
}
