use super::*;

fn texts(source: &str) -> Vec<&str> {
    tokens(source).into_iter().map(|token| token.text).collect()
}

#[test]
fn comments_vanish_and_nest() {
    assert_eq!(texts("//! m\na // { b\n/* { /* } */ c */ d /// e\nf /** g */ h"), ["a", "d", "f", "h"]);
}

#[test]
fn strings_hide_what_is_in_them() {
    assert_eq!(
        texts(r#"x("a { \" // b", b"}", c"{") y"#),
        ["x", "(", r#""a { \" // b""#, ",", r#"b"}""#, ",", r#"c"{""#, ")", "y"]
    );
}

#[test]
fn raw_identifiers_are_words() {
    assert_eq!(texts("r#fn b c r"), ["r#fn", "b", "c", "r"]);
}

#[test]
fn characters_are_literals_and_lifetimes_are_not() {
    let kinds: Vec<Kind> = tokens("'{' b'}' 'é' \"s\" 1 a").iter().map(|token| token.kind).collect();
    assert_eq!(kinds, [Kind::Literal, Kind::Literal, Kind::Literal, Kind::Literal, Kind::Word, Kind::Word]);
    assert!(tokens("&'a str").iter().all(|token| token.kind != Kind::Literal));
}

#[test]
fn two_colons_are_one_token() {
    assert_eq!(texts("a::b : c ::d"), ["a", "::", "b", ":", "c", "::", "d"]);
}

#[test]
fn lines_are_counted_through_literals_and_comments() {
    let all = tokens("a\n\"x\ny\"\n/* \n */ b");
    let lines: Vec<usize> = all.iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 2, 5]);
}

#[test]
fn texts_are_right_behind_wide_characters() {
    assert_eq!(texts("\"é漢\" b /* ü */ c"), ["\"é漢\"", "b", "c"]);
}

#[test]
fn broken_source_ends_without_a_panic() {
    for source in ["\"", "r#\"", "/*", "'\\", "b'", "é\"", "{", "r#"] {
        assert!(tokens(source).is_empty(), "{source}");
    }
}

#[test]
fn a_literal_is_never_taken_for_code() {
    let all = tokens("\"{\"");
    assert!(!all.iter().any(|token| token.is("\"{\"") || token.is("{")));
}
