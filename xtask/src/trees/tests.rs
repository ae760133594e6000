use super::*;

fn texts(source: &str) -> Vec<String> {
    levels(source).iter().flatten().filter(|tree| group(tree).is_none()).map(ToString::to_string).collect()
}

#[test]
fn comments_vanish_and_nest() {
    assert_eq!(texts("//! m\na // { b\n/* { /* } */ c */ d /// e\nf /** g */ h"), ["a", "d", "f", "h"]);
    assert_eq!(texts("#[doc = \"a\"] b"), ["#", "b", "doc", "=", "\"a\""], "this is no comment");
}

#[test]
fn a_literal_is_never_taken_for_code() {
    let all = levels("\"{\" 'a' \"b\" r#fn");
    assert!(["{", "a", "b", "fn"].iter().all(|text| !all.concat().iter().any(|tree| is(tree, text))));
    assert_eq!(all.len(), 1, "a brace in a string opens nothing");
}

#[test]
fn outer_levels_come_before_inner_ones() {
    assert_eq!(texts("a(b { c } d) e"), ["a", "e", "b", "d", "c"]);
}

#[test]
fn lines_are_counted_through_literals_and_comments() {
    let all = levels("a\n\"x\ny\"\n/* \n */ b");
    assert_eq!(all.concat().iter().map(line).collect::<Vec<_>>(), [1, 2, 5]);
}

#[test]
fn two_colons_apart_separate_no_path() {
    assert!(is_path_separator(&levels("::a")[0]));
    assert!(!is_path_separator(&levels(": :a")[0]) && !is_path_separator(&levels(":a")[0]));
}

#[test]
fn broken_source_ends_without_a_panic() {
    for source in ["\"", "r#\"", "/*", "'\\", "b'", "é\"", "{", "r#"] {
        assert!(levels(source).is_empty(), "{source}");
    }
}

#[test]
fn attributes_inner_and_outer() {
    let all = attributes(&levels("#![a(b)] #[c] fn d() {\n#[e = \"f\"] g }"));
    let expected = [(1, vec!["a", "b"]), (1, vec!["c"]), (2, vec!["e"])];
    assert_eq!(
        all,
        expected.map(|(line, words)| (line, words.into_iter().map(String::from).collect::<Vec<_>>()))
    );
}
