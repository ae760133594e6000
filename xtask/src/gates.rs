//! `cargo xtask check`: every gate that needs only the toolchain, all of them even after a failure.

use std::time::{Duration, Instant};

use crate::repo::Repo;
use crate::run::{self, Error};
use crate::{cfgs, layers, lengths, links, msrv, package, purity, readme, wasm, widths};

/// How a gate ended.
pub(crate) enum Outcome {
    Passed,
    /// What was found, a line each; empty where the tool has printed it itself.
    Failed(Vec<String>),
    /// Why it could not run here.
    Skipped(String),
}

impl Outcome {
    /// Passed where there is nothing to say.
    pub(crate) fn of(findings: Vec<String>) -> Self {
        if findings.is_empty() { Self::Passed } else { Self::Failed(findings) }
    }
}

pub(crate) struct Gate {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    run: fn(&Repo) -> Result<Outcome, Error>,
}

/// In the order in which they run: the fast ones first.
pub(crate) const GATES: &[Gate] = &[
    Gate {
        name: "layers",
        about: "each crate depends on what the layer table allows",
        run: |repo| Ok(Outcome::of(layers::gate(repo)?)),
    },
    Gate {
        name: "lengths",
        about: "no file over 600 lines, no function over 100, no name of one over 80 characters, base within 2,500 of code",
        run: |repo| Ok(Outcome::of(lengths::gate(repo)?)),
    },
    Gate {
        name: "widths",
        about: "no type with over 40 methods or, where they change it, over 12 fields",
        run: |repo| Ok(Outcome::of(widths::gate(repo)?)),
    },
    Gate {
        name: "cfg",
        about: "pure crates depend on target and features in their registries alone",
        run: |repo| Ok(Outcome::of(cfgs::gate(repo)?)),
    },
    Gate {
        name: "purity",
        about: "pure crates name no clock, socket, thread, randomness or unordered map; nothing unfinished",
        run: |repo| Ok(Outcome::of(purity::gate(repo)?)),
    },
    Gate {
        name: "links",
        about: "relative links in the pages lead somewhere",
        run: |repo| Ok(Outcome::of(links::gate(repo)?)),
    },
    Gate {
        name: "msrv",
        about: "no dependency needs a newer Rust than the workspace states",
        run: |repo| Ok(Outcome::of(msrv::gate(repo)?)),
    },
    Gate { name: "locks", about: "the lock file of each workspace fits its crates", run: locks },
    Gate { name: "fmt", about: "cargo fmt", run: fmt },
    Gate { name: "clippy", about: "cargo clippy, every warning an error", run: clippy },
    Gate { name: "features", about: "weir compiles with no host, with each, and with both", run: features },
    Gate { name: "rustdoc", about: "cargo doc, every warning an error", run: rustdoc },
    Gate {
        name: "wasm",
        about: "the pure crates on wasm32-unknown-unknown (where the target is installed)",
        run: wasm::gate,
    },
    Gate { name: "readme", about: "the README's example runs in a crate of its own", run: readme::gate },
    Gate {
        name: "package",
        about: "every crate says what a registry needs, and compiles from its archive",
        run: package::gate,
    },
];

/// The named gates, or all. `false` where one failed.
pub(crate) fn check(repo: &Repo, names: &[String]) -> Result<bool, Error> {
    for name in names {
        if !GATES.iter().any(|gate| gate.name == name) {
            return Err(Error::Usage(format!("no gate named `{name}`")));
        }
    }
    let mut summary = Vec::new();
    let mut green = true;
    for gate in GATES {
        if !names.is_empty() && !names.iter().any(|name| name == gate.name) {
            continue;
        }
        println!("{} ..", gate.name);
        let started = Instant::now();
        let outcome = (gate.run)(repo)?;
        if let Outcome::Failed(findings) = &outcome {
            green = false;
            for finding in findings {
                println!("  {finding}");
            }
        }
        summary.push(line(gate.name, &outcome, started.elapsed()));
    }
    println!("\n{}", summary.join("\n"));
    Ok(green)
}

fn line(name: &str, outcome: &Outcome, took: Duration) -> String {
    let seconds = took.as_secs_f32();
    match outcome {
        Outcome::Passed => format!("  ok      {name:10} {seconds:6.1} s"),
        Outcome::Failed(findings) => {
            let found = match findings.len() {
                0 => "see above".to_owned(),
                count => format!("{count} found"),
            };
            format!("  FAILED  {name:10} {seconds:6.1} s  {found}")
        }
        Outcome::Skipped(reason) => format!("  skipped {name:10} {reason}"),
    }
}

/// This workspace and those beside it, which use its crates by their paths.
const FOLDERS: &[&str] = &[".", "fuzz", "bench", "bench/instructions", "hostile", "interop"];

/// A dependency that a crate of this workspace gains or loses changes the lock files of the others, too.
fn locks(repo: &Repo) -> Result<Outcome, Error> {
    let mut findings = Vec::new();
    for folder in FOLDERS {
        let folder_of = repo.root().join(folder);
        if !folder_of.join("Cargo.lock").is_file() {
            continue; // a member of another workspace
        }
        let mut update = run::cargo(repo);
        update.args(["update", "--workspace", "--locked", "--quiet", "--manifest-path"]);
        if !run::succeeds(update.arg(folder_of.join("Cargo.toml")))? {
            findings.push(format!("{folder}/Cargo.lock: run `cargo update --workspace` in {folder}"));
        }
    }
    Ok(Outcome::of(findings))
}

fn fmt(repo: &Repo) -> Result<Outcome, Error> {
    let mut findings = Vec::new();
    for folder in FOLDERS {
        let manifest = repo.root().join(folder).join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let mut command = run::cargo(repo);
        command.args(["fmt", "--check", "--manifest-path"]).arg(manifest);
        if *folder == "." {
            command.arg("--all"); // elsewhere it would add the crates of this workspace once more
        }
        if !run::succeeds(&mut command)? {
            findings.push(format!("{folder}: not formatted; run `cargo fmt` there"));
        }
    }
    Ok(Outcome::of(findings))
}

fn clippy(repo: &Repo) -> Result<Outcome, Error> {
    let mut command = run::cargo(repo);
    command.args(["clippy", "--quiet", "--workspace", "--all-targets"]).args(["--", "-D", "warnings"]);
    Ok(tool(run::succeeds(&mut command)?))
}

/// Ways to choose the hosts of `weir`. What cargo compiles for the whole workspace has them all, so it shows none of these.
const HOSTS: &[&[&str]] = &[
    &["--lib", "--no-default-features"], // tests would bring the testing host with them
    &["--all-targets", "--no-default-features", "--features", "native"],
    &["--all-targets", "--no-default-features", "--features", "testing"],
    &["--all-targets", "--all-features"],
];

fn features(repo: &Repo) -> Result<Outcome, Error> {
    let mut findings = Vec::new();
    for host in HOSTS {
        let mut check = run::cargo(repo);
        if !run::succeeds(
            check.args(["clippy", "--quiet", "-p", "weir-net"]).args(*host).args(["--", "-D", "warnings"]),
        )? {
            findings.push(format!("weir with {} does not compile", host.join(" ")));
        }
    }
    Ok(Outcome::of(findings))
}

fn rustdoc(repo: &Repo) -> Result<Outcome, Error> {
    let mut command = run::cargo(repo);
    command.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--quiet", "--workspace", "--no-deps"]);
    Ok(tool(run::succeeds(&mut command)?))
}

/// A tool prints its findings itself.
fn tool(succeeded: bool) -> Outcome {
    if succeeded { Outcome::Passed } else { Outcome::Failed(Vec::new()) }
}
