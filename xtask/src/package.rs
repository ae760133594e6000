//! Every crate that is published can be: it says what a registry and its readers need, and its archive compiles by itself.

use std::fs;
use std::path::Path;

use cargo_metadata::{Metadata, Package};

use crate::gates::Outcome;
use crate::metadata::{locked, share_dependencies};
use crate::repo::Repo;
use crate::run::{self, Error};

/// Fields of the manifests, then the archives.
pub(crate) fn gate(repo: &Repo) -> Result<Outcome, Error> {
    let metadata = locked(repo)?;
    let mut published = metadata.workspace_packages();
    published.retain(|package| is_published(package));
    let mut findings: Vec<String> = published.iter().flat_map(|package| missing(package)).collect();
    if !pack(repo, &metadata)? {
        findings.push("cargo package: see above".into());
    } else if !compiles(repo, &metadata, &published)? {
        findings.push("an archive does not compile by itself: see above".into());
    }
    Ok(Outcome::of(findings))
}

/// Makes the archives, in the target folder. A tree with changes that are not committed yet is packed as it stands.
fn pack(repo: &Repo, metadata: &Metadata) -> Result<bool, Error> {
    let mut pack = run::cargo(repo);
    pack.args(["package", "--quiet", "--no-verify", "--allow-dirty", "--workspace"]);
    for package in metadata.workspace_packages() {
        if !is_published(package) {
            pack.args(["--exclude", package.name.as_str()]);
        }
    }
    run::succeeds(&mut pack)
}

/// Unpacks the archives side by side and checks them against each other, all at once. Cargo's own verification compiles each by itself
/// and once more for each archive that depends on it.
fn compiles(repo: &Repo, metadata: &Metadata, published: &[&Package]) -> Result<bool, Error> {
    let (target, folder) = (&metadata.target_directory, metadata.target_directory.join("unpacked"));
    let folder = folder.as_std_path();
    let write = |source| Error::Write { path: folder.to_owned(), source };
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(write)?;
    }
    fs::create_dir_all(folder).map_err(write)?;
    for package in published {
        let archive = target.join("package").join(format!("{}.crate", archive_of(package)));
        if !unpack(archive.as_std_path(), folder)? {
            return Ok(false);
        }
    }
    fs::write(folder.join("Cargo.toml"), workspace(published)).map_err(write)?;
    // with the versions that are locked here
    fs::write(folder.join("Cargo.lock"), repo.read("Cargo.lock")?).map_err(write)?;
    let mut check = run::cargo(repo);
    check.args(["check", "--quiet", "--workspace", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    check.arg("--target-dir").arg(target);
    share_dependencies(&mut check, metadata);
    run::succeeds(&mut check)
}

/// The files get the present time. The times in archives are all the same, so that Cargo would not compile a file again that an earlier
/// archive had otherwise.
fn unpack(archive: &Path, folder: &Path) -> Result<bool, Error> {
    run::succeeds(run::program("tar", folder).arg("-xzmf").arg(archive))
}

/// The name of a package's archive, without its ending, and of the folder in the archive.
fn archive_of(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

/// The manifest of a workspace of these archives' folders, which depend on each other.
fn workspace(published: &[&Package]) -> String {
    let members: Vec<String> = published.iter().map(|package| format!("{:?}", archive_of(package))).collect();
    let patches: Vec<String> = published
        .iter()
        .map(|package| format!("{} = {{ path = {:?} }}\n", package.name, archive_of(package)))
        .collect();
    format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n[patch.crates-io]\n{}",
        members.join(", "),
        patches.concat()
    )
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

    #[test]
    fn archives_are_checked_against_each_other() {
        let metadata = locked(&Repo::find().unwrap()).unwrap();
        let mut two = metadata.workspace_packages();
        two.retain(|package| matches!(package.name.as_str(), "weir-base" | "weir-pull"));
        two.sort_by_key(|package| package.name.to_string());
        let version = &two[0].version;
        assert_eq!(
            workspace(&two),
            format!(
                "[workspace]\nresolver = \"3\"\nmembers = [\"weir-base-{version}\", \"weir-pull-{version}\"]\n\n\
                 [patch.crates-io]\nweir-base = {{ path = \"weir-base-{version}\" }}\n\
                 weir-pull = {{ path = \"weir-pull-{version}\" }}\n"
            )
        );
    }

    #[test]
    fn what_is_unpacked_is_newer_than_what_was_compiled_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_153_704_088);
        fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        let archive = folder.path().join("archive");
        assert!(
            run::succeeds(run::program("tar", folder.path()).arg("-czf").arg(&archive).arg("file")).unwrap()
        );
        fs::remove_file(&file).unwrap();
        assert!(unpack(&archive, folder.path()).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        assert!(fs::metadata(&file).unwrap().modified().unwrap() > old);
    }
}
