//! What pure crates may not name, and what no crate may contain.
//!
//! The tables are in [`rules`]. Clippy's `disallowed-types` in each pure crate's `clippy.toml` says
//! the same once more with resolved names; this gate also sees imports that clippy does not.

mod rules;
#[cfg(test)]
mod tests;

use proc_macro2::TokenTree;

use crate::layers;
use crate::lengths::is_test_file;
use crate::paths::{How, NamedPath, named_paths};
use crate::repo::{Repo, TextFile};
use crate::run::Error;
use crate::spans::{TestModule, test_modules};
use crate::trees::{Level, attributes, group, is, is_path_separator, levels, line, starts_with};
use rules::{DECODING, EXCEPTIONS, MODULES, PATHS, Rule, UNBOUNDED, UNSAFE_FILES, WORDS};

/// All Rust files of `crates/`, `xtask/`, `fuzz/`, `bench/`, `hostile/` and `interop/`, and the pure crates' settings.
pub(crate) fn gate(repo: &Repo) -> Result<Vec<String>, Error> {
    let mut findings = Vec::new();
    for folder in ["crates", "xtask", "fuzz", "bench", "hostile", "interop"] {
        for file in repo.rust_files(folder)? {
            findings.extend(judge(&file));
        }
    }
    for folder in layers::pure() {
        if repo.root().join("crates").join(folder).is_dir() {
            let settings = format!("crates/{folder}/clippy.toml");
            findings.extend(settings_lack(&settings, repo.read(&settings).ok().as_deref()));
        }
    }
    Ok(findings)
}

/// Everything that this gate has to say about one file.
fn judge(file: &TextFile) -> Vec<String> {
    let all = levels(&file.text);
    let mut found = unfinished(&all);
    found.extend(sleeping_tests(file, &all));
    found.extend(limitless(&all));
    found.extend(unsafe_code(&file.path, &all));
    let owner = owner(&file.path);
    if owner.is_some_and(|owner| layers::pure().any(|pure| pure == owner)) {
        found.extend(impure(&file.path, &all));
        if file.path.ends_with("/src/lib.rs") && file.path.matches('/').count() == 3 {
            found.extend(lacking(&all, "forbid", &["unsafe_code"]));
            if owner.is_some_and(|owner| DECODING.contains(&owner)) {
                found.extend(lacking(&all, "warn", &["clippy", "indexing_slicing"]));
            }
        }
    } else if owner == Some("sim") {
        found.extend(unordered(&file.path, &all));
    }
    found.sort();
    found.dedup();
    found.into_iter().map(|(line, finding)| format!("{}:{line}: {finding}", file.path)).collect()
}

type Finding = (usize, String);

/// The crate folder that a path lies in.
fn owner(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split('/').next()
}

/// Names of clocks, sockets, threads, global randomness and unordered maps.
fn impure(path: &str, all: &[Level]) -> Vec<Finding> {
    forbidden(path, all, |_| true)
}

/// The simulator owns time and order: there only what would make two runs differ is forbidden.
fn unordered(path: &str, all: &[Level]) -> Vec<Finding> {
    forbidden(path, all, |rule| rule.breaks_determinism)
}

fn forbidden(path: &str, all: &[Level], applies: fn(&Rule) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for named in named_paths(all) {
        for rule in PATHS.iter().filter(|rule| applies(rule)) {
            if named.contains(rule.name) && !excepted(path, rule.name) {
                found.push((named.line, format!("`{}`: {}", rule.name.join("::"), rule.reason)));
            }
        }
        for rule in WORDS.iter().filter(|rule| applies(rule)) {
            if named.contains(rule.name) && !excepted(path, rule.name) {
                found.push((named.line, format!("`{}`: {}", rule.name.join("::"), rule.reason)));
            }
        }
        if let Some(module) = imported_whole(&named) {
            let advice = "import what you need of it by name, so that this gate can see it";
            found.push((named.line, format!("`use {}`: {advice}", module.join("::"))));
        }
    }
    found
}

/// A module with forbidden names in it, imported as a whole.
fn imported_whole(named: &NamedPath) -> Option<&'static [&'static str]> {
    let module = MODULES.iter().find(|module| named.segments == **module)?;
    (named.how != How::Inline).then_some(*module)
}

fn excepted(path: &str, name: &[&str]) -> bool {
    EXCEPTIONS.iter().any(|exception| path.starts_with(exception.below) && exception.name == name)
}

