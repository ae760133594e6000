//! The folder of a run's stores: removed at its end, kept on failure or on demand; one that a killed run left is recognised.
//!
//! While a run goes on it holds a lock on a file in its folder. The system releases it when the process ends, however it
//! ends; a run that ends by itself removes the folder, or the file where the folder is kept.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::Failure;

const PREFIX: &str = "weir-devnet-";
/// The locked file.
const RUNNING: &str = "running";
/// Folders that are named at a start, at most.
const NAMED: usize = 5;

/// The folder of this run.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    lock: File,
}

impl Folder {
    /// Makes one in the system's folder for temporary files.
    pub(crate) fn make() -> Result<Self, Failure> {
        let root = std::env::temp_dir();
        Self::make_in(&root).map_err(|error| {
            let root = root.display();
            Failure::input(format!(
                "cannot make a folder in {root}: {error}; set TMPDIR to a folder with room"
            ))
        })
    }

    fn make_in(root: &Path) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root)?;
        // Locked before it has its name: whoever finds it unlocked knows that its run is over.
        let young = folder.path().join("starting");
        let lock = File::create_new(&young)?;
        lock.lock()?;
        std::fs::rename(&young, folder.path().join(RUNNING))?;
        Ok(Self { folder, lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves it where it is, for people to look at.
    pub(crate) fn keep(self) -> PathBuf {
        let Self { folder, lock } = self;
        let _ = std::fs::remove_file(folder.path().join(RUNNING));
        drop(lock);
        folder.keep()
    }
}

/// Says which folders killed runs left behind; `None` where there are none.
pub(crate) fn left_behind() -> Option<String> {
    let found = left_in(&std::env::temp_dir());
    let named: Vec<String> =
        found.iter().take(NAMED).map(|path| format!("\n  rm -r {}", path.display())).collect();
    let more = found.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
    (!found.is_empty())
        .then(|| format!("runs that were killed left their stores; to remove them:{}{more}", named.concat()))
}

fn left_in(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    let mut found: Vec<PathBuf> = folders.map(|entry| entry.path()).filter(|path| is_left(path)).collect();
    found.sort();
    found
}

fn is_left(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(RUNNING)) else { return false };
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_left_behind_once_its_run_ended_without_removing_it() {
        let root = tempfile::tempdir().unwrap();
        let running = Folder::make_in(root.path()).unwrap();
        assert_eq!(left_in(root.path()), Vec::<PathBuf>::new());
        let Folder { folder, lock } = running;
        let left = folder.keep(); // as a kill leaves it: the lock is gone with the process, the file is not
        drop(lock);
        assert_eq!(left_in(root.path()), [left]);
    }

    #[test]
    fn a_folder_that_is_kept_is_not_left_behind() {
        let root = tempfile::tempdir().unwrap();
        let kept = Folder::make_in(root.path()).unwrap().keep();
        assert!(kept.is_dir());
        assert_eq!(left_in(root.path()), Vec::<PathBuf>::new());
        drop(Folder::make_in(root.path()).unwrap());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
