use super::*;

fn file(path: &str, text: String) -> TextFile {
    TextFile { path: path.into(), text }
}

fn methods(count: usize, from: usize) -> String {
    let all: Vec<String> = (from..from + count).map(|n| format!("fn m{n}(&mut self) {{}}")).collect();
    format!("impl Stack {{ {} }}", all.concat())
}

#[test]
fn methods_are_counted_over_all_files_of_a_module() {
    let of = |more| {
        [
            file("crates/stack/src/stack.rs", format!("pub struct Stack;{}", methods(30, 0))),
            file("crates/stack/src/stack/turn.rs", methods(more, 30)),
            file("crates/stack/src/peers/mod.rs", methods(20, 0)),
        ]
    };
    assert!(judge(&measure(&of(10))).is_empty());
    assert_eq!(judge(&measure(&of(11))), ["stack/stack::Stack: 41 methods, at most 40"]);
}

#[test]
fn fields_count_where_methods_change_them() {
    let fields: Vec<String> = (0..13).map(|n| format!("f{n}: u8,")).collect();
    let data = format!("struct Data {{ {} }}", fields.concat());
    let of = |methods: &str| measure(&[file("crates/stack/src/lib.rs", format!("{data}{methods}"))]);
    assert!(judge(&of("impl Data { fn a(&self) {} }")).is_empty());
    assert_eq!(judge(&of("impl Data { fn a(&mut self) {} }")), ["stack::Data: 13 fields, at most 12"]);
}

#[test]
fn tests_and_traits_do_not_count() {
    let text = format!(
        "#[cfg(test)] mod tests {{ {} }} impl Drop for Stack {{ fn drop(&mut self) {{}} }}",
        methods(50, 0)
    );
    let files = [file("crates/stack/src/lib.rs", text), file("crates/stack/src/tests.rs", methods(50, 0))];
    assert!(measure(&files).is_empty());
}
