//! Commands whose handle does not wait for an answer.

use weir_pull::{ChannelId, Ticket};
use weir_stack::Refused;

/// A refusal of such a command is a mistake in the program or a race with the end.
pub(super) fn note_refusal(shape: &'static str, channel: ChannelId, told: Result<Ticket, Refused>) {
    if let Err(refused) = told {
        tracing::debug!(shape, channel = channel.0, %refused, "a command was refused");
    }
}
