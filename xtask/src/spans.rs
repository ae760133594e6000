//! Where functions, test modules and attributes begin and end.

use crate::lexer::{Kind, Token};

#[cfg(test)]
mod tests;

/// A function with a body: from the line of `fn` to the line of its last brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Function<'_> {
    pub(crate) fn lines(&self) -> usize {
        self.last - self.first + 1
    }
}

/// Every function with a body, inner ones too. `fn` types and bodiless declarations are none.
pub(crate) fn functions<'a>(tokens: &[Token<'a>]) -> Vec<Function<'a>> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !token.is("fn") {
            continue;
        }
        let Some(name) = tokens.get(at + 1) else {
            break;
        };
        let named = name.kind == Kind::Word || name.is("$");
        if let (true, Some(open)) = (named, body_start(tokens, at + 1)) {
            found.push(Function {
                name: name.text,
                first: token.line,
                last: line_of(tokens, closing(tokens, open)),
            });
        }
    }
    found
}

/// A module that is compiled only for tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TestModule<'a> {
    /// `#[cfg(test)] mod name { .. }`, with the lines from the attribute to the last brace.
    Inline { first: usize, last: usize },
    /// `#[cfg(test)] mod name;`: the file of that name is test code.
    File { name: &'a str },
}

/// Every `#[cfg(test)] mod`.
pub(crate) fn test_modules<'a>(tokens: &[Token<'a>]) -> Vec<TestModule<'a>> {
    let mut found = Vec::new();
    for (at, _) in tokens.iter().enumerate() {
        if !starts_with(tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            continue;
        }
        let mut next = at + 7;
        while starts_with(tokens, next, &["#", "["]) {
            next = closing(tokens, next + 1) + 1;
        }
        if starts_with(tokens, next, &["pub"]) {
            next += 1;
            if starts_with(tokens, next, &["("]) {
                next = closing(tokens, next) + 1;
            }
        }
        let (true, Some(name)) = (starts_with(tokens, next, &["mod"]), tokens.get(next + 1)) else {
            continue;
        };
        found.push(if starts_with(tokens, next + 2, &["{"]) {
            TestModule::Inline {
                first: line_of(tokens, at),
                last: line_of(tokens, closing(tokens, next + 2)),
            }
        } else {
            TestModule::File { name: name.text }
        });
    }
    found
}

/// The tokens inside the brackets of every attribute, `#[..]` and `#![..]`.
pub(crate) fn attributes<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut found = Vec::new();
    for (at, _) in tokens.iter().enumerate() {
        let open = if starts_with(tokens, at, &["#", "["]) {
            at + 1
        } else if starts_with(tokens, at, &["#", "!", "["]) {
            at + 2
        } else {
            continue;
        };
        if let Some(inside) = tokens.get(open + 1..closing(tokens, open)) {
            found.push(inside);
        }
    }
    found
}

/// Whether the tokens from `at` on are these words and characters.
pub(crate) fn starts_with(tokens: &[Token<'_>], at: usize, wanted: &[&str]) -> bool {
    let Some(here) = tokens.get(at..) else {
        return false;
    };
    here.len() >= wanted.len() && here.iter().zip(wanted).all(|(token, text)| token.is(text))
}

/// The position of the bracket that closes the one at `open`, or of the last token.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if opens(token) {
            depth += 1;
        } else if closes(token) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at;
            }
        }
    }
    tokens.len().saturating_sub(1)
}

fn opens(token: &Token<'_>) -> bool {
    token.is("{") || token.is("(") || token.is("[")
}

fn closes(token: &Token<'_>) -> bool {
    token.is("}") || token.is(")") || token.is("]")
}

/// The brace that opens a function's body; a constant argument (`Foo<{ N }>`) is not it.
fn body_start(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let token = tokens.get(at)?;
        if token.is(";") {
            return None;
        }
        let before = tokens.get(at.checked_sub(1)?)?;
        let argument = before.is("<") || before.is(",") && !before_body_comma(tokens, at - 1);
        if token.is("{") && !argument {
            return Some(at);
        }
        if closes(token) {
            return None;
        }
        at = if opens(token) { closing(tokens, at) + 1 } else { at + 1 };
    }
}

/// A comma at the end of a `where` clause stands before the body, not before an argument.
fn before_body_comma(tokens: &[Token<'_>], comma: usize) -> bool {
    let head = tokens.get(..comma).unwrap_or_default();
    head.iter().rev().take_while(|token| !token.is("fn")).any(|token| token.is("where"))
}

fn line_of(tokens: &[Token<'_>], at: usize) -> usize {
    tokens.get(at).map_or(0, |token| token.line)
}
