//! Every crate that is published can be: it says what a registry and its readers need, and its archive compiles by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use cargo_metadata::{Metadata, Package};

use crate::gates::Outcome;
use crate::metadata::locked;
use crate::repo::Repo;
use crate::run::{self, Error};

/// Fields of the manifests, then the archives. Cargo packs in dependency order, and compiles each archive against the others.
pub(crate) fn gate(repo: &Repo) -> Result<Outcome, Error> {
    let metadata = locked(repo)?;
    let mut findings: Vec<String> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| is_published(package))
        .flat_map(missing)
        .collect();
    let before = built(&metadata);
    let mut pack = run::cargo(repo);
    // a tree with changes that are not committed yet is packed as it stands
    pack.args(["package", "--quiet", "--workspace", "--exclude", "xtask", "--allow-dirty"]);
    if !run::succeeds(&mut pack)? {
        findings.push("cargo package: see above".into());
    }
    forget(built(&metadata).difference(&before))?;
    Ok(Outcome::of(findings))
}

/// What Cargo has recorded as compiled of our crates, one folder each.
fn built(metadata: &Metadata) -> BTreeSet<PathBuf> {
    let records = metadata.target_directory.join("debug/.fingerprint");
    let Ok(entries) = fs::read_dir(records) else { return BTreeSet::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("weir-"))
        .map(|entry| entry.path())
        .collect()
}

/// An archive counts as unchanged while its version does: without this, the next run would compile crates against what an
/// earlier state of the repository had packed.
fn forget<'a>(records: impl Iterator<Item = &'a PathBuf>) -> Result<(), Error> {
    for record in records {
        fs::remove_dir_all(record).map_err(|source| Error::Write { path: record.clone(), source })?;
    }
    Ok(())
}

/// `publish = false` is an empty list of registries.
fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}

/// What a published crate does not say.
fn missing(package: &Package) -> Vec<String> {
    let docs = package.metadata.get("docs").and_then(|docs| docs.get("rs"));
    let said = [
        ("description", package.description.is_some()),
        ("license", package.license.is_some()),
        ("repository", package.repository.is_some()),
        ("readme", package.readme.is_some()),
        ("keywords", !package.keywords.is_empty()),
        ("categories", !package.categories.is_empty()),
        ("package.metadata.docs.rs", docs.is_some()),
    ];
    said.iter()
        .filter(|(_, said)| !said)
        .map(|(field, _)| format!("{}: no `{field}` in its Cargo.toml", package.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_is_missing_is_named() {
        let metadata = locked(&Repo::find().unwrap()).unwrap();
        let package = |name: &str| {
            metadata.packages.iter().find(|package| package.name.as_str() == name).cloned().unwrap()
        };
        let mut whole = package("weir-net");
        assert_eq!(missing(&whole), [""; 0]);
        whole.keywords.clear();
        whole.readme = None;
        assert_eq!(
            missing(&whole),
            ["weir-net: no `readme` in its Cargo.toml", "weir-net: no `keywords` in its Cargo.toml"]
        );
        assert!(is_published(&whole) && !is_published(&package("xtask")));
    }
}
