//! Tells the program which commit it was built from, as `WEIR_COMMIT`: of git, of the package, or `unknown`.

use std::path::Path;
use std::process::Command;

/// Digits of a commit that are shown.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = from_package().or_else(from_git).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=WEIR_COMMIT={commit}");
}

/// A package made by `cargo package` says which commit it is of.
fn from_package() -> Option<String> {
    let text = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let digits = text.split("\"sha1\"").nth(1)?.split('"').nth(1)?;
    digits.get(..DIGITS).map(str::to_owned)
}

fn from_git() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"])?;
    // HEAD names a branch, the branch a commit: either may change. A branch that was packed has no file of its own.
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    commit.get(..DIGITS).map(str::to_owned)
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
