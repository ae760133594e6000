//! `cargo xtask mutants`: which rules of the core could be removed without a test noticing.
//!
//! A thin layer around `cargo-mutants`: the pinned version is installed where it is absent, the crates are those whose rules
//! protect a node, and each mutant is judged by the tests of its own crate. What survives is killed by a test, or stands in
//! `docs/mutants.md` with the reason why no test can tell it apart.

use std::path::Path;

use crate::repo::Repo;
use crate::run::{self, Error};

/// The version that is installed.
const VERSION: &str = "27.1.0";
/// The crates whose rules are tested so.
const PACKAGES: &[&str] = &["weir-base", "weir-pull", "weir-link", "weir-stack"];
/// Seconds that the tests may take with one mutant before it counts as caught: it made them hang.
const TIMEOUT: &str = "120";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Which {
    /// Mutants on lines that differ from this revision.
    Diff(String),
    /// Each so-manieth mutant of all.
    Every(u32),
}

/// Runs them; `false` where one survived.
pub(crate) fn chore(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    let which = parse(arguments)?;
    install(repo)?;
    let folder = repo.root().join("target/mutants");
    std::fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
    let mut command = run::cargo(repo);
    command.args(["mutants", "--no-shuffle", "--timeout", TIMEOUT, "--output"]).arg(&folder);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    match which {
        Which::Diff(revision) => {
            command.arg("--in-diff").arg(write_diff(repo, &folder, &revision)?);
        }
        Which::Every(step) => {
            command.args(["--sharding", "round-robin", "--shard", &format!("0/{step}")]);
        }
    }
    run::succeeds(&mut command)
}

fn parse(arguments: &[String]) -> Result<Which, Error> {
    match arguments {
        [] => Ok(Which::Every(1)),
        [flag, revision] if flag == "--diff" => Ok(Which::Diff(revision.clone())),
        [flag, step] if flag == "--every" => match step.parse() {
            Ok(step @ 1..) => Ok(Which::Every(step)),
            _ => Err(Error::Usage("--every takes a number from 1 on".into())),
        },
        _ => Err(Error::Usage("cargo xtask mutants [--diff REV] [--every N]".into())),
    }
}

fn install(repo: &Repo) -> Result<(), Error> {
    let mut version = run::cargo(repo);
    let found = run::output(version.args(["mutants", "--version"]).stderr(std::process::Stdio::null()))?;
    if found.is_some_and(|found| found.trim() == format!("cargo-mutants {VERSION}")) {
        return Ok(());
    }
    let mut install = run::cargo(repo);
    install.args(["install", "cargo-mutants", "--locked", "--version", VERSION]);
    install.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    if run::succeeds(&mut install)? {
        Ok(())
    } else {
        Err(Error::Usage(format!("cargo-mutants {VERSION} could not be installed")))
    }
}

fn write_diff(repo: &Repo, folder: &Path, revision: &str) -> Result<std::path::PathBuf, Error> {
    let mut git = run::program("git", repo.root());
    let Some(diff) = run::output(git.args(["diff", revision, "--", "crates"]))? else {
        return Err(Error::Usage(format!("git knows no revision `{revision}`")));
    };
    let path = folder.join("change.diff");
    std::fs::write(&path, diff).map_err(|source| Error::Write { path: path.clone(), source })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Which, Error> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn options_are_understood() {
        assert_eq!(parsed("").unwrap(), Which::Every(1));
        assert_eq!(parsed("--every 6").unwrap(), Which::Every(6));
        assert_eq!(parsed("--diff HEAD~1").unwrap(), Which::Diff("HEAD~1".into()));
        for (wrong, says) in [
            ("--every 0", "a number from 1 on"),
            ("--every x", "a number from 1 on"),
            ("--diff", "[--diff REV]"),
            ("--sample 3", "[--diff REV]"),
        ] {
            let error = parsed(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
