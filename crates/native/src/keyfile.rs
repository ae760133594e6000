//! Keys in files.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use weir_base::identity::{Keypair, PrivateKeyError};

use crate::random::random_bytes;

/// Bytes of a key file, at most: many times the longest key.
const FILE_MAX: u64 = 4096;

/// What group and others may do with a file.
#[cfg(unix)]
const OTHERS: u32 = 0o077;

/// A key in a file: the protobuf form in which libp2p implementations keep keys, readable by its owner alone.
///
/// ```no_run
/// # mod weir { pub use weir_node::Keypair; pub use weir_native::KeyFile; }
/// use weir::{KeyFile as _, Keypair};
///
/// let keypair = Keypair::load_or_create("node.key")?; // the same at each start
/// # Ok::<(), weir_native::KeyFileError>(())
/// ```
pub trait KeyFile: Sized {
    /// The key in this file; a new one of the system's randomness, kept there, where the file does not exist. Of two processes
    /// that create it at once both get the same key.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`save`](Self::save); [`KeyFileError::Randomness`].
    fn load_or_create(path: impl AsRef<Path>) -> Result<Self, KeyFileError>;

    /// The key in this file.
    ///
    /// # Errors
    /// [`KeyFileError::Exposed`] where others than the owner could read it (Unix); `Io` where it does not exist or cannot be
    /// read, `NotAKey` where it holds something else.
    fn load(path: impl AsRef<Path>) -> Result<Self, KeyFileError>;

    /// Keeps the key in a new file, which its owner alone may read. It is there whole, or not at all.
    ///
    /// # Errors
    /// `Io`; of kind [`AlreadyExists`](ErrorKind::AlreadyExists) where the file exists: it is never overwritten.
    fn save(&self, path: impl AsRef<Path>) -> Result<(), KeyFileError>;
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Others than its owner may read or write the file: whoever did has the key.
    #[error(
        "the key file {path} may be read by others (mode {mode:o}); make a new key, or `chmod 600` it if nobody has read it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds no key.
    #[error("the key file {path} holds no key: {source}")]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PrivateKeyError,
    },
    /// The file is larger than any key.
    #[error("the key file {path} holds no key: it has more than {FILE_MAX} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("the key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no randomness.
    #[error("no randomness from the system: {0}")]
    Randomness(#[source] io::Error),
}

impl KeyFile for Keypair {
    fn load_or_create(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let absent = |error: &KeyFileError, kind| matches!(error, KeyFileError::Io { source, .. } if source.kind() == kind);
        match Self::load(path) {
            Err(error) if absent(&error, ErrorKind::NotFound) => {}
            loaded => return loaded,
        }
        let seed = random_bytes().map_err(KeyFileError::Randomness)?;
        let keypair = Self::ed25519_from_seed(seed);
        match keypair.save(path) {
            Ok(()) => Ok(keypair),
            Err(error) if absent(&error, ErrorKind::AlreadyExists) => Self::load(path),
            Err(error) => Err(error),
        }
    }

    fn load(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let io = |source| KeyFileError::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        let mut bytes = Vec::new();
        (&file).take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(KeyFileError::TooLarge { path: path.into() });
        }
        let keypair = Self::from_protobuf(&bytes)
            .map_err(|source| KeyFileError::NotAKey { path: path.into(), source })?;
        check_private(&file, path)?;
        Ok(keypair)
    }

    fn save(&self, path: impl AsRef<Path>) -> Result<(), KeyFileError> {
        let path = path.as_ref();
        let io = |source| KeyFileError::Io { path: path.into(), source };
        // Written beside it first: whoever finds the file finds a whole key.
        let suffix = u64::from_le_bytes(random_bytes().map_err(KeyFileError::Randomness)?);
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{suffix:016x}"));
        let beside = PathBuf::from(beside);
        let written = write(&beside, &self.to_protobuf()).and_then(|()| std::fs::hard_link(&beside, path));
        let removed = std::fs::remove_file(&beside);
        written.map_err(io)?;
        removed.map_err(io)
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(unix)]
fn check_private(file: &File, path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let io = |source| KeyFileError::Io { path: path.into(), source };
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & OTHERS == 0 { Ok(()) } else { Err(KeyFileError::Exposed { path: path.into(), mode }) }
}

/// Where files have no permissions of this kind, the folder's have to do.
#[cfg(not(unix))]
fn check_private(_: &File, _: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let first = Keypair::load_or_create(&path).unwrap();
        assert_eq!(Keypair::load_or_create(&path).unwrap().peer_id(), first.peer_id());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let other = Keypair::ed25519_from_seed([1; 32]);
        let error = other.save(&path).unwrap_err();
        assert!(
            matches!(&error, KeyFileError::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists),
            "{error}"
        );
        assert_eq!(Keypair::load(&path).unwrap().peer_id(), first.peer_id());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        Keypair::load_or_create(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        for exposed in [0o640, 0o604, 0o660, 0o602] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(exposed)).unwrap();
            let error = Keypair::load_or_create(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Exposed { mode, .. } if mode == exposed), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (number, bytes) in [vec![], vec![7; 68], vec![0; 100_000]].into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            write(&path, &bytes).unwrap();
            let error = Keypair::load_or_create(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::NotAKey { .. } | KeyFileError::TooLarge { .. }), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        let error = Keypair::load_or_create(folder.path().join("no/such/folder")).unwrap_err();
        assert!(matches!(error, KeyFileError::Io { .. }), "{error}");
    }

    #[test]
    fn two_that_create_it_at_once_get_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = folder.path().join(round.to_string());
            let barrier = std::sync::Barrier::new(2);
            let load = || {
                barrier.wait();
                Keypair::load_or_create(&path).unwrap().peer_id()
            };
            let (one, other) = std::thread::scope(|scope| {
                let one = scope.spawn(load);
                (load(), one.join().unwrap())
            });
            assert_eq!(one, other);
        }
    }
}
