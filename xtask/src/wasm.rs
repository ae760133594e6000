//! The pure crates on `wasm32-unknown-unknown`: they compile, and nothing in their tree needs a
//! system, a clock or a host's randomness.

use crate::gates::Outcome;
use crate::layers;
use crate::repo::Repo;
use crate::run::{self, Error};

const TARGET: &str = "wasm32-unknown-unknown";

/// Packages that may not be in the tree there.
const UNWANTED: &[&str] = &["getrandom", "js-sys", "ring", "rustls", "quinn-proto", "tokio", "mio"];

/// `cargo xtask wasm`: here a missing target is an error.
pub(crate) fn chore(repo: &Repo) -> Result<bool, Error> {
    match gate(repo)? {
        Outcome::Passed => Ok(true),
        Outcome::Skipped(reason) => Err(Error::Usage(reason)),
        Outcome::Failed(findings) => {
            for finding in findings {
                println!("{finding}");
            }
            Ok(false)
        }
    }
}

/// The same as a gate: skipped where the target is not installed.
pub(crate) fn gate(repo: &Repo) -> Result<Outcome, Error> {
    if !installed(repo)? {
        let advice = format!("not installed: rustup target add {TARGET}");
        return Ok(Outcome::Skipped(advice));
    }
    let mut packages = Vec::new();
    for folder in layers::pure() {
        packages.extend(["-p".to_owned(), layers::package(folder)]);
    }
    let mut check = run::cargo(repo);
    check.args(["check", "--quiet", "--target", TARGET]).args(&packages);
    if !run::succeeds(&mut check)? {
        return Ok(Outcome::Failed(vec![format!("does not compile for {TARGET}")]));
    }
    let mut tree = run::cargo(repo);
    tree.args(["tree", "--target", TARGET, "-e", "normal", "--prefix", "none"]).args(&packages);
    let Some(text) = run::output(&mut tree)? else {
        return Ok(Outcome::Failed(vec!["cargo tree failed".into()]));
    };
    Ok(Outcome::of(unwanted(&text)))
}

/// Unwanted packages in the output of `cargo tree --prefix none`, each once.
fn unwanted(tree: &str) -> Vec<String> {
    let mut names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| UNWANTED.contains(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| format!("`{name}` is in the tree of the pure crates for {TARGET}")).collect()
}

/// Asks the compiler, so that toolchains without rustup answer too.
fn installed(repo: &Repo) -> Result<bool, Error> {
    let mut query = run::program("rustc", repo.root());
    query.args(["--print", "target-libdir", "--target", TARGET]);
    let folder = run::output(&mut query)?.unwrap_or_default();
    let entries = crate::repo::children(std::path::Path::new(folder.trim()))?;
    Ok(!entries.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwanted_packages_are_found_once() {
        let tree = "weir-link v0.1.0 (x)\nring v0.17.0\nbytes v1.0\n\nring v0.17.0 (*)\nrustls v0.23.0\n";
        let found = unwanted(tree);
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("`ring`") && found[1].contains("`rustls`"));
    }

    #[test]
    fn names_that_only_begin_alike_are_fine() {
        assert!(unwanted("rustls-pki-types v1.0.0\nstring v1.0.0\n").is_empty());
    }
}
