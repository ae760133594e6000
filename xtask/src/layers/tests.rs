use super::*;

fn findings(folder: &str, manifest: &str) -> Vec<String> {
    judge(folder, &parse(manifest)).into_iter().map(|(line, finding)| format!("{line}: {finding}")).collect()
}

#[test]
fn a_crate_that_keeps_to_its_layer_passes() {
    let manifest = "[dependencies]\nweir-base.workspace = true\nbytes.workspace = true\n";
    assert!(findings("pull", manifest).is_empty());
}

#[test]
fn reaching_sideways_or_up_is_found() {
    let manifest = "[dependencies]\nweir-libp2p.workspace = true\nweir.workspace = true\n";
    assert_eq!(
        findings("pull", manifest),
        ["2: `pull` may not use `libp2p` (layer table)", "3: `pull` may not use `weir` (layer table)"]
    );
}

#[test]
fn target_tables_count_too() {
    let manifest = "[target.'cfg(unix)'.dependencies]\nweir-stack.workspace = true\n";
    assert_eq!(findings("base", manifest).len(), 1);
}

#[test]
fn tests_may_not_reach_further_than_the_table_says() {
    let manifest = "[dev-dependencies]\nweir-sim.workspace = true\n";
    assert_eq!(findings("stack", manifest), ["2: tests of `stack` may not use `sim` (layer table)"]);
}

#[test]
fn a_test_may_use_its_own_crate_with_a_feature() {
    let manifest = "[dependencies]\nweir.workspace = true\n[dev-dependencies]\nweir = { workspace = true, features = [\"testing\"] }\n";
    assert!(findings("chain", manifest).is_empty());
}

#[test]
fn an_unknown_crate_is_told_where_to_go() {
    let found = findings("browser", "");
    assert!(found[0].contains("add it in xtask/src/layers.rs"), "{found:?}");
}

#[test]
fn features_of_pure_crates_are_found() {
    assert_eq!(findings("base", "[features]\n"), ["1: a pure crate has no features"]);
    assert!(findings("weir", "[features]\n").is_empty());
}

#[test]
fn the_simulator_comes_in_by_a_feature_only() {
    let fixed = "[dependencies]\nweir-sim.workspace = true\n";
    let optional = "[dependencies]\nweir-sim = { workspace = true, optional = true }\n";
    assert_eq!(findings("weir", fixed).len(), 1);
    assert!(findings("weir", optional).is_empty());
}

#[test]
fn runtimes_are_for_tests_only() {
    assert_eq!(findings("weir", "[dependencies]\ntokio = \"1\"\n").len(), 1);
    assert!(findings("weir", "[dev-dependencies]\ntokio = \"1\"\n").is_empty());
    assert_eq!(findings("pull", "[dependencies]\nmio = \"1\"\n").len(), 1);
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
