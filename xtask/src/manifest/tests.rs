use super::*;

fn names(text: &str, section: Section) -> Vec<String> {
    parse(text)
        .dependencies
        .into_iter()
        .filter(|dependency| dependency.section == section)
        .map(|dependency| dependency.package)
        .collect()
}

#[test]
fn dependencies_in_every_notation() {
    let text = r#"
[package]
name = "x" # not a dependency
[dependencies]
weir-base.workspace = true
plain = "1"
table = { version = "1", features = ["a"] }
long = { version = "1", features = [
  "b = c",
] }
"quoted" = "1"
renamed = { package = "real", version = "1" }
[dependencies.own-table]
version = "1"
[target.'cfg(not(target_family = "wasm"))'.dependencies]
ring.workspace = true
"#;
    assert_eq!(
        names(text, Section::Normal),
        ["weir-base", "plain", "table", "long", "quoted", "real", "own-table", "ring"]
    );
}

#[test]
fn kinds_are_kept_apart() {
    let text = "[dependencies]\na = \"1\"\n[dev-dependencies]\nb = \"1\"\n[build-dependencies]\nc = \"1\"\n[lints]\nd = 1";
    assert_eq!(names(text, Section::Normal), ["a"]);
    assert_eq!(names(text, Section::Development), ["b"]);
    assert_eq!(names(text, Section::Build), ["c"]);
}

#[test]
fn optional_dependencies_are_seen() {
    let text = "[dependencies]\na = { workspace = true, optional = true }\nb = \"1\"\n[dependencies.c]\noptional = true\n";
    let optional: Vec<bool> = parse(text).dependencies.iter().map(|dependency| dependency.optional).collect();
    assert_eq!(optional, [true, false, true]);
}

#[test]
fn a_renamed_table_keeps_its_real_name() {
    let text = "[dependencies.a]\npackage = \"tokio\"\n";
    assert_eq!(names(text, Section::Normal), ["tokio"]);
}

#[test]
fn features_are_seen_with_their_line() {
    assert_eq!(parse("[package]\n\n[features]\na = []\n").features, Some(3));
    assert_eq!(parse("[package]\n# [features]\n").features, None);
}
