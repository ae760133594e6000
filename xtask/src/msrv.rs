//! The oldest Rust that the workspace states is new enough for what it uses.
//!
//! Known so: here, every package of the lock file states no newer one; Clippy's `incompatible_msrv` compares what is used of
//! the standard library. That the compiler of that version itself is content, only a run of it would show.

use crate::repo::Repo;
use crate::run::{self, Error};

/// What is wrong with the workspace's `rust-version`.
pub(crate) fn gate(repo: &Repo) -> Result<Vec<String>, Error> {
    let mut metadata = run::cargo(repo);
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    let Some(text) = run::output(&mut metadata)? else {
        return Ok(vec!["cargo metadata failed; is Cargo.lock up to date?".into()]);
    };
    Ok(judge(&repo.read("Cargo.toml")?, &text))
}

fn judge(manifest: &str, metadata: &str) -> Vec<String> {
    let stated = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.split('"').next());
    let Some(ours) = stated.and_then(version) else {
        return vec!["Cargo.toml: `rust-version` is missing".into()];
    };
    let mut newer: Vec<&str> = strings(metadata, "rust_version").collect();
    newer.retain(|theirs| version(theirs).is_none_or(|theirs| theirs > ours));
    newer.sort_unstable();
    newer.dedup();
    let finding = |theirs| format!("Cargo.toml: `rust-version` is older than the {theirs} of a dependency");
    newer.into_iter().map(finding).collect()
}

/// The values of all fields of this name that are strings without escapes.
fn strings<'a>(json: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let field = format!("\"{name}\":\"");
    let starts: Vec<usize> = json.match_indices(&field).map(|(at, _)| at + field.len()).collect();
    starts.into_iter().filter_map(|at| json.get(at..)?.split('"').next())
}

/// Major, minor, patch; a part that is not written is 0.
fn version(text: &str) -> Option<[u32; 3]> {
    let mut parts = [0; 3];
    for (index, part) in text.split('.').enumerate() {
        *parts.get_mut(index)? = part.parse().ok()?;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[workspace.package]\nedition = \"2024\"\nrust-version = \"1.90\" # why\n";

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_found() {
        let metadata = |version| format!("{{\"name\":\"a\",\"rust_version\":\"{version}\",\"targets\":[]}}");
        for fine in ["1.9", "1.89.2", "1.90", "1.90.0"] {
            assert_eq!(judge(MANIFEST, &metadata(fine)), [""; 0], "{fine}");
        }
        for newer in ["1.90.1", "1.91", "1.100", "2.0", "unreadable"] {
            assert_eq!(judge(MANIFEST, &metadata(newer)).len(), 1, "{newer}");
        }
        assert_eq!(judge(MANIFEST, "{\"name\":\"a\",\"rust_version\":null}"), [""; 0]);
    }

    #[test]
    fn a_workspace_without_a_version_is_found() {
        assert_eq!(judge("[workspace]\n", "{}").len(), 1);
    }
}
