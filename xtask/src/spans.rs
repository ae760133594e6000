//! Where functions and test modules begin and end.

use proc_macro2::{Delimiter, TokenTree};
use syn::ItemMod;
use syn::spanned::Spanned as _;
use syn::visit::Visit;

use crate::trees::{Level, group, is, is_group, line};

#[cfg(test)]
mod tests;

/// A function with a body: from the line of `fn` to the line of its last brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Function {
    pub(crate) fn lines(&self) -> usize {
        self.last - self.first + 1
    }
}

/// Every function with a body, inner ones and those that macros write too. `fn` types and bodiless declarations are none.
pub(crate) fn functions(levels: &[Level]) -> Vec<Function> {
    let mut found = Vec::new();
    for trees in levels {
        for (at, tree) in trees.iter().enumerate().filter(|(_, tree)| is(tree, "fn")) {
            let name = trees.get(at + 1).filter(|name| matches!(name, TokenTree::Ident(_)) || is(name, "$"));
            let signature = trees.get(at + 1..).unwrap_or_default();
            if let (Some(name), Some(last)) = (name, body_end(signature)) {
                found.push(Function { name: name.to_string(), first: line(tree), last });
            }
        }
    }
    found
}

/// The line of the brace that closes a function's body; a constant argument (`Foo<{ N }>`) is not it.
fn body_end(signature: &[TokenTree]) -> Option<usize> {
    let end = signature.iter().position(|tree| is(tree, ";")).unwrap_or(signature.len());
    let signature = signature.get(..end)?;
    let constrained = |at: usize| signature.iter().take(at).any(|tree| is(tree, "where"));
    let body = signature.windows(2).enumerate().find(|(at, pair)| match pair {
        [before, tree] => {
            let argument = is(before, "<") || is(before, ",") && !constrained(*at);
            is_group(tree, Delimiter::Brace) && !argument
        }
        _ => false,
    });
    group(body?.1.last()?).map(|body| body.span_close().end().line)
}

/// A module that is compiled only for tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TestModule {
    /// `#[cfg(test)] mod name { .. }`, with the lines from the attribute to the last brace.
    Inline { first: usize, last: usize },
    /// `#[cfg(test)] mod name;`: the file of that name is test code.
    File { name: String },
}

/// Every `#[cfg(test)] mod`.
pub(crate) fn test_modules(source: &str) -> Vec<TestModule> {
    let mut finder = Finder(Vec::new());
    if let Ok(file) = syn::parse_file(source) {
        finder.visit_file(&file);
    }
    finder.0
}

struct Finder(Vec<TestModule>);

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test_module(module) {
            return syn::visit::visit_item_mod(self, module);
        }
        self.0.push(match &module.content {
            Some((brace, _)) => TestModule::Inline {
                first: module
                    .attrs
                    .iter()
                    .map(|attribute| attribute.span().start().line)
                    .min()
                    .unwrap_or_default(),
                last: brace.span.close().end().line,
            },
            None => TestModule::File { name: module.ident.to_string() },
        });
    }
}

/// Whether a module is compiled only for tests.
pub(crate) fn is_test_module(module: &ItemMod) -> bool {
    module.attrs.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}
