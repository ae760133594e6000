//! The programs that are measured beside each other: each runs in a child process, told by one line of JSON.

mod bare;
mod bare_echo;
mod bare_tcp;
#[cfg(feature = "libp2p")]
mod gossipsub;
mod raw_quinn;
#[cfg(feature = "libp2p")]
mod rust_libp2p;
mod weir;
mod weir_loop;
mod weir_pool;

use std::process::ExitCode;

use crate::job::{Job, Over, Side, Threads};
use crate::process::print_figure;

/// Whether this program was built with `side`.
pub fn built(side: Side) -> bool {
    !matches!(side, Side::Libp2p(_)) || cfg!(feature = "libp2p")
}

/// Runs the job that `order` describes.
pub fn run(order: &str) -> ExitCode {
    let Ok((side, job)) = serde_json::from_str::<(Side, Job)>(order) else {
        eprintln!("bench: `side` is for the benchmarks themselves");
        return ExitCode::from(2);
    };
    crate::machine::raise_open_files();
    match side {
        Side::Weir(over) => on_tokio(weir(over, job)),
        Side::Task(over) => on_tokio(task(over, job)),
        Side::Bare(over) => bare(over, &job),
        Side::Echo(threads) => echo(threads, &job),
        Side::Quinn => on_tokio(quinn(job)),
        #[cfg(feature = "libp2p")]
        Side::Libp2p(over) => on_tokio(libp2p(over, job)),
        #[cfg(not(feature = "libp2p"))]
        Side::Libp2p(_) => unsupported(side, &job),
    }
    ExitCode::SUCCESS
}

fn on_tokio(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work);
}

fn unsupported(side: Side, job: &Job) {
    eprintln!("bench: {} has no {job:?}", side.name());
}

fn bare(over: Over, job: &Job) {
    match (over, job) {
        (Over::Quic, Job::UploadServe) => bare::serve(),
        (Over::Quic, Job::Upload { to, bytes, write }) => print_figure(&bare::run(to, *bytes, *write)),
        (Over::Noise, Job::UploadServe) => bare_tcp::serve_sealed(),
        (Over::Noise, Job::Upload { to, bytes, write }) => {
            print_figure(&bare_tcp::run_sealed(to, *bytes, *write));
        }
        (Over::Tls, Job::UploadServe) => bare_tcp::serve_tls(),
        (Over::Tls, Job::Upload { to, bytes, write }) => print_figure(&bare_tcp::run_tls(to, *bytes, *write)),
        (over, job) => unsupported(Side::Bare(over), job),
    }
}

fn echo(threads: Threads, job: &Job) {
    match job {
        Job::CallServe => bare_echo::serve(threads),
        Job::Call { to, calls, at_once: 1 } => print_figure(&bare_echo::run(to, *calls, threads)),
        job => unsupported(Side::Echo(threads), job),
    }
}

async fn weir(over: Over, job: Job) {
    match job {
        Job::UploadServe => weir::serve_upload(over).await,
        Job::Upload { to, bytes, write } => print_figure(&weir::run_upload(over, &to, bytes, write).await),
        Job::CallServe => weir::serve_call(weir::Host::Thread, over, weir::config(over)).await,
        Job::Call { to, calls, at_once } => {
            let config = weir::config(over);
            print_figure(&weir::run_call(weir::Host::Thread, config, &to, calls, at_once).await);
        }
        Job::Setup { to } => print_figure(&weir::run_setup(over, &to).await),
        Job::StreamsServe => weir::serve_streams(over).await,
        Job::Streams { to, count, at_once } => {
            print_figure(&weir::run_streams(over, &to, count, at_once).await);
        }
        Job::Pool { items } => print_figure(&weir_pool::run(items).await),
        Job::IdleServe => weir::serve_idle(over).await,
        Job::Idle { to, links } => weir::run_idle(over, &to, links).await,
    }
}

async fn task(over: Over, job: Job) {
    let config = weir::config(over);
    match job {
        Job::CallServe => weir::serve_call(weir::Host::Task, over, config).await,
        Job::Call { to, calls, at_once } => {
            print_figure(&weir::run_call(weir::Host::Task, config, &to, calls, at_once).await);
        }
        job => unsupported(Side::Task(over), &job),
    }
}

async fn quinn(job: Job) {
    match job {
        Job::UploadServe => raw_quinn::serve_upload().await,
        Job::Upload { to, bytes, write } => print_figure(&raw_quinn::run_upload(&to, bytes, write).await),
        Job::CallServe => raw_quinn::serve_call().await,
        Job::Call { to, calls, at_once } => print_figure(&raw_quinn::run_call(&to, calls, at_once).await),
        Job::IdleServe => raw_quinn::serve_idle().await,
        Job::Idle { to, links } => raw_quinn::run_idle(&to, links).await,
        job => unsupported(Side::Quinn, &job),
    }
}

#[cfg(feature = "libp2p")]
async fn libp2p(over: Over, job: Job) {
    match job {
        Job::UploadServe => rust_libp2p::serve_upload(over).await,
        Job::Upload { to, bytes, write } => {
            print_figure(&rust_libp2p::run_upload(over, &to, bytes, write).await);
        }
        Job::CallServe => rust_libp2p::serve_call(over).await,
        Job::Call { to, calls, at_once } => {
            print_figure(&rust_libp2p::run_call(over, &to, calls, at_once).await);
        }
        Job::Setup { to } => print_figure(&rust_libp2p::run_setup(over, &to).await),
        Job::StreamsServe => rust_libp2p::serve_streams(over).await,
        Job::Streams { to, count, at_once } => {
            print_figure(&rust_libp2p::run_streams(over, &to, count, at_once).await);
        }
        Job::Pool { items } => print_figure(&gossipsub::run(items).await),
        Job::IdleServe => rust_libp2p::serve_idle(over).await,
        Job::Idle { to, links } => rust_libp2p::run_idle(over, &to, links).await,
    }
}
