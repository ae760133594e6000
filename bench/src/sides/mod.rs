//! The programs that are measured beside each other: each runs in a child process, told by one line of JSON.

mod bare;
#[cfg(feature = "libp2p")]
mod gossipsub;
mod raw_quinn;
#[cfg(feature = "libp2p")]
mod rust_libp2p;
mod weir;
mod weir_pool;

use std::process::ExitCode;

use crate::job::{Job, Side};
use crate::process::print_figure;

/// Whether this program was built with `side`.
pub fn built(side: Side) -> bool {
    side != Side::Libp2p || cfg!(feature = "libp2p")
}

/// Runs the job that `order` describes.
pub fn run(order: &str) -> ExitCode {
    let Ok((side, job)) = serde_json::from_str::<(Side, Job)>(order) else {
        eprintln!("bench: `side` is for the benchmarks themselves");
        return ExitCode::from(2);
    };
    crate::machine::raise_open_files();
    match side {
        Side::Weir => on_tokio(weir(job)),
        Side::Woken => on_tokio(woken(job)),
        Side::Bare => bare(&job),
        Side::Quinn => on_tokio(quinn(job)),
        #[cfg(feature = "libp2p")]
        Side::Libp2p => on_tokio(libp2p(job)),
        #[cfg(not(feature = "libp2p"))]
        Side::Libp2p => unsupported(side, &job),
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

fn bare(job: &Job) {
    match job {
        Job::UploadServe => bare::serve(),
        Job::Upload { to, bytes, write } => print_figure(&bare::run(to, *bytes, *write)),
        job => unsupported(Side::Bare, job),
    }
}

async fn weir(job: Job) {
    match job {
        Job::UploadServe => weir::serve_upload().await,
        Job::Upload { to, bytes, write } => print_figure(&weir::run_upload(&to, bytes, write).await),
        Job::CallServe => weir::serve_call(weir::config()).await,
        Job::Call { to, calls, at_once } => {
            print_figure(&weir::run_call(weir::config(), &to, calls, at_once).await);
        }
        Job::Pool { items } => print_figure(&weir_pool::run(items).await),
        Job::IdleServe => weir::serve_idle().await,
        Job::Idle { to, links } => weir::run_idle(&to, links).await,
    }
}

async fn woken(job: Job) {
    let mut config = weir::config();
    config.sockets.inline_turns = false;
    match job {
        Job::CallServe => weir::serve_call(config).await,
        Job::Call { to, calls, at_once } => {
            print_figure(&weir::run_call(config, &to, calls, at_once).await);
        }
        job => unsupported(Side::Woken, &job),
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
        job @ Job::Pool { .. } => unsupported(Side::Quinn, &job),
    }
}

#[cfg(feature = "libp2p")]
async fn libp2p(job: Job) {
    match job {
        Job::UploadServe => rust_libp2p::serve_upload().await,
        Job::Upload { to, bytes, write } => print_figure(&rust_libp2p::run_upload(&to, bytes, write).await),
        Job::CallServe => rust_libp2p::serve_call().await,
        Job::Call { to, calls, at_once } => print_figure(&rust_libp2p::run_call(&to, calls, at_once).await),
        Job::Pool { items } => print_figure(&gossipsub::run(items).await),
        job => unsupported(Side::Libp2p, &job),
    }
}
