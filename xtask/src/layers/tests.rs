use super::*;

/// A dependency as `cargo metadata` prints it.
fn dependency(name: &str, kind: &str, optional: bool) -> String {
    format!(
        r#"{{"name":"{name}","source":null,"req":"*","kind":{kind},"rename":null,"optional":{optional},
            "uses_default_features":true,"features":[],"target":null,"registry":null}}"#
    )
}

fn normal(name: &str) -> String {
    dependency(name, "null", false)
}

fn of_tests(name: &str) -> String {
    dependency(name, "\"dev\"", false)
}

fn findings_with(folder: &str, dependencies: &[String], features: &str) -> Vec<String> {
    let package = format!(
        r#"{{"name":"x","version":"0.1.0","id":"x","license":null,"license_file":null,"description":null,"source":null,
            "dependencies":[{}],"targets":[],"features":{features},"manifest_path":"/x/Cargo.toml","metadata":null,
            "publish":null,"authors":[],"categories":[],"keywords":[],"readme":null,"repository":null,"homepage":null,
            "documentation":null,"edition":"2024","links":null,"default_run":null,"rust_version":null}}"#,
        dependencies.join(",")
    );
    judge(folder, &serde_json::from_str(&package).unwrap())
}

fn findings(folder: &str, dependencies: &[String]) -> Vec<String> {
    findings_with(folder, dependencies, "{}")
}

#[test]
fn a_crate_that_keeps_to_its_layer_passes() {
    assert!(findings("pull", &[normal("weir-base"), normal("bytes")]).is_empty());
}

#[test]
fn reaching_sideways_or_up_is_found() {
    assert_eq!(
        findings("pull", &[normal("weir-libp2p"), normal("weir-net")]),
        ["`pull` may not use `libp2p` (layer table)", "`pull` may not use `weir` (layer table)"]
    );
}

#[test]
fn tests_may_not_reach_further_than_the_table_says() {
    assert_eq!(
        findings("stack", &[of_tests("weir-sim")]),
        ["tests of `stack` may not use `sim` (layer table)"]
    );
}

#[test]
fn a_test_may_use_its_own_crate_with_a_feature() {
    assert!(findings("chain", &[normal("weir-net"), of_tests("weir-net")]).is_empty());
}

#[test]
fn an_unknown_crate_is_told_where_to_go() {
    let found = findings("browser", &[]);
    assert!(found[0].contains("add it in xtask/src/layers.rs"), "{found:?}");
}

#[test]
fn features_of_pure_crates_are_found() {
    assert_eq!(findings_with("base", &[], r#"{"a":[]}"#), ["a pure crate has no features"]);
    assert!(findings_with("weir", &[], r#"{"a":[]}"#).is_empty());
}

#[test]
fn hosts_come_in_by_a_feature_only() {
    for host in ["weir-sim", "weir-native"] {
        let (fixed, optional) = (normal(host), dependency(host, "null", true));
        assert_eq!(findings("weir", &[fixed]).len(), 1, "{host}");
        assert!(findings("weir", std::slice::from_ref(&optional)).is_empty(), "{host}");
        assert_eq!(findings("node", &[optional]).len(), 1, "a node names no host");
    }
}

#[test]
fn the_front_door_has_another_name_on_the_registry() {
    assert!(findings("chain", &[normal("weir-net")]).is_empty());
    assert_eq!(findings("node", &[normal("weir-net")]).len(), 1);
    assert_eq!(package("weir"), "weir-net");
    assert_eq!(package("node"), "weir-node");
}

#[test]
fn runtimes_are_for_tests_only() {
    assert_eq!(findings("weir", &[normal("tokio")]).len(), 1);
    assert!(findings("weir", &[of_tests("tokio")]).is_empty());
    assert_eq!(findings("pull", &[normal("mio")]).len(), 1);
}

#[test]
fn every_layer_uses_only_layers_below_it() {
    for (height, layer) in LAYERS.iter().enumerate() {
        for used in layer.uses {
            let below = LAYERS[..height].iter().any(|lower| lower.folder == *used);
            assert!(below, "{} uses {used}", layer.folder);
        }
    }
}
