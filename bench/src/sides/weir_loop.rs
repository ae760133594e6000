//! A node whose event loop is a task of tokio's, as `crates/weir/examples/on_tokio.rs` has it.

use std::pin::pin;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};
use weir::{Builder, EventLoop, Network, Node, Turn};

/// A node looks around at least this often.
const LONGEST: Duration = Duration::from_secs(60);

/// Starts a node that a task of this runtime drives.
pub fn start<H>(builder: Builder<H>) -> (Network, Node, H) {
    let (events, node) = EventLoop::start(builder).expect("a node");
    tokio::spawn(async move { drive(events).await.expect("driven") });
    node
}

async fn drive(events: EventLoop) -> std::io::Result<()> {
    #[allow(deprecated)] // its successor is an unsafe function; the example says more
    let mut events = AsyncFd::with_interest(events, Interest::READABLE)?;
    let mut timer = pin!(sleep(LONGEST));
    loop {
        match events.get_mut().turn() {
            Turn::Over => return Ok(()),
            Turn::Again => tokio::task::yield_now().await,
            Turn::Wait(pause) => {
                let due = Instant::now() + pause.unwrap_or(LONGEST).min(LONGEST);
                if timer.is_elapsed() || due < timer.deadline() {
                    timer.as_mut().reset(due);
                }
                tokio::select! {
                    ready = events.readable() => ready?.clear_ready(),
                    () = events.get_ref().woken() => tokio::task::yield_now().await,
                    () = &mut timer => {}
                }
            }
        }
    }
}
