//! The library and the program compile for the systems that operators use, as far as this machine can tell.
//!
//! `ring` holds C and assembly, so even a check needs a C compiler for each target. `cargo-zigbuild` brings one with headers
//! for most; it is taken from the path, or installed as Python packages into `target/tools`.

use std::path::{Path, PathBuf};

use crate::python;
use crate::repo::Repo;
use crate::run::{self, Error};

struct Target {
    triple: &'static str,
    system: &'static str,
    /// Why no C compiler for it can be had here.
    without: Option<&'static str>,
}

const fn with(triple: &'static str, system: &'static str) -> Target {
    Target { triple, system, without: None }
}

const TARGETS: &[Target] = &[
    with("aarch64-unknown-linux-gnu", "Linux arm64"),
    with("aarch64-apple-darwin", "macOS arm64"),
    with("x86_64-pc-windows-gnu", "Windows (gnu)"),
    with("x86_64-unknown-freebsd", "FreeBSD"),
    Target {
        triple: "x86_64-pc-windows-msvc",
        system: "Windows (msvc)",
        without: Some("needs the C headers of Visual Studio; the gnu target stands for it"),
    },
    Target {
        triple: "aarch64-linux-android",
        system: "Android",
        without: Some("needs the C headers of the Android NDK"),
    },
];

const ZIGBUILD: &str = "cargo-zigbuild==0.24.1";
const ZIG: &str = "ziglang==0.17.1";

/// Checks each target and prints a line for each; `false` where one does not compile.
pub(crate) fn chore(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    if !arguments.is_empty() {
        return Err(Error::Usage("cargo xtask targets".into()));
    }
    let compiler = zigbuild(repo)?;
    let mut lines = Vec::new();
    let mut green = true;
    for Target { triple, system, without } in TARGETS {
        let outcome = match (without, &compiler) {
            (Some(reason), _) => format!("not tried: {reason}"),
            (None, None) => {
                format!("not tried: no C compiler; `pip install {ZIGBUILD} {ZIG}` brings one")
            }
            (None, Some(compiler)) if compiles(repo, compiler, triple)? => "ok".into(),
            _ => {
                green = false;
                "FAILED".into()
            }
        };
        lines.push(format!("  {system:16} {triple:28} {outcome}"));
    }
    println!("{}", lines.join("\n"));
    Ok(green)
}

fn compiles(repo: &Repo, compiler: &Compiler, triple: &str) -> Result<bool, Error> {
    if !run::succeeds(run::program("rustup", repo.root()).args(["target", "add", triple]))? {
        return Ok(false);
    }
    println!("{triple} ..");
    let mut check = compiler.command(repo)?;
    check.args(["check", "--quiet", "-p", "weir-net", "-p", "weir-cli", "--target", triple]);
    check.env("RUSTFLAGS", "-D warnings");
    run::succeeds(&mut check)
}

/// Where `cargo-zigbuild` lies: on the path, or in a folder that is put before it.
struct Compiler {
    folder: Option<PathBuf>,
}

impl Compiler {
    fn command(&self, repo: &Repo) -> Result<std::process::Command, Error> {
        let mut command = run::program("cargo-zigbuild", repo.root());
        if let Some(folder) = &self.folder {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(folder.clone()).chain(std::env::split_paths(&path));
            let all = std::env::join_paths(all).map_err(|error| Error::Usage(format!("PATH: {error}")))?;
            command = run::program(&folder.join("cargo-zigbuild").to_string_lossy(), repo.root());
            command.env("PATH", all);
        }
        Ok(command)
    }

    fn works(&self, repo: &Repo) -> bool {
        self.command(repo)
            .is_ok_and(|mut command| matches!(run::output(command.arg("--version")), Ok(Some(_))))
    }
}

/// The compiler, installed where it is absent; `None` where it can not be.
fn zigbuild(repo: &Repo) -> Result<Option<Compiler>, Error> {
    let on_path = Compiler { folder: None };
    if on_path.works(repo) {
        return Ok(Some(on_path));
    }
    let works = |bin: &Path| Compiler { folder: Some(bin.to_owned()) }.works(repo);
    let bin = python::environment(repo, "zig", &[ZIGBUILD, ZIG], works)?;
    Ok(bin.map(|bin| Compiler { folder: Some(bin) }))
}
