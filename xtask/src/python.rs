//! Python packages that chores use, each set in an environment of its own under `target/tools`.

use std::path::{Path, PathBuf};

use crate::repo::Repo;
use crate::run::{self, Error};

/// The folder with the programs of the environment called `name`. Where it does not work yet, the packages are installed there; `None`
/// where that cannot be: there is no Python, or one without `venv`.
pub(crate) fn environment(
    repo: &Repo,
    name: &str,
    packages: &[&str],
    works: impl Fn(&Path) -> bool,
) -> Result<Option<PathBuf>, Error> {
    let tools = repo.root().join("target/tools").join(name);
    let bin = tools.join(if cfg!(windows) { "Scripts" } else { "bin" });
    if works(&bin) {
        return Ok(Some(bin));
    }
    println!("installing {} into target/tools ..", packages.join(" and "));
    let mut venv = run::program("python3", repo.root());
    if !matches!(run::succeeds(venv.args(["-m", "venv"]).arg(&tools)), Ok(true)) {
        return Ok(None);
    }
    let mut install = run::program(&bin.join("python").to_string_lossy(), repo.root());
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    Ok((run::succeeds(&mut install)? && works(&bin)).then_some(bin))
}
