use super::*;

fn texts(source: &str) -> Vec<&str> {
    tokens(source).into_iter().map(|token| token.text).collect()
}

#[test]
fn comments_vanish_and_nest() {
    assert_eq!(texts("a // { b\n/* { /* } */ c */ d /// e"), ["a", "d"]);
}

#[test]
fn strings_hide_what_is_in_them() {
    assert_eq!(
        texts(r#"x("a { \" // b", b"}", c"{") y"#),
        ["x", "(", r#""a { \" // b""#, ",", r#"b"}""#, ",", r#"c"{""#, ")", "y"]
    );
}

#[test]
fn raw_strings_end_at_their_own_hashes() {
    let source = "r##\"a \"# { \"## b br\"\\\" c";
    assert_eq!(texts(source), ["r##\"a \"# { \"##", "b", "br\"\\\"", "c"]);
}

#[test]
fn raw_identifiers_are_words() {
    assert_eq!(texts("r#fn b c r"), ["r#fn", "b", "c", "r"]);
}

#[test]
fn characters_are_literals_and_lifetimes_are_not() {
    assert_eq!(
        texts(r"'{' '\'' b'}' '\u{7b}' 'é' &'a str"),
        [r"'{'", r"'\''", r"b'}'", r"'\u{7b}'", "'é'", "&", "'", "a", "str"]
    );
}

#[test]
fn words_that_begin_like_strings_stay_words() {
    assert_eq!(texts("bar crate b#"), ["bar", "crate", "b", "#"]);
}

#[test]
fn lines_are_counted_through_literals_and_comments() {
    let all = tokens("a\n\"x\ny\"\n/* \n */ b");
    let lines: Vec<usize> = all.iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 2, 5]);
}

#[test]
fn broken_source_ends_without_a_panic() {
    for source in ["\"", "r#\"", "/*", "'\\", "b'", "é\"", "'", "r#"] {
        let _ = tokens(source);
    }
}

#[test]
fn a_literal_is_never_taken_for_code() {
    let all = tokens("\"{\"");
    assert!(!all.iter().any(|token| token.is("\"{\"") || token.is("{")));
}
