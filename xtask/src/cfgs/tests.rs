use super::*;

fn judged(path: &str, text: &str, registries: &[(&str, usize)]) -> Vec<String> {
    judge(&[TextFile { path: path.into(), text: text.into() }], registries)
}

#[test]
fn conditions_on_the_build_are_found_however_they_are_written() {
    for text in [
        "#[cfg(not(target_family = \"wasm\"))] fn f() {}",
        "#[cfg(all(test, feature = \"x\"))] fn f() {}",
        "fn f() -> bool { cfg!(target_arch = \"wasm32\") }",
        "#![cfg_attr(windows, deny(warnings))]",
        "m! { #[cfg(unix)] a }",
    ] {
        let found = judged("crates/link/src/link.rs", text, &[]);
        assert!(found.len() == 1 && found[0].starts_with("crates/link/src/link.rs:1:"), "{text}: {found:?}");
    }
}

#[test]
fn tests_strings_and_comments_are_none() {
    let text = "#[cfg(test)] mod tests; // cfg(windows)\nconst A: &str = \"cfg(unix)\";";
    assert_eq!(judged("crates/link/src/link.rs", text, &[]), [""; 0]);
}

#[test]
fn a_registry_has_as_many_as_it_says() {
    let one = "#[cfg(unix)] mod a;";
    let path = "crates/link/src/lib.rs";
    assert_eq!(judged(path, one, &[(path, 1)]), [""; 0]);
    assert_eq!(judged(path, &format!("{one}\n{one}"), &[(path, 1)]).len(), 2);
    assert!(judged(path, "", &[(path, 1)])[0].contains("only 0"));
    assert!(judged(path, one, &[(path, 1), ("gone.rs", 1)])[0].contains("no such file"));
}
