//! Relative links in the project's pages point at something that is there.

use crate::repo::{Repo, TextFile};
use crate::run::Error;

/// Every `.md` file of the repository.
pub(crate) fn gate(repo: &Repo) -> Result<Vec<String>, Error> {
    let mut findings = Vec::new();
    for page in repo.files("", "md")? {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, target) in relative_links(&page) {
            if !repo.root().join(folder).join(&target).exists() {
                findings.push(format!("{}:{line}: no such file: {target}", page.path));
            }
        }
    }
    Ok(findings)
}

/// Targets of `[..](target)` and `[..]: target` that name no scheme, without their fragment.
fn relative_links(page: &TextFile) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in page.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let reference = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).and_then(reference);
        for target in inline.chain(reference) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !target.contains(':') {
                found.push((number + 1, path.to_owned()));
            }
        }
    }
    found
}

/// The target of `[label]: target`, once its brackets are off.
fn reference<'a>((_, rest): (&str, &'a str)) -> Option<&'a str> {
    rest.strip_prefix(": ")?.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_targets_are_found_with_their_lines() {
        let text = "[a](b/c.md) and [d](e.md#f)\n[g]: h.md\n[i](https://j.k) [l](#m) [n]: no\n";
        let page = TextFile { path: "README.md".into(), text: text.into() };
        assert_eq!(relative_links(&page), [(1, "b/c.md".into()), (1, "e.md".into()), (2, "h.md".into())]);
    }

    #[test]
    fn code_is_not_searched() {
        let page = TextFile { path: "README.md".into(), text: "```\n[a](b.md)\n```\n".into() };
        assert!(relative_links(&page).is_empty());
    }
}
