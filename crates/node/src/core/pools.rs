//! From the handles of pools to the stack, and what the stack refuses.

use std::collections::BTreeMap;

use weir_base::Instant;
use weir_pull::pool;
use weir_pull::{ChannelId, Refused as PullRefused, Ticket};
use weir_stack::{Command, Refused, Stack};

use super::op::PoolOp;
use super::refusals::note_refusal;
use crate::message::ItemId;

/// What the pools of a node have to answer.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    batches: BTreeMap<(ChannelId, Ticket), Vec<ItemId>>, // what each puts in; until the pool says what became of it, this turn
    undecided: u64,                                      // candidates handed out and not decided
}

impl Pools {
    /// Whether there are candidates without a verdict.
    pub(crate) const fn has_undecided(&self) -> bool {
        self.undecided > 0
    }

    /// A candidate goes to the application.
    pub(crate) const fn handed_out(&mut self) {
        self.undecided += 1;
    }

    /// Carries out what a pool's handle wants. Returns an item that found no place.
    pub(super) fn carry_out(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        channel: ChannelId,
        op: PoolOp,
    ) -> Option<ItemId> {
        let command = match op {
            PoolOp::Publish(item) => {
                let id = ItemId(item.id());
                let told = command(stack, now, channel, pool::Command::Publish { item });
                return without_place(channel, id, told.map(|_| ()));
            }
            PoolOp::Batch { remove, insert } => {
                self.batch(now, stack, channel, &remove, insert);
                return None;
            }
            PoolOp::Verdict(ticket, at, verdict) => {
                self.undecided = self.undecided.saturating_sub(1);
                pool::Command::Verdict { ticket, at, verdict }
            }
            PoolOp::Taken(ticket, at) => pool::Command::Taken { ticket, at },
            PoolOp::Remove(id) => pool::Command::Remove { id: id.0 },
            PoolOp::Pause(paused) => pool::Command::Pause(paused),
            PoolOp::Reconsider => pool::Command::Reconsider,
            PoolOp::Resync => pool::Command::Resync,
            PoolOp::Floor(priority) => pool::Command::Floor(priority),
        };
        note_refusal("pool", channel, self::command(stack, now, channel, command));
        None
    }

    fn batch(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        channel: ChannelId,
        remove: &[ItemId],
        insert: Vec<pool::Item>,
    ) {
        let remove = remove.iter().map(|id| id.0).collect();
        let ids = insert.iter().map(|item| ItemId(item.id())).collect();
        match command(stack, now, channel, pool::Command::Batch { remove, insert }) {
            Ok(ticket) => {
                self.batches.insert((channel, ticket), ids);
            }
            refused => note_refusal("pool", channel, refused),
        }
    }

    /// The pool has said what became of a batch. Returns the items that found no place.
    pub(super) fn batch_done(
        &mut self,
        channel: ChannelId,
        ticket: Ticket,
        inserts: Vec<Result<(), PullRefused>>,
    ) -> impl Iterator<Item = ItemId> + use<> {
        let ids = self.batches.remove(&(channel, ticket)).unwrap_or_default();
        let each = ids.into_iter().zip(inserts);
        each.filter_map(move |(id, insert)| without_place(channel, id, insert.map_err(Refused::Pull)))
    }
}

/// The item, if it found no place: the handle has checked it, so what is left is a pool full of items that are wanted at least as much.
fn without_place(channel: ChannelId, id: ItemId, inserted: Result<(), Refused>) -> Option<ItemId> {
    match inserted {
        Ok(()) => None,
        Err(Refused::Pull(PullRefused::Busy)) => Some(id),
        Err(refused) => {
            tracing::warn!(channel = channel.0, %id, %refused, "an item was not published");
            None
        }
    }
}

fn command(
    stack: &mut Stack,
    now: Instant,
    channel: ChannelId,
    command: pool::Command,
) -> Result<Ticket, Refused> {
    stack.command(now, Command::Pull(weir_pull::Command::Pool(channel, command)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_batch_the_items_are_named_that_found_no_place() {
        const CHANNEL: ChannelId = ChannelId(4);
        let ids: Vec<ItemId> = (1..=3).map(|number| ItemId([number; 32])).collect();
        let mut pools = Pools::default();
        pools.batches.insert((CHANNEL, Ticket(7)), ids.clone());
        let inserts = vec![Ok(()), Err(PullRefused::Busy), Err(PullRefused::TooLarge)];
        let without: Vec<ItemId> = pools.batch_done(CHANNEL, Ticket(7), inserts.clone()).collect();
        assert_eq!(without, [ids[1]]);
        assert_eq!(pools.batch_done(CHANNEL, Ticket(7), inserts).count(), 0, "once");
    }
}
