//! The tree on disk: crates, manifests and Rust files, in a fixed order.

use std::path::{Path, PathBuf};

use crate::run::Error;

/// The repository that this program was built from.
pub(crate) struct Repo {
    root: PathBuf,
}

/// A file with its path relative to the root, with `/` on every system.
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Repo {
    /// `xtask/` lies in the root, and cargo says where `xtask/` is.
    pub(crate) fn find() -> Result<Self, Error> {
        let here =
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        match Path::new(&here).parent() {
            Some(root) => Ok(Self { root: root.to_owned() }),
            None => Err(Error::Usage("xtask/ has no parent folder".into())),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A text file, by its path from the root.
    pub(crate) fn read(&self, path: &str) -> Result<String, Error> {
        read(&self.root.join(path))
    }

    /// Every Rust file under `folder`.
    pub(crate) fn rust_files(&self, folder: &str) -> Result<Vec<TextFile>, Error> {
        self.files(folder, "rs")
    }

    /// Every file with this extension under `folder` (`""` for the root), without build output and
    /// hidden folders.
    pub(crate) fn files(&self, folder: &str, extension: &str) -> Result<Vec<TextFile>, Error> {
        let mut files = Vec::new();
        let mut open = vec![self.root.join(folder)];
        while let Some(next) = open.pop() {
            for path in children(&next)? {
                let name = path.file_name().map(|name| name.to_string_lossy());
                let name = name.as_deref().unwrap_or_default();
                if path.is_dir() {
                    if name != "target" && name != "node_modules" && !name.starts_with('.') {
                        open.push(path);
                    }
                } else if Path::new(name).extension().is_some_and(|ext| ext == extension) {
                    files.push(TextFile { path: self.relative(&path), text: read(&path)? });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn relative(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }
}

/// The entries of a folder by name; none where there is no such folder.
pub(crate) fn children(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
