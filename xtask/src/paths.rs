//! The paths that a file names, with `use` trees written out.

use crate::lexer::{Kind, Token};

#[cfg(test)]
mod tests;

/// `a::b::c`, in code or imported.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath<'a> {
    pub(crate) segments: Vec<&'a str>,
    pub(crate) how: How,
    pub(crate) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Written where it is used.
    Inline,
    /// By a `use`: the last segment's name is known in the file from here on.
    Imported,
    /// By a `use` that ends in `*`.
    ImportedAll,
}

impl NamedPath<'_> {
    /// Whether these segments occur in the path, one after the other.
    pub(crate) fn contains(&self, wanted: &[&str]) -> bool {
        self.segments.windows(wanted.len().max(1)).any(|window| window == wanted)
    }
}

/// Every path of the file in the order of its text, single words included.
pub(crate) fn named_paths<'a>(tokens: &[Token<'a>]) -> Vec<NamedPath<'a>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token.is("use") {
            at = use_tree(tokens, at + 1, &[], &mut found);
        } else if token.kind == Kind::Word {
            at = inline_path(tokens, at, &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn inline_path<'a>(tokens: &[Token<'a>], from: usize, found: &mut Vec<NamedPath<'a>>) -> usize {
    let mut segments = Vec::new();
    let mut at = from;
    while let Some(token) = tokens.get(at).filter(|token| token.kind == Kind::Word) {
        segments.push(token.text);
        at += 1;
        let goes_on = tokens.get(at).is_some_and(|token| token.is("::"))
            && tokens.get(at + 1).is_some_and(|token| token.kind == Kind::Word);
        if !goes_on {
            break;
        }
        at += 1;
    }
    found.push(NamedPath {
        segments,
        how: How::Inline,
        line: tokens.get(from).map_or(0, |token| token.line),
    });
    at
}

/// Reads one tree below `prefix` and returns where reading goes on.
fn use_tree<'a>(
    tokens: &[Token<'a>],
    from: usize,
    prefix: &[&'a str],
    found: &mut Vec<NamedPath<'a>>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut how = How::Imported;
    let mut at = from;
    let line = tokens.get(from).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        if token.is("{") {
            at += 1;
            while tokens.get(at).is_some_and(|token| !token.is("}")) {
                at = use_tree(tokens, at, &segments, found);
                if tokens.get(at).is_some_and(|token| !token.is("}")) {
                    at += 1; // the comma, or whatever broken source has here
                }
            }
            return at + 1;
        }
        if token.is("*") {
            how = How::ImportedAll;
        } else if token.is("as") {
            at += 1; // the new name is skipped: what counts is the old one
        } else if token.kind == Kind::Word {
            if !token.is("self") || segments.is_empty() {
                segments.push(token.text);
            }
        } else if !token.is("::") {
            break;
        }
        at += 1;
    }
    if !segments.is_empty() {
        found.push(NamedPath { segments, how, line });
    }
    at
}
