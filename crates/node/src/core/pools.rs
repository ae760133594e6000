//! From the handles of pools to the stack, and what the stack refuses.

use std::collections::BTreeMap;

use weir_base::Instant;
use weir_pull::pool::{self, Verdict};
use weir_pull::{ChannelId, Refused as PullRefused, Ticket};
use weir_stack::{Command, Refused, Stack};

use super::{Core, PoolOp, note_refusal};
use crate::event::Event;
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
}

impl Core {
    /// Carries out what a pool's handle wants.
    pub(super) fn pool(&mut self, now: Instant, channel: ChannelId, op: PoolOp) {
        let command = match op {
            PoolOp::Publish(item) => {
                let id = ItemId(item.id());
                let told = command(&mut self.stack, now, channel, pool::Command::Publish { item });
                return self.note_insert(channel, id, told.map(|_| ()));
            }
            PoolOp::Batch { remove, insert } => return self.batch(now, channel, &remove, insert),
            PoolOp::Verdict(ticket, at, verdict) => {
                self.pools.undecided = self.pools.undecided.saturating_sub(1);
                pool::Command::Verdict { ticket, at, verdict }
            }
            PoolOp::Taken(ticket, at) => pool::Command::Taken { ticket, at },
            PoolOp::Remove(id) => pool::Command::Remove { id: id.0 },
            PoolOp::Pause(paused) => pool::Command::Pause(paused),
            PoolOp::Reconsider => pool::Command::Reconsider,
            PoolOp::Resync => pool::Command::Resync,
            PoolOp::Floor(priority) => pool::Command::Floor(priority),
        };
        note_refusal("pool", channel, self::command(&mut self.stack, now, channel, command));
    }

    fn batch(&mut self, now: Instant, channel: ChannelId, remove: &[ItemId], insert: Vec<pool::Item>) {
        let remove = remove.iter().map(|id| id.0).collect();
        let ids = insert.iter().map(|item| ItemId(item.id())).collect();
        match command(&mut self.stack, now, channel, pool::Command::Batch { remove, insert }) {
            Ok(ticket) => {
                self.pools.batches.insert((channel, ticket), ids);
            }
            refused => note_refusal("pool", channel, refused),
        }
    }

    /// The pool has said what became of a batch.
    pub(super) fn batch_done(
        &mut self,
        channel: ChannelId,
        ticket: Ticket,
        inserts: Vec<Result<(), PullRefused>>,
    ) {
        let ids = self.pools.batches.remove(&(channel, ticket)).unwrap_or_default();
        for (id, insert) in ids.into_iter().zip(inserts) {
            self.note_insert(channel, id, insert.map_err(Refused::Pull));
        }
    }

    /// The handle has checked the item, so what is left is a pool full of items that are wanted at least as much.
    fn note_insert(&mut self, channel: ChannelId, id: ItemId, inserted: Result<(), Refused>) {
        match inserted {
            Ok(()) => {}
            Err(Refused::Pull(PullRefused::Busy)) => self.announce(&Event::Evicted { channel, id }),
            Err(refused) => tracing::warn!(channel = channel.0, %id, %refused, "an item was not published"),
        }
    }

    /// An item to decide on.
    pub(super) fn candidate(&mut self, now: Instant, channel: ChannelId, candidate: super::EncodedCandidate) {
        let Some(crate::shared::Mail::Pool(candidates)) = self.shared.mail(channel) else { return };
        let ticket = candidate.ticket;
        self.pools.handed_out();
        if candidates.push(candidate, &mut self.wakers).is_err() {
            // It holds what the pool hands out without a verdict; this is for a closed one.
            let verdict = Verdict::Defer(crate::pool::DEFER_DROPPED);
            self.pool(now, channel, PoolOp::Verdict(ticket, now, verdict));
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
