//! Copies the documentation in the sources of `node`: a module for each file, in which each line has the number that it has there.
#![allow(clippy::print_stdout, reason = "cargo reads what a build script prints")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let sources = Path::new("../crates/node/src");
    println!("cargo::rerun-if-changed={}", sources.display());
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut modules = String::new();
    for path in sources_below(sources)? {
        let name = path.strip_prefix(sources)?.with_extension("").display().to_string().replace('/', "_");
        let documentation: String = fs::read_to_string(&path)?.lines().map(documentation).collect();
        let copy = out.join(format!("{name}.md"));
        fs::write(&copy, documentation)?;
        let copy = copy.display().to_string();
        writeln!(modules, "#[doc = include_str!({copy:?})] pub mod r#{name} {{}}")?;
    }
    fs::write(out.join("modules.rs"), modules)?;
    Ok(())
}

fn sources_below(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources_below(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A line of documentation; of any other line nothing but its end.
fn documentation(line: &str) -> String {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).unwrap_or_default();
    format!("{}\n", text.strip_prefix(' ').unwrap_or(text))
}
