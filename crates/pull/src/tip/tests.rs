use weir_base::{ChannelId, Rng, ShortKey};

use super::*;
use crate::control::{Keys, NumberedKey};

#[test]
fn values_of_links_that_are_gone_wait_for_a_verdict_but_not_without_end() {
    let keys = Keys { current: NumberedKey { number: 1, key: ShortKey([0; 16]) }, previous: None };
    let rng = Rng::from_number(1);
    let seat = Seat { channel: ChannelId(1), tickets: Tickets::new(1), keys, rng };
    let mut tip = Tip::new(Config::default(), seat);
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
