//! What cargo knows of the workspace.

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
