//! Every crate that is published can be: it says what a registry and its readers need, and its archive compiles by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, Package};

use crate::gates::Outcome;
use crate::metadata::{locked, share_dependencies};
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
    forget_archives(&metadata)?;
    let mut pack = run::cargo(repo);
    // a tree with changes that are not committed yet is packed as it stands
    pack.args([
        "package",
        "--quiet",
        "--workspace",
        "--exclude",
        "weir-doctests",
        "--exclude",
        "xtask",
        "--allow-dirty",
    ]);
    share_dependencies(&mut pack, &metadata);
    if !run::succeeds(&mut pack)? {
        findings.push("cargo package: see above".into());
    }
    forget_archives(&metadata)?;
    Ok(Outcome::of(findings))
}

/// An archive counts as unchanged while its version does: neither is it unpacked again nor is what was compiled of it compiled
/// again, and crates would be compiled against what an earlier state of the repository had packed. Removes both: what lies unpacked
/// in Cargo's home, from any checkout, and what was compiled of it in this checkout's target folder.
fn forget_archives(metadata: &Metadata) -> Result<(), Error> {
    let debug = metadata.target_directory.join("debug");
    let compiled = compiled_from_archives(debug.as_std_path());
    for folder in unpacked_archives(metadata).into_iter().chain(compiled) {
        fs::remove_dir_all(&folder).or_else(|source| {
            if folder.exists() { Err(Error::Write { path: folder.clone(), source }) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// The folders that archives of our packages were unpacked to. Cargo's home is where any other dependency's sources are.
fn unpacked_archives(metadata: &Metadata) -> Vec<PathBuf> {
    let names: Vec<String> = metadata
        .workspace_packages()
        .iter()
        .map(|package| format!("{}-{}", package.name, package.version))
        .collect();
    let registries: BTreeSet<&Path> = metadata
        .packages
        .iter()
        .filter_map(|package| {
            package.manifest_path.as_std_path().ancestors().find(|path| path.ends_with("registry/src"))
        })
        .collect();
    registries.into_iter().flat_map(|sources| unpacked_in(sources, &names)).collect()
}

/// Those of these names that lie in a registry without a host, among the registries whose sources are here.
fn unpacked_in(sources: &Path, names: &[String]) -> Vec<PathBuf> {
    fs::read_dir(sources)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|registry| registry.path())
        .filter(|registry| is_nameless_registry(registry))
        .flat_map(|registry| names.iter().map(move |name| registry.join(name)))
        .filter(|folder| folder.exists())
        .collect()
}

/// Cargo's records of what it compiled from archives of our packages.
fn compiled_from_archives(debug: &Path) -> Vec<PathBuf> {
    let (Ok(deps), Ok(records)) =
        (fs::read_dir(debug.join("deps")), fs::read_dir(debug.join(".fingerprint")))
    else {
        return Vec::new();
    };
    let hashes: BTreeSet<String> =
        deps.filter_map(Result::ok).filter_map(|entry| hash_of_archive(&entry.path())).collect();
    records
        .filter_map(Result::ok)
        .map(|record| record.path())
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.rsplit_once('-').is_some_and(|(_, hash)| hashes.contains(hash))
        })
        .collect()
}

/// The hash in the name of a list of sources that Cargo keeps beside what it compiled, where the sources are an archive's of ours.
fn hash_of_archive(list: &Path) -> Option<String> {
    let (name, hash) = list.file_stem()?.to_str()?.rsplit_once('-')?;
    let ours = list.extension()? == "d" && name.starts_with("weir");
    let text = ours.then(|| fs::read_to_string(list).ok()).flatten()?;
    text.split_whitespace().any(|path| is_unpacked(Path::new(path))).then(|| hash.to_owned())
}

fn is_unpacked(path: &Path) -> bool {
    path.ancestors().any(is_nameless_registry)
}

/// A registry without a host, as that of `cargo package`, has a name that begins with `-`.
fn is_nameless_registry(folder: &Path) -> bool {
    let starts = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with('-'));
    starts && folder.parent().is_some_and(|parent| parent.ends_with("registry/src"))
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

    fn folder(path: &Path) -> PathBuf {
        fs::create_dir_all(path).unwrap();
        path.to_owned()
    }

    #[test]
    fn what_was_compiled_of_archives_of_ours_is_found_and_nothing_else() {
        let debug = tempfile::tempdir().unwrap();
        let (deps, records) =
            (folder(&debug.path().join("deps")), folder(&debug.path().join(".fingerprint")));
        let unpacked = "/home/.cargo/registry/src/-0123abcd/weir-base-0.1.0/src/lib.rs";
        for (list, source) in [
            ("weir_base-1111.d", unpacked),
            ("weir_pull-2222.d", "/here/crates/pull/src/lib.rs"),
            ("weir_link-3333.d", "/home/.cargo/registry/src/index.crates.io-0123/weir-link-0.1.0/src/lib.rs"),
            ("other-4444.d", unpacked),
            ("weir_base-5555.rmeta", unpacked),
        ] {
            fs::write(deps.join(list), format!("{}: {source}\n", deps.join(list).display())).unwrap();
        }
        for record in ["weir-base-1111", "weir-pull-2222", "weir-link-3333", "other-4444", "weir-base-5555"] {
            folder(&records.join(record));
        }
        assert_eq!(compiled_from_archives(debug.path()), [records.join("weir-base-1111")]);
        assert_eq!(compiled_from_archives(&debug.path().join("none")), Vec::<PathBuf>::new());
    }

    #[test]
    fn archives_of_ours_that_lie_unpacked_are_found_in_registries_without_a_host_alone() {
        let home = tempfile::tempdir().unwrap();
        let sources = home.path().join("registry/src");
        let stale = folder(&sources.join("-0123abcd/weir-base-0.1.0"));
        for other in ["-0123abcd/bytes-1.0.0", "index.crates.io-0123/weir-base-0.1.0"] {
            folder(&sources.join(other));
        }
        let names = ["weir-base-0.1.0".to_owned(), "weir-pull-0.1.0".to_owned()];
        assert_eq!(unpacked_in(&sources, &names), [stale]);
        assert_eq!(unpacked_in(&home.path().join("none"), &names), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_registry_without_a_host_is_one_that_cargo_package_unpacked_to() {
        for (path, nameless) in [
            ("/home/.cargo/registry/src/-0123abcd", true),
            ("/home/.cargo/registry/src/index.crates.io-0123", false),
            ("/home/-0123abcd", false),
        ] {
            assert_eq!(is_nameless_registry(Path::new(path)), nameless, "{path}");
            assert_eq!(is_unpacked(&Path::new(path).join("weir-base-0.1.0/src/lib.rs")), nameless, "{path}");
        }
    }
}
