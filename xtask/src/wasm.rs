//! The pure crates on `wasm32-unknown-unknown`: they compile, and nothing in their tree needs a
//! system, a clock or a host's randomness. The tests of libp2p's protocols run on wasm, too.

use std::path::Path;

use crate::gates::Outcome;
use crate::layers;
use crate::python;
use crate::repo::Repo;
use crate::run::{self, Error};

const TARGET: &str = "wasm32-unknown-unknown";

/// What tests run on: wasm with as much of a system as the test harness needs. The code that is tested is that of [`TARGET`].
const TESTED_ON: &str = "wasm32-wasip1";

const WASMTIME: &str = "wasmtime==50.0.1";

/// Packages that may not be in the tree there.
const UNWANTED: &[&str] = &["getrandom", "js-sys", "ring", "rustls", "quinn-proto", "tokio", "mio"];

/// `cargo xtask wasm`: here a missing target is an error.
pub(crate) fn chore(repo: &Repo) -> Result<bool, Error> {
    match gate(repo)? {
        Outcome::Passed => tests(repo),
        Outcome::Skipped(reason) => Err(Error::Usage(reason)),
        Outcome::Failed(findings) => {
            for finding in findings {
                println!("{finding}");
            }
            Ok(false)
        }
    }
}

/// The tests of libp2p's protocols there, with the vectors that other targets have, and without `ring`.
fn tests(repo: &Repo) -> Result<bool, Error> {
    let python = |bin: &Path| bin.join("python").to_string_lossy().into_owned();
    let works = |bin: &Path| {
        let mut version = run::program(&python(bin), repo.root());
        let asks = "from importlib.metadata import version; print('wasmtime==' + version('wasmtime'))";
        matches!(run::output(version.args(["-c", asks])), Ok(Some(text)) if text.trim() == WASMTIME)
    };
    let Some(bin) = python::environment(repo, "wasmtime", &[WASMTIME], works)? else {
        println!(
            "tests on wasm: not run, for there is no Python with venv; `pip install {WASMTIME}` brings what runs them"
        );
        return Ok(true);
    };
    if !run::succeeds(run::program("rustup", repo.root()).args(["target", "add", TESTED_ON]))? {
        return Ok(false);
    }
    let program = repo.root().join("xtask/wasi.py");
    let runner = format!("target.{TESTED_ON}.runner=[{:?}, {:?}]", python(&bin), program.to_string_lossy());
    let mut test = run::cargo(repo);
    test.args(["test", "--quiet", "--locked", "--package", "weir-libp2p", "--lib"]);
    run::succeeds(test.args(["--target", TESTED_ON, "--config", &runner]))
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
