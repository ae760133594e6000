use super::*;
use crate::trees::levels;

fn names_and_lines(source: &str) -> Vec<(String, usize)> {
    functions(&levels(source)).iter().map(|function| (function.name.clone(), function.lines())).collect()
}

#[test]
fn a_function_is_counted_from_its_name_to_its_last_brace() {
    let source = "/// doc\n#[must_use]\nfn a(\n  x: [u8; 3],\n) -> u8 {\n  if x { }\n}\nfn b() {}";
    assert_eq!(names_and_lines(source), [("a".into(), 5), ("b".into(), 1)]);
}

#[test]
fn braces_in_literals_and_comments_close_nothing() {
    let source = "fn a() {\n let _ = \"}\"; // }\n let _ = '}'; /* } */\n let _ = r#\"}\"#;\n}\n";
    assert_eq!(names_and_lines(source), [("a".into(), 5)]);
}

#[test]
fn inner_functions_and_methods_are_found() {
    let source = "impl A {\n fn a(&self) {\n fn inner() {\n }\n }\n}";
    assert_eq!(names_and_lines(source), [("a".into(), 4), ("inner".into(), 2)]);
}

#[test]
fn function_types_and_declarations_are_no_functions() {
    let source = "type F = fn(u8) -> u8; trait T { fn a(&self, n: [u8; 2]); }";
    assert!(names_and_lines(source).is_empty());
}

#[test]
fn a_constant_argument_is_not_the_body() {
    let source = "fn a() -> Foo<{ N }>\nwhere\n T: U,\n{\n}";
    assert_eq!(names_and_lines(source), [("a".into(), 5)]);
}

#[test]
fn functions_written_by_a_macro_are_measured_in_it() {
    assert_eq!(names_and_lines("macro_rules! m { ($n:ident) => { fn $n() {\n\n} } }"), [("$".into(), 3)]);
}

#[test]
fn inline_test_modules_have_their_lines() {
    let source = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\npub(crate) mod tests {\n fn b() {}\n}\n";
    assert_eq!(test_modules(source), [TestModule::Inline { first: 2, last: 6 }]);
}

#[test]
fn test_modules_in_files_are_named() {
    let source = "#[cfg(test)]\nmod tests;\n#[cfg(test)] use a::b;\nmod other;";
    assert_eq!(test_modules(source), [TestModule::File { name: "tests".into() }]);
}