/// `todo!`, `unimplemented!`, `#[ignore]`, `allow(dead_code)`: work that only looks done.
fn unfinished(all: &[Level]) -> Vec<Finding> {
    let mut found = Vec::new();
    for trees in all {
        for (at, tree) in trees.iter().enumerate() {
            for name in ["todo", "unimplemented"] {
                if starts_with(&trees[at..], &[name, "!"]) {
                    found.push((line(tree), format!("`{name}!` is work that is not done")));
                }
            }
        }
    }
    for (line, inside) in attributes(all) {
        let has = |word: &str| inside.iter().any(|other| other == word);
        let first = inside.first().map(String::as_str);
        if first == Some("ignore") || first == Some("cfg_attr") && has("ignore") {
            found.push((line, "`#[ignore]`: a test runs or is removed".into()));
        }
        let silences = has("allow") || has("expect");
        if silences && (has("dead_code") || has("unused")) {
            found.push((line, "dead code is removed, not allowed".into()));
        }
    }
    found
}

/// Queues that a peer, or a slow user, could grow without limit.
fn limitless(all: &[Level]) -> Vec<Finding> {
    let finding = |line| (line, "every queue is bounded, by a named limit".to_owned());
    let mut found = Vec::new();
    for trees in all {
        for (at, tree) in trees.iter().enumerate() {
            let rest = &trees[at..];
            let without_limit =
                starts_with(rest, &["mpsc", ":", ":", "channel"]) && takes_nothing(&rest[4..]);
            if without_limit || UNBOUNDED.iter().any(|name| is(tree, name)) {
                found.push(finding(line(tree)));
            }
        }
    }
    // imported by itself it is called as `channel`, which says nothing: the standard library's has no limit
    let imported = named_paths(all).into_iter().filter(|named| named.how != How::Inline);
    for named in imported.filter(|named| named.contains(&["std", "sync", "mpsc", "channel"])) {
        found.push(finding(named.line));
    }
    found
}

/// Whether a call begins here, after its generic arguments if there are any, that is given nothing.
fn takes_nothing(trees: &[TokenTree]) -> bool {
    let mut call = 0;
    if is_path_separator(trees) && trees.get(2).is_some_and(|tree| is(tree, "<")) {
        let mut depth = 0_usize;
        call = trees.len();
        for (at, pair) in trees.windows(2).enumerate().skip(1) {
            let [before, tree] = pair else { continue };
            depth += usize::from(is(tree, "<"));
            if is(tree, ">") && !is(before, "-") {
                depth -= 1;
                if depth == 0 {
                    call = at + 2;
                    break;
                }
            }
        }
    }
    trees.get(call).and_then(group).is_some_and(|arguments| arguments.stream().is_empty())
}

/// A test that sleeps is slow on a good day and fails on a bad one.
fn sleeping_tests(file: &TextFile, all: &[Level]) -> Vec<Finding> {
    let modules = test_modules(&file.text);
    let in_test = |line: usize| {
        is_test_file(&file.path)
            || modules.iter().any(|module| {
                matches!(module, TestModule::Inline { first, last } if (*first..=*last).contains(&line))
            })
    };
    named_paths(all)
        .iter()
        .filter(|named| named.contains(&["thread", "sleep"]) && in_test(named.line))
        .map(|named| (named.line, "a test waits for events, never for time".into()))
        .collect()
}

fn unsafe_code(path: &str, all: &[Level]) -> Vec<Finding> {
    if UNSAFE_FILES.contains(&path) {
        return Vec::new();
    }
    all.iter()
        .flatten()
        .filter(|tree| is(tree, "unsafe"))
        .map(|tree| (line(tree), "`unsafe` outside the files named in xtask".into()))
        .collect()
}

/// A crate attribute `#![level(lint)]` that is not there.
fn lacking(all: &[Level], level: &str, lint: &[&str]) -> Option<Finding> {
    let present = attributes(all).iter().any(|(_, inside)| {
        inside.first().is_some_and(|first| first == level)
            && inside.windows(lint.len()).skip(1).any(|words| words == lint)
    });
    (!present).then(|| (1, format!("this crate begins with `#![{level}({})]`", lint.join("::"))))
}

/// What a pure crate's `clippy.toml` must name, so that clippy sees it under any alias.
fn settings_lack(path: &str, text: Option<&str>) -> Vec<String> {
    let Some(text) = text else {
        return vec![format!("{path}: missing; a pure crate has one")];
    };
    rules::CLIPPY
        .iter()
        .filter(|name| !text.contains(&format!("\"{name}\"")))
        .map(|name| format!("{path}: `{name}` is not disallowed"))
        .collect()
}
