//! Nodes on tokio: no threads of their own; a task of the runtime drives each, beside the tasks that use it.
//!
//! `cargo run -p weir-net --example on_tokio`
#![allow(clippy::print_stdout)]

use std::error::Error;

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    #[cfg(unix)]
    on_unix::run()?;
    #[cfg(not(unix))]
    println!("tokio watches descriptors on Unix alone");
    Ok(())
}

#[cfg(unix)]
mod on_unix {
    use std::error::Error;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::time::{Instant, sleep};
    use weir::{EventLoop, Method, Network, NetworkId, Turn};

    const SQUARE: Method<u64, u64> = Method::new(5, "square");

    /// A node looks around at least this often.
    const LONGEST: Duration = Duration::from_secs(60);

    /// Drives a node until it has ended.
    async fn drive(events: EventLoop) -> std::io::Result<()> {
        // Its successor is an unsafe function, because tokio cannot know that a descriptor stays the same. This one does.
        #[allow(deprecated)]
        let mut events = AsyncFd::with_interest(events, Interest::READABLE)?;
        let mut timer = pin!(sleep(LONGEST));
        loop {
            match events.get_mut().turn() {
                Turn::Over => return Ok(()),
                Turn::Again => tokio::task::yield_now().await,
                Turn::Wait(pause) => {
                    // Moved to earlier times alone: a timer that is moved with every message costs more than a turn too many.
                    let due = Instant::now() + pause.unwrap_or(LONGEST).min(LONGEST);
                    if timer.is_elapsed() || due < timer.deadline() {
                        timer.as_mut().reset(due);
                    }
                    tokio::select! {
                        ready = events.readable() => ready?.clear_ready(),
                        // Whoever else has something for the node says so first: one turn carries out all of it.
                        () = events.get_ref().woken() => tokio::task::yield_now().await,
                        () = &mut timer => {}
                    }
                }
            }
        }
    }

    pub(super) fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let node =
                || Ok::<_, weir::StartError>(Network::builder(weir::random_keypair()?, NetworkId([1; 32])));
            let served = node()?.channels(SQUARE.serve()).listen("127.0.0.1:0");
            let (events, (server, server_node, requests)) = EventLoop::start(served)?;
            let server_ends = tokio::spawn(drive(events));
            let (events, (client, _client_node, square)) =
                EventLoop::start(node()?.channels(SQUARE).listen("127.0.0.1:0"))?;
            tokio::spawn(drive(events));
            tokio::spawn(async move {
                while let Some(request) = requests.next().await {
                    request.answer(request.query().saturating_mul(*request.query()));
                }
            });

            let peer = client.connect(&server.addresses()[0]).await?;
            let answer = square.call(peer, 7).await?;
            println!("7 * 7 = {answer}");
            assert_eq!(answer, 49);

            server_node.shutdown(Duration::from_secs(1)).await;
            server_ends.await??;
            Ok(())
        })
    }
}
