//! Rust source as trees of tokens, by `proc-macro2`: the gates look inside macros too, where no syntax tree reaches.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

#[cfg(test)]
mod tests;

/// What stands between two brackets, or in the file outside of all: a level.
pub(crate) type Level = Vec<TokenTree>;

/// All levels of a file, outer ones first, without documentation; none where it is not Rust, which the compiler says better.
pub(crate) fn levels(source: &str) -> Vec<Level> {
    source.parse().map(below).unwrap_or_default()
}

/// A level and all in it.
fn below(stream: TokenStream) -> Vec<Level> {
    let mut trees: Level = stream.into_iter().collect();
    // A comment that documents comes as `#[doc = ".."]`, every part of it with the comment's own place.
    let place = |tree: Option<&TokenTree>| tree.map(|tree| tree.span().byte_range());
    while let Some(at) = (0..trees.len()).find(|at| {
        trees.get(*at).is_some_and(|tree| is(tree, "#")) && place(trees.get(*at)) == place(trees.get(at + 1))
    }) {
        let inner = usize::from(place(trees.get(at)) == place(trees.get(at + 2)));
        trees.drain(at..at + 2 + inner);
    }
    let inside: Vec<Level> = trees.iter().filter_map(group).flat_map(|group| below(group.stream())).collect();
    std::iter::once(trees).chain(inside).collect()
}

/// What is in brackets here.
pub(crate) fn group(tree: &TokenTree) -> Option<&Group> {
    if let TokenTree::Group(group) = tree { Some(group) } else { None }
}

/// Whether this is a group in such brackets.
pub(crate) fn is_group(tree: &TokenTree, delimiter: Delimiter) -> bool {
    group(tree).is_some_and(|group| group.delimiter() == delimiter)
}

/// Whether this is the word or punctuation `text`; a literal never is.
pub(crate) fn is(tree: &TokenTree, text: &str) -> bool {
    match tree {
        TokenTree::Ident(word) => word == text,
        TokenTree::Punct(sign) => text.chars().eq([sign.as_char()]),
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    }
}

/// Whether the trees begin with these words and characters.
pub(crate) fn starts_with(trees: &[TokenTree], wanted: &[&str]) -> bool {
    trees.len() >= wanted.len() && trees.iter().zip(wanted).all(|(tree, text)| is(tree, text))
}

/// Whether the trees begin with `::`.
pub(crate) fn is_path_separator(trees: &[TokenTree]) -> bool {
    let joint = |tree: &TokenTree| matches!(tree, TokenTree::Punct(sign) if sign.spacing() == Spacing::Joint);
    starts_with(trees, &[":", ":"]) && trees.first().is_some_and(joint)
}

/// The line where a tree begins, counted from 1.
pub(crate) fn line(tree: &TokenTree) -> usize {
    tree.span().start().line
}

/// All words below.
pub(crate) fn words(stream: TokenStream) -> Vec<String> {
    let word = |tree| if let TokenTree::Ident(word) = tree { Some(word.to_string()) } else { None };
    below(stream).into_iter().flatten().filter_map(word).collect()
}

/// The words inside the brackets of every attribute, `#[..]` and `#![..]`, with its line.
pub(crate) fn attributes(levels: &[Level]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for trees in levels {
        for (at, tree) in trees.iter().enumerate().filter(|(_, tree)| is(tree, "#")) {
            let inner = usize::from(trees.get(at + 1).is_some_and(|next| is(next, "!")));
            let inside = trees.get(at + 1 + inner).filter(|next| is_group(next, Delimiter::Bracket));
            found.extend(inside.and_then(group).map(|group| (line(tree), words(group.stream()))));
        }
    }
    found
}
