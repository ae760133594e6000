//! quinn on multi-thread tokio, as its users write it.

use std::sync::Arc;
use std::time::Instant;

use crate::job::{Latencies, Transfer};
use crate::machine::cpu_seconds;
use crate::process::serve_until_stdin_closes;
use crate::settings;
use crate::workload::calls::{CALL_BYTES, drive};

fn endpoint(server: bool) -> quinn::Endpoint {
    let server = server.then(settings::server_config);
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(quinn::EndpointConfig::default(), server, settings::socket(), runtime)
        .expect("an endpoint")
}

async fn connect(to: &str) -> (quinn::Endpoint, quinn::Connection) {
    let mut endpoint = endpoint(false);
    endpoint.set_default_client_config(settings::client_config());
    let to = to.parse().expect("an address");
    let connection = endpoint.connect(to, "bench").expect("a dial").await.expect("connected");
    (endpoint, connection)
}

/// Hands every stream of every connection to `handle`, one after the other within a connection.
async fn serve<F: Future<Output = ()> + Send>(
    handle: impl Fn(quinn::SendStream, quinn::RecvStream) -> F + Copy + Send + Sync + 'static,
) {
    let endpoint = endpoint(true);
    let address = endpoint.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                while let Ok((send, receive)) = connection.accept_bi().await {
                    handle(send, receive).await;
                }
            });
        }
    });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address));
}

/// Receives uploads, a one-byte receipt each.
pub async fn serve_upload() {
    let receive = |mut send: quinn::SendStream, mut receive: quinn::RecvStream| async move {
        while let Ok(Some(_)) = receive.read_chunk(usize::MAX, true).await {}
        let _ = send.write_all(&[1]).await;
        let _ = send.finish();
    };
    serve(receive).await;
}

/// Uploads `bytes` in writes of `write`.
pub async fn run_upload(to: &str, bytes: u64, write: usize) -> Transfer {
    let (_endpoint, connection) = connect(to).await;
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    let buffer = vec![7_u8; write];
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(write).min(write);
        send.write_all(&buffer[..len]).await.expect("written");
        left -= len as u64;
    }
    send.finish().expect("finished");
    let mut receipt = [0];
    receive.read_exact(&mut receipt).await.expect("a receipt");
    Transfer { seconds: begun.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }
}

/// Answers 1 KiB with 1 KiB; each request in a task of its own.
pub async fn serve_call() {
    let answer = |mut send: quinn::SendStream, mut receive: quinn::RecvStream| async move {
        tokio::spawn(async move {
            let Ok(request) = receive.read_to_end(CALL_BYTES).await else { return };
            let _ = send.write_all(&request).await;
            let _ = send.finish();
        });
    };
    serve(answer).await;
}

/// Calls `calls` times with `at_once` in flight.
pub async fn run_call(to: &str, calls: u64, at_once: u64) -> Latencies {
    let (_endpoint, connection) = connect(to).await;
    drive(calls, at_once, move || {
        let connection = connection.clone();
        async move {
            let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
            send.write_all(&[7; CALL_BYTES]).await.expect("written");
            send.finish().expect("finished");
            assert_eq!(receive.read_to_end(CALL_BYTES).await.expect("an answer").len(), CALL_BYTES);
        }
    })
    .await
}

/// Accepts connections and keeps them idle.
pub async fn serve_idle() {
    let endpoint = endpoint(true);
    let address = endpoint.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                connection.closed().await;
            });
        }
    });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address));
}

/// Holds `links` idle connections until standard input closes.
pub async fn run_idle(to: &str, links: usize) {
    let mut held = Vec::new();
    for _ in 0..links {
        held.push(connect(to).await);
    }
    tokio::task::block_in_place(|| serve_until_stdin_closes("connected"));
    drop(held);
}
