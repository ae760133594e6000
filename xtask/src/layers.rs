//! The layer table, and the gate that holds every crate's manifest against it.
//!
//! A dependency that is not in the table is refused; so is a crate. Change the table together with
//! `ARCHITECTURE.md` and a record in `docs/adr/`.

use cargo_metadata::{DependencyKind, Package};

use crate::metadata::workspace;
use crate::repo::Repo;
use crate::run::Error;

#[cfg(test)]
mod tests;

/// One crate of the workspace and what it may see of the others.
pub(crate) struct Layer {
    /// Folder below `crates/`.
    pub(crate) folder: &'static str,
    /// No clock, socket, thread or randomness of its own; builds for wasm32.
    pub(crate) pure: bool,
    /// Folders of the crates it may depend on.
    uses: &'static [&'static str],
    /// Of these, the ones that only a feature may bring in.
    by_feature: &'static [&'static str],
    /// What its tests may use beside that.
    tests_use: &'static [&'static str],
}

/// From the bottom to the top.
pub(crate) const LAYERS: &[Layer] = &[
    Layer::pure("base", &[]),
    Layer::pure("libp2p", &["base"]),
    Layer::pure("pull", &["base"]),
    Layer::pure("link", &["base", "libp2p"]),
    Layer::pure("stack", &["base", "libp2p", "link", "pull"]),
    Layer::pure("node", &["base", "libp2p", "pull", "stack"]),
    Layer::host("native", &["base", "stack", "node"], &[], &[]),
    Layer::host("sim", &["base", "libp2p", "pull", "stack", "node"], &[], &[]),
    Layer::host("weir", &["node", "native", "sim"], &["native", "sim"], &[]),
    Layer::host("chain", &["weir"], &[], &[]),
    Layer::host("cli", &["weir", "chain", "sim"], &[], &[]),
];

/// Packages from outside that only these crates may depend on (`[]`: tests only), and why.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("async-std", &[], "the library needs no async runtime"),
    ("futures-executor", &[], "the library needs no async runtime"),
    ("smol", &[], "the library needs no async runtime"),
    ("tokio", &[], "the library needs no async runtime"),
    ("getrandom", &["native", "cli"], "seeds enter at the host"),
    ("mio", &["native"], "only the native host has sockets"),
    ("quinn-udp", &["native"], "only the native host has sockets"),
    ("socket2", &["native"], "only the native host has sockets"),
    ("redb", &["chain"], "the chain owns the store"),
    ("rayon", &["sim"], "elsewhere threads belong to the host or to the user"),
    ("mimalloc", &["cli"], "the program chooses its allocator, no library does"),
    ("clap", &["cli"], "only the command has a command line"),
    ("ratatui", &["cli"], "only the command has a terminal"),
    ("signal-hook", &["cli"], "signals belong to the process"),
    ("tempfile", &["cli"], "only the command makes folders"),
];

/// The crates that must stay pure, by folder.
pub(crate) fn pure() -> impl Iterator<Item = &'static str> {
    LAYERS.iter().filter(|layer| layer.pure).map(|layer| layer.folder)
}

/// Package name of a crate folder. `weir` itself is taken on the registry.
pub(crate) fn package(folder: &str) -> String {
    if folder == "weir" { "weir-net".to_owned() } else { format!("weir-{folder}") }
}

/// Every crate folder against the table.
pub(crate) fn gate(repo: &Repo) -> Result<Vec<String>, Error> {
    let mut findings = Vec::new();
    for package in workspace(repo)?.workspace_packages() {
        let path = package.manifest_path.as_std_path();
        let Some(folder) = path.parent().and_then(|folder| folder.strip_prefix(repo.root()).ok()) else {
            continue;
        };
        let Some(folder) = folder.to_str().and_then(|folder| folder.strip_prefix("crates/")) else {
            continue;
        };
        findings.extend(
            judge(folder, package)
                .into_iter()
                .map(|finding| format!("crates/{folder}/Cargo.toml: {finding}")),
        );
    }
    Ok(findings)
}

/// What is wrong with one crate.
fn judge(folder: &str, package: &Package) -> Vec<String> {
    let Some(layer) = LAYERS.iter().find(|layer| layer.folder == folder) else {
        let advice = "is not in the layer table; add it in xtask/src/layers.rs and ARCHITECTURE.md";
        return vec![format!("crate `{folder}` {advice}")];
    };
    let mut findings = Vec::new();
    // an optional dependency makes a feature of its own, and is judged as a dependency
    let stated = package.features.iter().any(|(name, makes)| *makes != [format!("dep:{name}")]);
    if layer.pure && stated {
        findings.push("a pure crate has no features".into());
    }
    for dependency in &package.dependencies {
        findings.extend(match dependency.kind {
            DependencyKind::Development => layer.tests_forbid(&dependency.name),
            _ => layer.forbids(&dependency.name, dependency.optional),
        });
    }
    findings
}

impl Layer {
    const fn pure(folder: &'static str, uses: &'static [&'static str]) -> Self {
        Self { folder, pure: true, uses, by_feature: &[], tests_use: &[] }
    }

    const fn host(
        folder: &'static str,
        uses: &'static [&'static str],
        by_feature: &'static [&'static str],
        tests_use: &'static [&'static str],
    ) -> Self {
        Self { folder, pure: false, uses, by_feature, tests_use }
    }

    fn forbids(&self, package: &str, optional: bool) -> Option<String> {
        let own = self.folder;
        if let Some(used) = folder_of(package) {
            if !self.uses.contains(&used) {
                return Some(format!("`{own}` may not use `{used}` (layer table)"));
            }
            if self.by_feature.contains(&used) && !optional {
                return Some(format!("`{own}` may use `{used}` by a feature only"));
            }
            return None;
        }
        let (_, allowed, reason) = RESERVED.iter().find(|(name, ..)| *name == package)?;
        (!allowed.contains(&own)).then(|| format!("`{own}` may not use `{package}`: {reason}"))
    }

    fn tests_forbid(&self, package: &str) -> Option<String> {
        let used = folder_of(package)?;
        let allowed = used == self.folder || self.uses.contains(&used) || self.tests_use.contains(&used);
        (!allowed).then(|| format!("tests of `{}` may not use `{used}` (layer table)", self.folder))
    }
}

/// The folder of a workspace package. An unknown one of ours counts too: the table lacks it.
fn folder_of(package: &str) -> Option<&str> {
    if package == "weir-net" { Some("weir") } else { package.strip_prefix("weir-") }
}
