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
fn tests_and_comments_are_not_counted_towards_base() {
    let code = |lines: usize| "a;\n".repeat(lines);
    let files = [
        file("base/src/lib.rs", "//! Doc.\n\nmod a;\n#[cfg(test)]\nmod support;\n".into()),
        file("base/src/a.rs", "/* c */ fn a() {}\n#[cfg(test)]\nmod tests {\nb\n}\n".into()),
        file("base/src/b/tests.rs", code(50)),
        file("base/src/tests/c.rs", code(50)),
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

#[test]
fn hubs_are_measured_over_all_files() {
    let fields: Vec<String> = (0..13).map(|n| format!("f{n}: Vec<a::B>,\n")).collect();
    let methods: Vec<String> =
        (0..8).map(|n| format!("pub fn m{n}(&self) {{ x: y }}\nfn p{n}() {{}}\n")).collect();
    let (fields, block) = (fields.concat(), format!("impl Stack {{ {} }}", methods.concat()));
    let files = [file("a.rs", format!("pub struct Stack {{ {fields} }} {block}")), file("b.rs", block)];
    assert_eq!(
        too_wide(&files, "Stack"),
        ["struct Stack: 13 fields, at most 12", "Stack: 16 public methods, at most 15"]
    );
    assert!(too_wide(&files, "Links").is_empty());
}

#[test]
fn trait_implementations_and_crate_methods_are_no_public_methods() {
    let methods: Vec<String> = (0..20).map(|n| format!("fn m{n}() {{}} pub(crate) fn c{n}() {{}}")).collect();
    let text = format!("impl Stack {{ {} }} impl Drop for Stack {{}}", methods.concat());
    assert!(too_wide(&[file("a.rs", text)], "Stack").is_empty());
}
