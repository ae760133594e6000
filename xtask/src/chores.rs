//! The table of chores, and the thin ones among them.

use std::num::NonZeroU64;
use std::path::Path;

use crate::chain;
use crate::gates;
use crate::repo::Repo;
use crate::run::{self, Error};
use crate::{metadata, mutants, targets, wasm, widths};

struct Chore {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&Repo, &[String]) -> Result<bool, Error>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "check",
        arguments: "[GATE ..]",
        about: "every gate that needs only the toolchain, or the named ones",
        run: gates::check,
    },
    Chore {
        name: "wasm",
        arguments: "",
        about: "the pure crates on wasm32-unknown-unknown: compile, and nothing unwanted in their tree; tests of libp2p's protocols",
        run: |repo, _| wasm::chore(repo),
    },
    Chore {
        name: "targets",
        arguments: "",
        about: "the library and the program compile for macOS, Windows, FreeBSD and Linux on arm64; says what could not be tried",
        run: targets::chore,
    },
    Chore {
        name: "widths",
        arguments: "",
        about: "the widest types of all crates: methods and fields",
        run: |repo, _| widths::chore(repo),
    },
    Chore {
        name: "bench",
        arguments: "NAME",
        about: "a benchmark of the bench/ workspace, both sides of one run (`all` for every one); `instructions` for what the machines execute; `chain` for devnet's highest rate",
        run: bench,
    },
    Chore {
        name: "hostile",
        arguments: "[all | ATTACK ..] [--short] [--json]",
        about: "hostile peers over real sockets beside an honest pair (`-- --help` says more)",
        run: hostile,
    },
    Chore {
        name: "interop",
        arguments: "--full | [--short] [--peers LIST] [WORD ..]",
        about: "Weir and other people's libp2p nodes as processes on loopback; `--full` needs all and writes docs/interop.md, `--short` is one check each way (`--peers rust,go,js,py`)",
        run: interop,
    },
    Chore {
        name: "mutants",
        arguments: "[--diff REV] [--every N]",
        about: "mutation testing of base, pull, link and stack: of a change, or of each Nth mutant",
        run: mutants::chore,
    },
    Chore {
        name: "record",
        arguments: "",
        about: "the live view of `weir devnet` as docs/devnet.svg",
        run: record,
    },
    Chore {
        name: "compare",
        arguments: "[--rate R] [--seconds S] [--json]",
        about: "networks of 7 and 16 real nodes, on loopback and 20 ms apart, beside the same in the simulator: under four minutes",
        run: compare,
    },
    Chore {
        name: "calibrate",
        arguments: "",
        about: "what a node's turns take on this machine, natively and in virtual time, beside what the simulator takes them to take",
        run: |repo, _| calibrate(repo),
    },
    Chore {
        name: "mesh",
        arguments: "[--json] [--untimed] [NODES ROUNDS RESTARTS]",
        about: "native nodes that all name each other, started and restarted at once (8 50 20): faults, bans, links missing or later than 2 s (unless --untimed)",
        run: mesh,
    },
    Chore {
        name: "fuzz",
        arguments: "[--minutes N [TARGET ..]]",
        about: "replay corpus and mutated vectors on stable; with --minutes, coverage-guided on nightly",
        run: fuzz,
    },
];

/// Prints every chore with one line each, and the gates of `check`.
pub(crate) fn list() {
    println!("cargo xtask CHORE\n");
    for chore in CHORES {
        let call = format!("{} {}", chore.name, chore.arguments);
        println!("  {call:32} {}", chore.about);
    }
    println!("\ngates of `cargo xtask check`, in this order\n");
    for gate in gates::GATES {
        println!("  {:32} {}", gate.name, gate.about);
    }
}

/// Runs one chore. `false` means that it ran and found something wrong.
pub(crate) fn run(name: &str, arguments: &[String]) -> Result<bool, Error> {
    let repo = Repo::find()?;
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        return Err(Error::Usage(format!("no chore named `{name}`; `cargo xtask` lists them")));
    };
    (chore.run)(&repo, arguments)
}

/// The live view of a short run, for the README and `docs/devnet.md`.
fn record(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    if !arguments.is_empty() {
        return Err(Error::Usage("cargo xtask record".into()));
    }
    let mut command = run::cargo(repo);
    command.args(["run", "--release", "--quiet", "--package", "weir-cli", "--", "devnet"]);
    command.args(["--nodes", "7", "--blocks", "12", "--record", "docs/devnet.svg"]);
    run::succeeds(&mut command)
}

fn bench(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    if let Some(("chain", rest)) = arguments.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        return chain::bench(repo, rest);
    }
    let (package, arguments) = match arguments.split_first() {
        Some((name, rest)) if name == "instructions" => ("weir-instructions", rest),
        _ => ("weir-bench", arguments),
    };
    let manifest = outer_workspace(repo, "bench")?;
    let mut command = run::cargo(repo);
    command.args(["run", "--release", "--package", package, "--manifest-path"]).arg(manifest);
    command.arg("--").args(arguments);
    run::succeeds(&mut command)
}

fn hostile(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    let manifest = outer_workspace(repo, "hostile")?;
    let mut command = run::cargo(repo);
    command.args(["run", "--quiet", "--manifest-path"]).arg(manifest);
    if arguments.iter().any(|word| word == "--short") {
        // It judges bounds, not rates. The development profile uses dependencies that the tests have compiled, and checks assertions.
        command.env("CARGO_TARGET_DIR", metadata::workspace(repo)?.target_directory);
    } else {
        command.arg("--release");
    }
    command.arg("--").args(hostile_arguments(arguments));
    run::succeeds(&mut command)
}

