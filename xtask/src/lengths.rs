//! How long files, functions and their names may be, and how large `base` may grow.

use std::collections::BTreeSet;

use crate::repo::{Repo, TextFile};
use crate::run::Error;
use crate::spans::{TestModule, functions, test_modules};
use crate::trees::{group, levels, line};

#[cfg(test)]
mod tests;

/// Lines of one file, tests included.
const FILE_LINES: usize = 600;
/// Lines of one function, from `fn` to its last brace.
const FUNCTION_LINES: usize = 100;
/// Characters of a function's name, which one reads in one go: that of a test is a sentence.
const NAME_CHARACTERS: usize = 80;
/// Lines of `crates/base/src` with code on them, without tests: a vocabulary that grows further is a dump. Comments and
/// blank lines are free, so that nobody saves on documentation.
const BASE_LINES: usize = 2_500;
/// The harness in which every crate tests its stream users: tests, though no `cfg(test)` says so.
const HARNESS: &str = "crates/base/src/pair/";

/// All files of the repository, the outer workspaces included.
pub(crate) fn gate(repo: &Repo) -> Result<Vec<String>, Error> {
    let mut findings = Vec::new();
    for file in repo.rust_files("")? {
        findings.extend(too_long(&file));
    }
    let lines = code_lines(&repo.rust_files("crates/base/src")?);
    if lines > BASE_LINES {
        findings.push(format!("crates/base: {lines} lines of code without tests, at most {BASE_LINES}"));
    }
    Ok(findings)
}

fn too_long(file: &TextFile) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES {
        findings.push(format!("{}: {lines} lines, at most {FILE_LINES}", file.path));
    }
    for function in functions(&levels(&file.text)) {
        let characters = function.name.chars().count();
        if characters > NAME_CHARACTERS {
            findings.push(format!(
                "{}:{}: the name {} has {characters} characters, at most {NAME_CHARACTERS}",
                file.path, function.first, function.name
            ));
        }
        if function.lines() > FUNCTION_LINES {
            findings.push(format!(
                "{}:{}: fn {} has {} lines, at most {FUNCTION_LINES}",
                file.path,
                function.first,
                function.name,
                function.lines()
            ));
        }
    }
    findings
}

/// Lines of a crate that have code on them, less its test files and its `#[cfg(test)] mod` blocks.
fn code_lines(files: &[TextFile]) -> usize {
    let mut test_files = Vec::new();
    let mut counted = Vec::new();
    for file in files {
        let all = levels(&file.text).concat();
        let ends = all.iter().filter_map(group).map(|group| group.span_close().end().line);
        let mut lines: BTreeSet<usize> = all.iter().map(line).chain(ends).collect();
        for module in test_modules(&file.text) {
            match module {
                TestModule::Inline { first, last } => lines.retain(|line| !(first..=last).contains(line)),
                TestModule::File { name } => test_files.push(module_prefix(&file.path, &name)),
            }
        }
        counted.push((&file.path, lines.len()));
    }
    let is_test = |path: &str| {
        is_test_file(path)
            || path.starts_with(HARNESS)
            || test_files.iter().any(|prefix| {
                let below = path.strip_prefix(prefix);
                below.is_some_and(|rest| rest.starts_with('/') || rest.starts_with('.'))
            })
    };
    counted.iter().filter(|(path, _)| !is_test(path)).map(|(_, lines)| lines).sum()
}

/// `tests.rs`, and whatever lies in a folder `tests`.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// Where the module `name`, declared in the file at `path`, has its file or folder.
fn module_prefix(path: &str, name: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "lib.rs" | "main.rs" | "mod.rs" => format!("{folder}/{name}"),
        _ => format!("{folder}/{}/{name}", file.trim_end_matches(".rs")),
    }
}
