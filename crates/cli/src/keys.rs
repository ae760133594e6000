//! `weir keygen`, and the file it writes: the protobuf `PrivateKey` message of libp2p, readable by its owner alone.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;
use weir::{KeyFile as _, KeyFileError, Keypair};

use crate::error::Failure;
use crate::output;

/// Make a key, or show which peer a key file is.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  weir keygen node.key            make an Ed25519 key; prints its peer id
  weir keygen --show node.key     print the peer id of a key that exists
  weir perf serve --key node.key  serve under that id

The file holds the protobuf form in which libp2p implementations store keys; only its owner may read it.

Exit codes: 0 done; 1 the file could not be written or the system has no randomness; 2 an option or file cannot be used: a
file that exists is never overwritten.")]
pub(crate) struct Options {
    /// The key's file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Read the file instead of making it.
    #[arg(long)]
    show: bool,
    /// Which kind of key to make.
    #[arg(long, value_enum, default_value_t = Kind::Ed25519, value_name = "KIND")]
    kind: Kind,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Kinds of keys that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Ed25519, for all new nodes.
    Ed25519,
    /// secp256k1, for networks that ask for it.
    Secp256k1,
}

#[derive(Serialize)]
struct Shown {
    peer: String,
    kind: String,
    file: PathBuf,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let keypair = if options.show {
        read(&options.file)?
    } else {
        let keypair = make(options.kind)?;
        write(&options.file, &keypair)?;
        keypair
    };
    let (peer, kind) = (keypair.peer_id().to_string(), format!("{:?}", keypair.kind()));
    if options.json {
        output::print_json(&Shown { peer, kind, file: options.file.clone() }, None)?;
    } else {
        output::print(&format!("{peer}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A fresh Ed25519 key of the system's randomness.
pub(crate) fn fresh() -> Result<Keypair, Failure> {
    make(Kind::Ed25519)
}

fn make(kind: Kind) -> Result<Keypair, Failure> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::run(format!("no randomness from the system: {error}")))?;
    match kind {
        Kind::Ed25519 => Ok(Keypair::ed25519_from_seed(secret)),
        // One in 2^128 is out of range.
        Kind::Secp256k1 => Keypair::secp256k1_from_bytes(secret).map_err(Failure::run),
    }
}

/// Reads a key file.
pub(crate) fn read(path: &Path) -> Result<Keypair, Failure> {
    Keypair::load(path).map_err(|error| Failure::input(format!("{error}; make one with `weir keygen`")))
}

fn write(path: &Path, keypair: &Keypair) -> Result<(), Failure> {
    keypair.save(path).map_err(|error| match error {
        KeyFileError::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
            Failure::input(format!(
                "key file {}: it exists and is not overwritten; show it with --show, or give another name",
                path.display()
            ))
        }
        error => Failure::input(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_is_private_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [Kind::Ed25519, Kind::Secp256k1] {
            let path = folder.path().join(format!("{kind:?}"));
            let keypair = make(kind).unwrap();
            write(&path, &keypair).unwrap();
            assert_eq!(read(&path).unwrap().peer_id(), keypair.peer_id());
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            }
            let before = std::fs::read(&path).unwrap();
            assert_eq!(write(&path, &fresh().unwrap()).unwrap_err().exit_code(), 2);
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for bytes in [vec![], vec![7; 68], vec![0; 100_000]] {
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("weir keygen"), "{error}");
        }
    }
}
