//! Many calls, one after the other or several at once, and how long each took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::figures::percentile;
use crate::job::Latencies;
use crate::machine::cpu_seconds;

/// Bytes of a request and of an answer.
pub const CALL_BYTES: usize = 1024;

/// Bytes of a short stream, each way.
pub const SHORT_BYTES: usize = 32;

/// Runs `calls` calls, `at_once` tasks making one after the other, after a tenth as many that do not count.
pub async fn drive<F, C>(calls: u64, at_once: u64, call: C) -> Latencies
where
    C: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    at_once_many(calls / 10, at_once, call.clone()).await;
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut nanos = at_once_many(calls, at_once, call).await;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    nanos.sort_unstable();
    let micros = |percent| percentile(&nanos, percent) as f64 / 1e3;
    Latencies { p50_us: micros(50), p99_us: micros(99), per_second: calls as f64 / seconds, cpu }
}

/// Nanoseconds of each call.
async fn at_once_many<F, C>(calls: u64, at_once: u64, call: C) -> Vec<u64>
where
    C: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let left = Arc::new(AtomicU64::new(calls));
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let (left, call) = (left.clone(), call.clone());
            tokio::spawn(async move {
                let mut nanos = Vec::new();
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let one = Instant::now();
                    call().await;
                    nanos.push(u64::try_from(one.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
                nanos
            })
        })
        .collect();
    let mut nanos = Vec::new();
    for task in tasks {
        nanos.extend(task.await.expect("a caller"));
    }
    nanos
}
