//! The paths that a file names, with `use` trees written out by `syn`.

use proc_macro2::{Ident, TokenTree};
use syn::UseTree;

use crate::trees::{Level, is, is_path_separator};

#[cfg(test)]
mod tests;

/// `a::b::c`, in code or imported.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
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

impl NamedPath {
    /// Whether these segments occur in the path, one after the other.
    pub(crate) fn contains(&self, wanted: &[&str]) -> bool {
        self.segments.windows(wanted.len().max(1)).any(|window| window == wanted)
    }
}

/// Every path of the file in the order of its text, single words included.
pub(crate) fn named_paths(levels: &[Level]) -> Vec<NamedPath> {
    let mut found = Vec::new();
    levels.first().into_iter().for_each(|file| collect(file, &mut found));
    found
}

fn collect(trees: &[TokenTree], found: &mut Vec<NamedPath>) {
    let mut rest = trees;
    while let Some((tree, behind)) = rest.split_first() {
        rest = behind;
        if is(tree, "use") {
            let end = rest.iter().position(|tree| is(tree, ";")).unwrap_or(rest.len());
            let (import, behind) = rest.split_at(end);
            let absolute = if is_path_separator(import) { 2 } else { 0 };
            // What a type captures (`use<'a>`) is no import.
            if let Ok(import) = syn::parse2(import.iter().skip(absolute).cloned().collect()) {
                write_out(&import, (&[], None), found);
                rest = behind;
            }
        } else if let TokenTree::Ident(first) = tree {
            let (mut segments, line) = (vec![first.to_string()], first.span().start().line);
            while is_path_separator(rest)
                && let Some(TokenTree::Ident(next)) = rest.get(2)
            {
                segments.push(next.to_string());
                rest = rest.get(3..).unwrap_or_default();
            }
            found.push(NamedPath { segments, how: How::Inline, line });
        } else if let TokenTree::Group(group) = tree {
            collect(&group.stream().into_iter().collect::<Level>(), found);
        }
    }
}

/// Adds the paths of a tree that lies below a prefix; where that begins on the tree's own line it says which.
fn write_out(tree: &UseTree, (prefix, line): (&[String], Option<usize>), found: &mut Vec<NamedPath>) {
    let line_of = |word: &Ident| line.unwrap_or(word.span().start().line);
    let with = |word: &Ident| [prefix, &[word.to_string()]].concat();
    match tree {
        UseTree::Path(path) => write_out(&path.tree, (&with(&path.ident), Some(line_of(&path.ident))), found),
        UseTree::Group(group) => group.items.iter().for_each(|item| write_out(item, (prefix, None), found)),
        // The new name is skipped: what counts is the old one.
        UseTree::Name(syn::UseName { ident }) | UseTree::Rename(syn::UseRename { ident, .. }) => {
            let segments = if ident == "self" { prefix.to_vec() } else { with(ident) };
            found.push(NamedPath { segments, how: How::Imported, line: line_of(ident) });
        }
        UseTree::Glob(_) => {
            found.push(NamedPath {
                segments: prefix.to_vec(),
                how: How::ImportedAll,
                line: line.unwrap_or(1),
            });
        }
    }
}
