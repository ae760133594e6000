//! The README's programs in a crate of their own, as a reader would make it: manifest and code as they stand in the page.

use std::path::Path;

use crate::gates::Outcome;
use crate::metadata::{locked, share_dependencies};
use crate::repo::Repo;
use crate::run::{self, Error};

/// Makes the crate under `target/` and runs it. Of the README's text only the place of the library is changed: this tree
/// instead of the repository's address.
pub(crate) fn gate(repo: &Repo) -> Result<Outcome, Error> {
    let page = repo.read("README.md")?;
    let all = (block(&page, "manifest"), block(&page, "lines"), block(&page, "example"));
    let (Some(manifest), Some(lines), Some(program)) = all else {
        return Ok(Outcome::Failed(vec![
            "README.md: no block between the marks `manifest`, `lines` or `example`".into(),
        ]));
    };
    let Some(manifest) = here(manifest, repo.root()) else {
        return Ok(Outcome::Failed(vec!["README.md: the manifest depends on no `git = \"..\"`".into()]));
    };
    let folder = repo.root().join("target/readme");
    let metadata = locked(repo)?;
    // a workspace of its own, with the versions that this one has locked
    write(&folder.join("Cargo.toml"), &format!("{PACKAGE}{manifest}\n[workspace]\n"))?;
    write(&folder.join("src/main.rs"), program)?;
    write(&folder.join("examples/lines.rs"), lines)?; // it would run for ever: compiled only
    write(&folder.join("Cargo.lock"), &repo.read("Cargo.lock")?)?;
    let mut findings = Vec::new();
    for (what, wrong) in [
        (&["build", "--example", "lines"][..], "its first lines do not compile"),
        (&["run"][..], "its example does not run"),
    ] {
        let mut command = run::cargo(repo);
        command.args(what).args(["--quiet", "--manifest-path"]).arg(folder.join("Cargo.toml"));
        share_dependencies(&mut command, &metadata);
        command.arg("--target-dir").arg(&metadata.target_directory);
        if !run::succeeds(&mut command)? {
            findings.push(format!("README.md: {wrong} in a crate of its own"));
        }
    }
    Ok(if findings.is_empty() { Outcome::Passed } else { Outcome::Failed(findings) })
}

const PACKAGE: &str =
    "[package]\nname = \"fresh\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n";

/// What stands in the fenced block between `<!-- NAME: begin -->` and its end.
fn block<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = page.split_once(&format!("<!-- {name}: begin -->"))?;
    let (inside, _) = after.split_once(&format!("<!-- {name}: end -->"))?;
    let (_, fenced) = inside.split_once("```")?;
    let (_, code) = fenced.split_once('\n')?;
    code.split_once("```").map(|(code, _)| code)
}

/// The manifest with the library from this tree.
fn here(manifest: &str, root: &Path) -> Option<String> {
    let (before, rest) = manifest.split_once("git = \"")?;
    let (_, after) = rest.split_once('"')?;
    let library = root.join("crates/weir");
    Some(format!("{before}path = {:?}{after}", library.to_string_lossy()))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n<!-- manifest: begin -->\n```toml\nw = { git = \"https://a.example/w\", x = 1 }\n```\n<!-- manifest: end -->\n\
        ```rust\nother();\n```\n<!-- example: begin -->\n```rust\nfn main() {}\n```\n<!-- example: end -->\n";

    #[test]
    fn the_marked_blocks_are_read() {
        assert_eq!(block(PAGE, "example"), Some("fn main() {}\n"));
        assert_eq!(block(PAGE, "manifest"), Some("w = { git = \"https://a.example/w\", x = 1 }\n"));
        assert_eq!(block(PAGE, "another"), None);
        assert_eq!(block("<!-- example: begin -->\n<!-- example: end -->", "example"), None);
    }

    #[test]
    fn the_library_comes_from_this_tree() {
        let manifest = here(block(PAGE, "manifest").unwrap(), Path::new("/r")).unwrap();
        assert_eq!(manifest, "w = { path = \"/r/crates/weir\", x = 1 }\n");
        assert_eq!(here("w = \"1\"", Path::new("/r")), None);
    }
}
