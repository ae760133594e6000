//! `weir audit`: executes the stores of a folder again, from the genesis, and says what is wrong with them.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use weir_chain::audit::{self, Audited};
use weir_chain::hex;

use crate::error::Failure;
use crate::output;

/// The first bytes of every database of this kind.
const MAGIC: &[u8] = b"redb";

/// Execute stores again from the genesis: every signature, rule, state root and row.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  weir devnet --keep         a run whose stores stay
  weir audit FOLDER          all stores of the folder it named
  weir audit node-3.redb     one store

A store is copied to the folder for temporary files and read there; the file itself is not touched.

Exit codes: 0 every store is right; 1 one is not, or cannot be copied; 2 there is no store there.")]
pub(crate) struct Options {
    /// A folder with files that end in .redb, or one such file. Nobody may be using them.
    #[arg(value_name = "FOLDER")]
    path: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Found {
    stores: Vec<Store>,
}

#[derive(Serialize)]
struct Store {
    file: PathBuf,
    /// What is wrong; null where nothing is.
    wrong: Option<String>,
    /// Whether it was closed, so that every byte of the file was compared; null where something is wrong.
    closed: Option<bool>,
    network: Option<String>,
    height: Option<u64>,
    tip: Option<String>,
    state_root: Option<String>,
    transactions: Option<usize>,
}

impl Store {
    fn of(file: PathBuf, audited: Result<Audited, audit::AuditError>) -> Self {
        let (audited, wrong) = match audited {
            Ok(audited) => (Some(audited), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let audit = audited.as_ref().map(|audited| &audited.audit);
        Self {
            file,
            wrong,
            closed: audited.as_ref().map(|audited| audited.closed),
            network: audit.map(|audit| hex(&audit.network)),
            height: audit.map(|audit| audit.head.height),
            tip: audit.map(|audit| hex(&audit.head.hash)),
            state_root: audit.map(|audit| hex(&audit.state_root)),
            transactions: audit.map(|audit| audit.transfers.len()),
        }
    }

    fn line(&self) -> String {
        let mut line = format!("{}: ", self.file.display());
        let _ = match (&self.wrong, self.height, self.transactions) {
            (Some(wrong), ..) => write!(line, "WRONG: {wrong}"),
            (None, height, transactions) => write!(
                line,
                "right: block {} ({}…), state {}…, {} transactions, network {}…",
                height.unwrap_or_default(),
                short(self.tip.as_deref()),
                short(self.state_root.as_deref()),
                transactions.unwrap_or_default(),
                short(self.network.as_deref()),
            ),
        };
        if self.closed == Some(false) {
            line += "; it was not closed: bytes that hold nothing were not compared, and a damaged last block counts as not written";
        }
        line.push('\n');
        line
    }
}

fn short(hash: Option<&str>) -> &str {
    hash.and_then(|hash| hash.get(..12)).unwrap_or_default()
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let files = files(&options.path)?;
    let scratch = tempfile::Builder::new()
        .prefix("weir-audit-")
        .tempdir()
        .map_err(|error| Failure::input(format!("cannot make a temporary folder: {error}; set TMPDIR")))?;
    // The database panics where a damaged page breaks its assumptions; that is part of the verdict then.
    std::panic::set_hook(Box::new(|_| {}));
    let audited = files.into_iter().map(|file| {
        let audited = audit::file(&file, scratch.path());
        Store::of(file, audited)
    });
    let found = Found { stores: audited.collect() };
    let _ = std::panic::take_hook();
    let wrong = found.stores.iter().filter(|store| store.wrong.is_some()).count();
    let error = (wrong > 0).then(|| format!("{wrong} of {} stores are wrong", found.stores.len()));
    if options.json {
        output::print_json(&found, error.as_deref())?;
    } else {
        output::print(&found.stores.iter().map(Store::line).collect::<String>())?;
    }
    let Some(error) = error else { return Ok(ExitCode::SUCCESS) };
    output::note(&format!("error: {error}"));
    Ok(ExitCode::from(1))
}

fn begins_as_a_store(file: &Path) -> std::io::Result<bool> {
    let mut begin = Vec::new();
    std::fs::File::open(file)?.take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == MAGIC)
}

/// The stores there, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let told = "name the folder that `weir devnet --keep` told, or a file of it that ends in .redb";
    let cannot = |error| Failure::input(format!("cannot read {}: {error}; {told}", path.display()));
    let ends = |file: &Path| file.extension().is_some_and(|extension| extension == "redb");
    if path.is_file() {
        // under its own name a store whose first bytes are wrong is still one, and damaged
        if !ends(path) && !begins_as_a_store(path).map_err(cannot)? {
            return Err(Failure::input(format!("{} is no store; {told}", path.display())));
        }
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let file = entry.map_err(cannot)?.path();
        if ends(&file) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::input(format!("{} has no stores; {told}", path.display())));
    }
    Ok(files)
}
