//! The oldest Rust that the workspace states is new enough for what it uses.
//!
//! Known so: here, every package of the lock file states no newer one; Clippy's `incompatible_msrv` compares what is used of
//! the standard library. That the compiler of that version itself is content, only a run of it would show.

use std::collections::BTreeMap;

use cargo_metadata::semver::Version;

use crate::metadata::locked;
use crate::repo::Repo;
use crate::run::Error;

/// What is wrong with the workspace's `rust-version`.
pub(crate) fn gate(repo: &Repo) -> Result<Vec<String>, Error> {
    let metadata = locked(repo)?;
    let (ours, theirs): (Vec<_>, Vec<_>) =
        metadata.packages.iter().partition(|package| package.source.is_none());
    let mut findings = Vec::new();
    for package in &ours {
        let Some(stated) = &package.rust_version else {
            findings.push(format!("{}: states no `rust-version`", package.manifest_path));
            continue;
        };
        findings.extend(newer(
            stated,
            theirs.iter().filter_map(|theirs| Some((theirs.name.as_str(), theirs.rust_version.as_ref()?))),
        ));
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// A line for each Rust newer than ours, with one of the packages that state it.
fn newer<'a>(ours: &Version, theirs: impl Iterator<Item = (&'a str, &'a Version)>) -> Vec<String> {
    let newer: BTreeMap<&Version, &str> =
        theirs.filter(|(_, version)| *version > ours).map(|(name, version)| (version, name)).collect();
    newer
        .into_iter()
        .map(|(version, name)| {
            format!("Cargo.toml: `rust-version` {ours} is older than the {version} of `{name}`")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_found() {
        let ours = Version::new(1, 90, 0);
        let found = |minor, patch| newer(&ours, [("a", &Version::new(1, minor, patch))].into_iter());
        assert_eq!(found(9, 0), [""; 0]);
        assert_eq!(found(89, 2), [""; 0]);
        assert_eq!(found(90, 0), [""; 0]);
        assert_eq!(found(91, 0), ["Cargo.toml: `rust-version` 1.90.0 is older than the 1.91.0 of `a`"]);
        assert_eq!(found(100, 0).len(), 1);
    }
}
