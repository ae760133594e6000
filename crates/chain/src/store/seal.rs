//! The seal of a store: what every byte of its file was when it was closed.
//!
//! The database keeps a checksum of each page that holds something. Bytes that hold nothing (free pages, the rest of a page
//! behind its last row, the older of the two headers) have none, and a hash of the whole file covers them too. It is written
//! beside the file when the store is closed, and removed before the store is opened again: a store that is open, or whose
//! process was killed, has no seal, and one that is there is never out of date.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::hex;

/// Bytes read at a time.
const PIECE: usize = 64 << 10;

/// Seals a store's file when it is dropped, which must be after the database was closed.
#[derive(Debug)]
pub(crate) struct Seal(PathBuf);

impl Seal {
    /// Removes the seal, for the store is about to be opened. Durable on return: a seal that came back after a power cut would
    /// be one of an older state.
    pub(crate) fn break_of(store: &Path) -> std::io::Result<Self> {
        match std::fs::remove_file(file_of(store)) {
            Ok(()) => sync_folder(store)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self(store.to_owned()))
    }

    fn write(&self) -> std::io::Result<()> {
        let (sealed, fresh) = (file_of(&self.0), beside(&self.0, ".sealing"));
        let text = text_of(&self.0)?;
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, &sealed)
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        if let Err(error) = self.write() {
            tracing::warn!(%error, store = %self.0.display(), "the store is closed without a seal");
        }
    }
}

/// The file that holds the seal of this store.
pub(crate) fn file_of(store: &Path) -> PathBuf {
    beside(store, ".seal")
}

/// The seal of a store that was closed; `None` where there is none.
pub(crate) fn read(store: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(file_of(store)) {
        Ok(seal) => Ok(Some(seal)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The seal that a file with these bytes has: one line, its length and its SHA-256.
pub(crate) fn text_of(file: &Path) -> std::io::Result<String> {
    let (mut file, mut hash, mut len) = (File::open(file)?, Sha256::new(), 0_u64);
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
        len += read.len() as u64;
    }
    Ok(format!("weir-chain store 1: {len} bytes, sha256 {}\n", hex(&hash.finalize())))
}

fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Makes names in the store's folder durable, where the system can.
fn sync_folder(store: &Path) -> std::io::Result<()> {
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
