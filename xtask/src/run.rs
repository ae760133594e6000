//! Running other programs, and what can go wrong here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::repo::Repo;

/// Why a chore could not be carried out; a gate that finds something is not an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot run {program}: {source}")]
    Run { program: String, source: std::io::Error },
    #[error("cargo metadata: {0}")]
    Metadata(#[from] cargo_metadata::Error),
    #[error("{0}")]
    Usage(String),
}

/// The cargo that started this program, in the repository's root.
pub(crate) fn cargo(repo: &Repo) -> Command {
    let name = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    program(&name, repo.root())
}

/// A program to be run in `folder`. What cargo told this program about itself is not passed on.
pub(crate) fn program(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder);
    for (key, _) in std::env::vars_os() {
        let about_us = key.to_string_lossy().starts_with("CARGO_PKG_")
            || key.to_string_lossy().starts_with("CARGO_MANIFEST_");
        if about_us {
            command.env_remove(key);
        }
    }
    command
}

/// Runs with inherited output; whether the exit code was 0.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool, Error> {
    let status = command.status().map_err(|source| not_run(command, source))?;
    Ok(status.success())
}

/// Runs and returns standard output, or `None` where the exit code was not 0.
pub(crate) fn output(command: &mut Command) -> Result<Option<String>, Error> {
    let output = command.output().map_err(|source| not_run(command, source))?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Runs and returns standard output, whatever the exit code; standard error is inherited.
pub(crate) fn output_whatever(command: &mut Command) -> Result<String, Error> {
    command.stderr(Stdio::inherit());
    let output = command.output().map_err(|source| not_run(command, source))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn not_run(command: &Command, source: std::io::Error) -> Error {
    Error::Run { program: command.get_program().to_string_lossy().into_owned(), source }
}
