//! Gates and chores of the workspace. `cargo xtask` lists them.
//!
//! Nothing here is published. The source gates read the tree as `proc-macro2` and `syn` see it, manifests as cargo does.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program speaks on its standard streams"
)]

mod cfgs;
mod chain;
mod chores;
mod gates;
mod layers;
mod lengths;
mod links;
mod metadata;
mod msrv;
mod mutants;
mod package;
mod paths;
mod purity;
mod python;
mod readme;
mod repo;
mod run;
mod spans;
mod targets;
mod trees;
mod wasm;
mod widths;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        chores::list();
        return ExitCode::SUCCESS;
    };
    match chores::run(name, rest) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}
