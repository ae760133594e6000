//! What cargo knows of the workspace.

use std::process::Command;

use cargo_metadata::{CargoOpt, Metadata, MetadataCommand};

use crate::repo::Repo;
use crate::run::Error;

/// The workspace's own packages, without what they depend on.
pub(crate) fn workspace(repo: &Repo) -> Result<Metadata, Error> {
    let mut command = MetadataCommand::new();
    Ok(command.manifest_path(repo.root().join("Cargo.toml")).no_deps().exec()?)
}

/// Everything in the lock file, for all features.
pub(crate) fn locked(repo: &Repo) -> Result<Metadata, Error> {
    let mut command = MetadataCommand::new();
    command.manifest_path(repo.root().join("Cargo.toml")).features(CargoOpt::AllFeatures);
    Ok(command.other_options(["--locked".to_owned()]).exec()?)
}

/// Has a build outside this workspace compile its dependencies as this one's development profile does, so that those that are compiled
/// already are used again. This workspace's own crates, which are dependencies there, are compiled without optimisation.
pub(crate) fn share_dependencies(command: &mut Command, metadata: &Metadata) {
    let profile = ["debug=\"line-tables-only\"", "package.\"*\".debug=false", "package.\"*\".opt-level=2"];
    let own = metadata.workspace_packages();
    let own = own.iter().map(|package| format!("package.{}.opt-level=0", package.name));
    for setting in profile.into_iter().map(str::to_owned).chain(own) {
        command.arg("--config").arg(format!("profile.dev.{setting}"));
    }
}
