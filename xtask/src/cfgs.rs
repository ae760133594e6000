//! Where pure crates may depend on what they are built for: in their registries alone.
//!
//! A `cfg` of the target or of a feature in the midst of code makes two programs of one, of which tests see one. What a build
//! leaves out, a registry leaves out: a module or an entry of a list.

use crate::layers;
use crate::repo::{Repo, TextFile};
use crate::run::Error;
use crate::trees::{Level, group, is, levels, line, words};

#[cfg(test)]
mod tests;

/// Conditions on the build. `test`, `debug_assertions` and the like are none.
const CONDITIONS: &[&str] =
    &["target_family", "target_arch", "target_os", "target_env", "unix", "windows", "feature"];

/// Files that may have so many, and no more.
const REGISTRIES: &[(&str, usize)] = &[
    ("crates/libp2p/src/lib.rs", 3), // which protocols: TLS needs ring; which of two ciphers seals records
    ("crates/link/src/lib.rs", 1),   // which transports: QUIC needs sockets and ring
    ("crates/link/src/transports.rs", 2), // the same: its endpoint, its clock, and what stands for either without it
];

/// All pure crates.
pub(crate) fn gate(repo: &Repo) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    for folder in layers::pure() {
        files.extend(repo.rust_files(&format!("crates/{folder}"))?);
    }
    Ok(judge(&files, REGISTRIES))
}

fn judge(files: &[TextFile], registries: &[(&str, usize)]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        let lines = conditions(&levels(&file.text));
        let allowed = registries.iter().find(|(path, _)| *path == file.path).map_or(0, |(_, count)| *count);
        if lines.len() > allowed {
            findings.extend(lines.iter().map(|line| {
                format!("{}:{line}: depends on the build; at most {allowed} may, in a registry", file.path)
            }));
        } else if lines.len() < allowed {
            let found = lines.len();
            findings.push(format!(
                "{}: only {found} conditions on the build; write that in xtask/src/cfgs.rs",
                file.path
            ));
        }
    }
    for (path, _) in registries {
        if !files.iter().any(|file| file.path == *path) {
            findings.push(format!("{path}: there is no such file; remove it in xtask/src/cfgs.rs"));
        }
    }
    findings
}

/// The lines of each `cfg(…)`, `cfg!(…)` and `cfg_attr(…)` that asks for the target or a feature.
fn conditions(levels: &[Level]) -> Vec<usize> {
    let mut found = Vec::new();
    for trees in levels {
        for (at, tree) in trees.iter().enumerate() {
            if !is(tree, "cfg") && !is(tree, "cfg_attr") {
                continue;
            }
            let mark = usize::from(trees.get(at + 1).is_some_and(|next| is(next, "!")));
            let inside = trees.get(at + 1 + mark).and_then(group).map(|group| words(group.stream()));
            if inside.is_some_and(|words| words.iter().any(|word| CONDITIONS.contains(&word.as_str()))) {
                found.push(line(tree));
            }
        }
    }
    found
}
