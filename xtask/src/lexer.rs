//! Rust source to tokens: just enough of the language to tell code from comments and literals.
//!
//! Comments vanish, literals become one token each, `::` is one token, every other punctuation
//! character is one. Numbers count as words. Broken source gives some tokens, never a panic.

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

/// All tokens of a file.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { source, at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn next_token(&mut self) -> Option<Token<'a>> {
        self.skip_blanks_and_comments();
        let rest = self.rest();
        let first = rest.chars().next()?;
        let (kind, length) = if let Some(length) = string_length(rest) {
            (Kind::Literal, length)
        } else if let Some(length) = char_length(rest) {
            (Kind::Literal, length)
        } else if is_word(first) {
            (Kind::Word, word_length(rest))
        } else if rest.starts_with("::") {
            (Kind::Punctuation, 2)
        } else {
            (Kind::Punctuation, first.len_utf8())
        };
        let line = self.line;
        let text = self.advance(length);
        Some(Token { kind, text, line })
    }

    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, length: usize) -> &'a str {
        let end = self.at.saturating_add(length).min(self.source.len());
        let text = self.source.get(self.at..end).unwrap_or_default();
        self.line += text.matches('\n').count();
        self.at = end;
        text
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let length = if blank > 0 {
                blank
            } else if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                block_comment_length(rest)
            } else {
                return;
            };
            self.advance(length);
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// A raw identifier (`r#fn`) is one word.
fn word_length(rest: &str) -> usize {
    let prefix = if rest.starts_with("r#") { 2 } else { 0 };
    let word = rest.get(prefix..).unwrap_or_default();
    prefix + word.find(|c| !is_word(c)).unwrap_or(word.len())
}

/// Block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(tail) = rest.get(at..) {
        if tail.is_empty() {
            break;
        }
        if tail.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of the string that starts here: `".."`, `r".."`, `r#".."#`, each also after `b` or `c`.
fn string_length(rest: &str) -> Option<usize> {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r' | '#'))?;
    let (before, body) = rest.split_at_checked(prefix)?;
    let body = body.strip_prefix('"')?;
    let start = prefix + 1;
    let hashes = before.matches('#').count();
    match before.trim_end_matches('#') {
        "" | "b" | "c" if hashes == 0 => Some(start + escaped_length(body, '"')),
        "r" | "br" | "cr" => {
            let end = format!("\"{}", "#".repeat(hashes));
            let length = body.find(&end).map(|at| at + end.len());
            Some(start + length.unwrap_or(body.len()))
        }
        _ => None,
    }
}

/// `'x'`, `b'x'` and escapes, but not a lifetime.
fn char_length(rest: &str) -> Option<usize> {
    let prefix = usize::from(rest.starts_with('b'));
    let body = rest.get(prefix..)?.strip_prefix('\'')?;
    let start = prefix + 1;
    if body.starts_with('\\') {
        return Some(start + escaped_length(body, '\''));
    }
    let first = body.chars().next()?;
    body.get(first.len_utf8()..)?.starts_with('\'').then_some(start + first.len_utf8() + 1)
}

/// Up to and with the first `end` that no backslash escapes.
fn escaped_length(body: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == end => return at + c.len_utf8(),
            _ => {}
        }
    }
    body.len()
}
