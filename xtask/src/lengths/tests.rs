use super::*;

fn file(path: &str, text: String) -> TextFile {
    TextFile { path: path.into(), text }
}

#[test]
fn a_file_of_601_lines_is_found_and_one_of_600_is_not() {
    assert!(too_long(&file("a.rs", "\n".repeat(600))).is_empty());
    assert_eq!(too_long(&file("a.rs", "\n".repeat(601))), ["a.rs: 601 lines, at most 600"]);
}

#[test]
fn a_function_of_101_lines_is_found_and_one_of_100_is_not() {
    let function = |lines: usize| format!("\nfn long() {{{}}}\n", "\n".repeat(lines - 1));
    assert!(too_long(&file("a.rs", function(100))).is_empty());
    assert_eq!(too_long(&file("a.rs", function(101))), ["a.rs:2: fn long has 101 lines, at most 100"]);
}

#[test]
fn a_name_of_81_characters_is_found_and_one_of_80_is_not() {
    let function =
        |characters: usize| file("a.rs", format!("\n#[test]\nfn {}() {{}}\n", "n".repeat(characters)));
    assert!(too_long(&function(80)).is_empty());
    let found = format!("a.rs:3: the name {} has 81 characters, at most 80", "n".repeat(81));
    assert_eq!(too_long(&function(81)), [found]);
}

#[test]
fn tests_and_comments_are_not_counted_towards_base() {
    let code = |lines: usize| "a;\n".repeat(lines);
    let files = [
        file("base/src/lib.rs", "//! Doc.\n\nmod a;\n#[cfg(test)]\nmod support;\n".into()),
        file("base/src/a.rs", "/* c */ fn a() {}\n#[cfg(test)]\nmod tests {\nfn b() {}\n}\n".into()),
        file("base/src/b/tests.rs", code(50)),
        file("base/src/tests/c.rs", code(50)),
        file("crates/base/src/pair/mod.rs", code(50)),
        file("base/src/support.rs", code(50)),
        file("base/src/support/more.rs", code(50)),
        file("base/src/supporting.rs", code(5)),
    ];
    assert_eq!(code_lines(&files), 3 + 1 + 5);
}

#[test]
fn modules_of_a_leaf_lie_in_its_folder() {
    assert_eq!(module_prefix("base/src/a.rs", "b"), "base/src/a/b");
    assert_eq!(module_prefix("base/src/lib.rs", "b"), "base/src/b");
    assert_eq!(module_prefix("base/src/a/mod.rs", "b"), "base/src/a/b");
}
