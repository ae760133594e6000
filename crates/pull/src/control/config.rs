//! The limits of control, and what a peer may do.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::{Instant, LimitError, units};

use super::codec;

/// Messages per second that a peer may send, and hold back for one second.
pub const MESSAGE_RATE: u64 = 64;
/// Bytes per second likewise.
pub const BYTE_RATE: u64 = 16_000;
/// How late a ping may be, as it waits for a tick of the node's clock.
const TICK: Duration = Instant::from_nanos(1).on_tick().since(Instant::ZERO);
/// Pongs that wait to be written; of more the oldest are dropped.
pub(super) const MAX_PONGS: usize = 4;
/// Between two updates of services to one peer: far below what the peer's rate limit allows.
pub(super) const SERVICES_PAUSE: Duration = Duration::from_secs(1);

/// Keep-alive, deadlines and key rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Pause between a pong and the next ping, which goes out on a full second. Default: 15 s.
    #[serde(with = "units::duration")]
    pub interval: Duration,
    /// A link on which nothing was heard on control, or no pong came to a ping, for so long is closed. At least a second longer than
    /// `interval`. Default: 45 s.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
    /// How long the peer's hello may take. Default: 5 s.
    #[serde(with = "units::duration")]
    pub hello_timeout: Duration,
    /// How long a short-id key is current. Default: 1 h.
    #[serde(with = "units::duration")]
    pub key_life: Duration,
    /// How long the key before it stays valid. Default: 60 s.
    #[serde(with = "units::duration")]
    pub key_grace: Duration,
    /// Streams that the peer may have open at once on a link, told in hello. Default: 256. Not of a file: the stack takes it from
    /// `streams.max_inbound`.
    #[serde(skip)]
    pub max_streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(45),
            hello_timeout: Duration::from_secs(5),
            key_life: Duration::from_secs(3600),
            key_grace: Duration::from_secs(60),
            max_streams: 256,
        }
    }
}

impl Config {
    /// Checks every field; names the first that does not hold, and the remedy.
    pub(crate) fn validate(&self) -> Result<(), LimitError> {
        if self.interval.is_zero() {
            return Err(LimitError::new("interval", "must be above zero; 15 s is usual"));
        }
        if self.idle_timeout < self.interval.saturating_add(TICK) {
            let error = LimitError::new("idle_timeout", "must be longer than ").field("interval");
            return Err(error.text(" by a second or more: pings go out on full seconds"));
        }
        if self.hello_timeout.is_zero() {
            return Err(LimitError::new("hello_timeout", "must be above zero; 5 s is usual"));
        }
        if self.max_streams < codec::MIN_STREAMS {
            let remedy = "must be at least 32: what a peer may open before hello";
            return Err(LimitError::new("max_streams", remedy));
        }
        if self.key_life <= self.key_grace {
            return Err(LimitError::new("key_life", "must be longer than ").field("key_grace"));
        }
        Ok(())
    }
}
