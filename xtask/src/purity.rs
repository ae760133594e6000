//! What pure crates may not name, and what no crate may contain.
//!
//! The tables are in [`rules`]. Clippy's `disallowed-types` in each pure crate's `clippy.toml` says
//! the same once more with resolved names; this gate also sees imports that clippy does not.

mod rules;
#[cfg(test)]
mod tests;

use crate::layers;
use crate::lengths::is_test_file;
use crate::lexer::{Token, tokens};
use crate::paths::{How, NamedPath, named_paths};
use crate::repo::{Repo, TextFile};
use crate::run::Error;
use crate::spans::{TestModule, attributes, starts_with, test_modules};
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
    let all = tokens(&file.text);
    let mut found = unfinished(&all);
    found.extend(sleeping_tests(&file.path, &all));
    found.extend(limitless(&all));
    found.extend(unsafe_code(&file.path, &all));
    let owner = owner(&file.path);
    if owner.is_some_and(|owner| layers::pure().any(|pure| pure == owner)) {
        found.extend(impure(&file.path, &all));
        if file.path.ends_with("/src/lib.rs") && file.path.matches('/').count() == 3 {
            found.extend(lacking(&all, "forbid", &["unsafe_code"]));
            if owner.is_some_and(|owner| DECODING.contains(&owner)) {
                found.extend(lacking(&all, "warn", &["clippy", "::", "indexing_slicing"]));
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
fn impure(path: &str, all: &[Token<'_>]) -> Vec<Finding> {
    forbidden(path, all, |_| true)
}

/// The simulator owns time and order: there only what would make two runs differ is forbidden.
fn unordered(path: &str, all: &[Token<'_>]) -> Vec<Finding> {
    forbidden(path, all, |rule| rule.breaks_determinism)
}

fn forbidden(path: &str, all: &[Token<'_>], applies: fn(&Rule) -> bool) -> Vec<Finding> {
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
fn imported_whole(named: &NamedPath<'_>) -> Option<&'static [&'static str]> {
    let module = MODULES.iter().find(|module| named.segments == **module)?;
    (named.how != How::Inline).then_some(*module)
}

fn excepted(path: &str, name: &[&str]) -> bool {
    EXCEPTIONS.iter().any(|exception| path.starts_with(exception.below) && exception.name == name)
}

/// `todo!`, `unimplemented!`, `#[ignore]`, `allow(dead_code)`: work that only looks done.
fn unfinished(all: &[Token<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, token) in all.iter().enumerate() {
        for name in ["todo", "unimplemented"] {
            if starts_with(all, at, &[name, "!"]) {
                found.push((token.line, format!("`{name}!` is work that is not done")));
            }
        }
    }
    for inside in attributes(all) {
        let (Some(first), has) = (inside.first(), |word: &str| inside.iter().any(|token| token.is(word)))
        else {
            continue;
        };
        if first.is("ignore") || first.is("cfg_attr") && has("ignore") {
            found.push((first.line, "`#[ignore]`: a test runs or is removed".into()));
        }
        let silences = has("allow") || has("expect");
        if silences && (has("dead_code") || has("unused")) {
            found.push((first.line, "dead code is removed, not allowed".into()));
        }
    }
    found
}

/// Queues that a peer, or a slow user, could grow without limit.
fn limitless(all: &[Token<'_>]) -> Vec<Finding> {
    let finding = |line| (line, "every queue is bounded, by a named limit".to_owned());
    let mut found = Vec::new();
    for (at, token) in all.iter().enumerate() {
        let without_limit = starts_with(all, at, &["mpsc", "::", "channel"]) && takes_nothing(all, at + 3);
        if without_limit || UNBOUNDED.iter().any(|name| token.is(name)) {
            found.push(finding(token.line));
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
fn takes_nothing(all: &[Token<'_>], at: usize) -> bool {
    let mut open = at;
    if starts_with(all, at, &["::", "<"]) {
        let mut depth = 0_usize;
        open = all.len();
        for next in at + 1..all.len() {
            let arrow = starts_with(all, next - 1, &["-", ">"]);
            if starts_with(all, next, &["<"]) {
                depth += 1;
            } else if starts_with(all, next, &[">"]) && !arrow {
                depth -= 1;
                if depth == 0 {
                    open = next + 1;
                    break;
                }
            }
        }
    }
    starts_with(all, open, &["(", ")"])
}

/// A test that sleeps is slow on a good day and fails on a bad one.
fn sleeping_tests(path: &str, all: &[Token<'_>]) -> Vec<Finding> {
    let modules = test_modules(all);
    let in_test = |line: usize| {
        is_test_file(path)
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

fn unsafe_code(path: &str, all: &[Token<'_>]) -> Vec<Finding> {
    if UNSAFE_FILES.contains(&path) {
        return Vec::new();
    }
    all.iter()
        .filter(|token| token.is("unsafe"))
        .map(|token| (token.line, "`unsafe` outside the files named in xtask".into()))
        .collect()
}

/// A crate attribute `#![level(lint)]` that is not there.
fn lacking(all: &[Token<'_>], level: &str, lint: &[&str]) -> Option<Finding> {
    let present = attributes(all).iter().any(|inside| {
        starts_with(inside, 0, &[level, "("]) && (2..inside.len()).any(|at| starts_with(inside, at, lint))
    });
    (!present).then(|| (1, format!("this crate begins with `#![{level}({})]`", lint.concat())))
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
