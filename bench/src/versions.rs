//! Which code was measured: versions from the lock file, the compiler, the commit.

use std::process::Command;

/// The lock file that this program was built with.
const LOCK: &str = include_str!("../Cargo.lock");

/// `name version` of each of `names` that the lock file has.
pub fn of(names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = LOCK.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("name = ").map(|name| name.trim_matches('"')) else { continue };
        let version = lines.next().and_then(|line| line.strip_prefix("version = ")).unwrap_or_default();
        if names.contains(&name) {
            found.push(format!("{name} {}", version.trim_matches('"')));
        }
    }
    found
}

/// The compiler that is installed; the one that built this program when it was built just before.
pub fn compiler() -> String {
    output("rustc", &["--version"])
}

/// The commit of the working folder, with a `+` when files differ from it.
pub fn commit() -> String {
    let commit = output("git", &["rev-parse", "--short=10", "HEAD"]);
    let changed = output("git", &["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_empty() || changed == "unknown" { commit } else { format!("{commit}+") }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output();
    let text = out.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok());
    text.map_or_else(|| "unknown".into(), |text| text.trim().to_owned())
}