/// One run of each attack in windows of a second, two at the same time, in which only bounds are judged.
const SHORT: &[&str] =
    &["--arrangement", "apart", "--handling", "50", "--seconds", "1", "--bounds", "--at-once", "2"];

/// The arguments for the program, which runs all attacks if none is named.
fn hostile_arguments(arguments: &[String]) -> Vec<&str> {
    let words = arguments.iter().map(String::as_str).filter(|word| *word != "all");
    words
        .flat_map(|word| match word {
            "--short" => SHORT.to_vec(),
            other => vec![other],
        })
        .collect()
}

/// The programs are built in the workspace's own target folder, so that dependencies built alike are shared.
fn interop(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    let manifest = outer_workspace(repo, "interop")?;
    let mut command = run::cargo(repo);
    command.args(["build", "--quiet", "-p", "weir-cli", "--bin", "weir", "--example", "interop"]);
    if !run::succeeds(&mut command)? {
        return Ok(false);
    }
    let target = metadata::workspace(repo)?.target_directory;
    let outer = |words: &[&str]| {
        let mut command = run::cargo(repo);
        command.env("CARGO_TARGET_DIR", &target).args(words).arg("--manifest-path").arg(&manifest);
        command
    };
    if !run::succeeds(&mut outer(&["build", "--quiet", "--locked", "--bins"]))? {
        return Ok(false);
    }
    let debug = target.join("debug");
    let mut command = outer(&["run", "--quiet", "--locked"]);
    command.arg("--").arg(debug.join("weir")).arg(debug.join("examples").join("interop"));
    command.args(interop_arguments(arguments));
    run::succeeds(&mut command)
}

/// What the program is told: `--full` is what it does where nothing is named, and writes the document.
fn interop_arguments(arguments: &[String]) -> Vec<&str> {
    let words = arguments.iter().map(String::as_str);
    words
        .flat_map(|word| match word {
            "--full" => vec!["--write", "docs/interop.md"],
            other => vec![other],
        })
        .collect()
}

fn compare(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    let mut command = run::cargo(repo);
    command
        .args(["run", "--quiet", "--release", "-p", "weir-cli", "--example", "compare", "--"])
        .args(arguments);
    run::succeeds(&mut command)
}

fn calibrate(repo: &Repo) -> Result<bool, Error> {
    compare(repo, &["calibrate".to_owned()])
}

fn mesh(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    let mut command = run::cargo(repo);
    command
        .args(["run", "--quiet", "--release", "-p", "weir-net", "--example", "mesh", "--"])
        .args(arguments);
    run::succeeds(&mut command)
}

fn fuzz(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    let usage = || Error::Usage("cargo xtask fuzz [--minutes N [TARGET ..]]".into());
    let manifest = outer_workspace(repo, "fuzz")?;
    match arguments {
        [] => replay(repo, &manifest),
        [flag, minutes, targets @ ..] if flag == "--minutes" => {
            // libFuzzer takes 0 for "without end"
            let minutes: NonZeroU64 = minutes.parse().map_err(|_| usage())?;
            explore(&repo.root().join("fuzz"), minutes.get(), targets)
        }
        _ => Err(usage()),
    }
}

/// On stable, in the workspace's own target folder, so that dependencies built alike are shared.
fn replay(repo: &Repo, manifest: &Path) -> Result<bool, Error> {
    let mut command = run::cargo(repo);
    command.args(["test", "--manifest-path"]).arg(manifest);
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.env("CARGO_TARGET_DIR", repo.root().join("target"));
    }
    run::succeeds(&mut command)
}

/// Coverage-guided, on nightly. What libFuzzer finds goes to `fuzz/target/found`, never into the corpus.
fn explore(folder: &Path, minutes: u64, wanted: &[String]) -> Result<bool, Error> {
    let targets = if wanted.is_empty() { fuzz_targets(folder)? } else { wanted.to_vec() };
    for target in targets {
        println!("fuzz: {target} for {minutes} min");
        let found = format!("target/found/{target}");
        let path = folder.join(&found);
        std::fs::create_dir_all(&path).map_err(|source| Error::Write { path, source })?;
        let mut command = run::program("rustup", folder);
        command
            .args(["run", "nightly", "cargo", "fuzz", "run", "--fuzz-dir", ".", "--features", "libfuzzer"])
            .args([&target, &found, &format!("corpus/{target}")])
            .args(["--", "-print_final_stats=1"])
            .arg(format!("-max_total_time={}", minutes.saturating_mul(60)));
        if !run::succeeds(&mut command)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Names of the programs in `fuzz/fuzz_targets`, in order.
fn fuzz_targets(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for path in crate::repo::children(&folder.join("fuzz_targets"))? {
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn outer_workspace(repo: &Repo, name: &str) -> Result<std::path::PathBuf, Error> {
    let manifest = repo.root().join(name).join("Cargo.toml");
    if manifest.is_file() {
        Ok(manifest)
    } else {
        Err(Error::Usage(format!("there is no workspace in {name}/ yet")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_of_all_attacks_is_one_arrangement_in_windows_of_a_second() {
        let told = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            hostile_arguments(&words).join(" ")
        };
        assert_eq!(told("all --json"), "--json");
        let short = "--arrangement apart --handling 50 --seconds 1 --bounds --at-once 2";
        assert_eq!(told("all --short --json"), format!("{short} --json"));
        assert_eq!(told("six-faults --seconds 3"), "six-faults --seconds 3");
    }

    #[test]
    fn a_full_run_of_the_matrix_writes_its_document() {
        assert_eq!(interop_arguments(&["--full".to_owned()]), ["--write", "docs/interop.md"]);
        let words = ["--short".to_owned(), "QUIC".to_owned()];
        assert_eq!(interop_arguments(&words), ["--short", "QUIC"]);
    }
}
