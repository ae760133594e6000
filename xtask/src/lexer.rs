//! Rust source to a flat list of tokens, by `proc-macro2`.
//!
//! Flat, because the gates look inside macros too, where no syntax tree reaches. Comments vanish, documentation included;
//! `::` is one token, every other punctuation character is one. Numbers count as words.

use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};

#[cfg(test)]
mod tests;

/// A word, a literal, `::`, or one punctuation character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Punctuation,
    /// A string of any kind, a byte string, or a character.
    Literal,
}

impl Token<'_> {
    /// Whether this is the word or punctuation `text` (a literal never is).
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }
}

/// All tokens of a file; none where it is not Rust, which the compiler says better.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    if let Ok(stream) = source.parse::<TokenStream>() {
        flatten(source, stream, &mut tokens);
    }
    tokens
}

fn flatten<'a>(source: &'a str, stream: TokenStream, tokens: &mut Vec<Token<'a>>) {
    let mut rest = stream.into_iter().peekable();
    while let Some(tree) = rest.next() {
        match tree {
            TokenTree::Group(group) => {
                let bracketed = group.delimiter() != Delimiter::None;
                if bracketed && is_documentation(source, group.span()) {
                    continue;
                }
                if bracketed {
                    tokens.extend(token(source, Kind::Punctuation, group.span_open()));
                }
                flatten(source, group.stream(), tokens);
                if bracketed {
                    tokens.extend(token(source, Kind::Punctuation, group.span_close()));
                }
            }
            TokenTree::Ident(word) => tokens.extend(token(source, Kind::Word, word.span())),
            TokenTree::Literal(literal) => {
                let number = literal.to_string().starts_with(|c: char| c.is_ascii_digit());
                let kind = if number { Kind::Word } else { Kind::Literal };
                tokens.extend(token(source, kind, literal.span()));
            }
            TokenTree::Punct(sign) => {
                if is_documentation(source, sign.span()) {
                    continue;
                }
                let Some(mut first) = token(source, Kind::Punctuation, sign.span()) else { continue };
                let double = sign.as_char() == ':' && sign.spacing() == Spacing::Joint;
                if double && matches!(rest.peek(), Some(TokenTree::Punct(next)) if next.as_char() == ':') {
                    rest.next();
                    first.text = "::";
                }
                tokens.push(first);
            }
        }
    }
}

fn token(source: &str, kind: Kind, span: Span) -> Option<Token<'_>> {
    Some(Token { kind, text: source.get(span.byte_range())?, line: span.start().line })
}

/// A comment that documents comes as `#[doc = ".."]`, every part of it with the comment's own place.
fn is_documentation(source: &str, span: Span) -> bool {
    let text = source.get(span.byte_range()).unwrap_or_default();
    text.starts_with("//") || text.starts_with("/*")
}
