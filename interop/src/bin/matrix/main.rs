//! Weir and other people's libp2p nodes, as processes on loopback: each cell is one check, one way to connect, one direction.
//!
//! `matrix WEIR STREAMS [--short] [--peers LIST] [--write FILE] [WORD…]`: the paths of the program `weir` and of Weir's example
//! `interop`; with words, only the cells whose line has all of them. Prints a line for each cell, a table at the end, and ends with 0
//! where all came out as they must. `--short` tries one check in each direction, `--peers` takes only those of `rust,go,js,py`, `--write`
//! puts the table into this document.

mod cell;
mod peers;
mod plan;
mod process;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::cell::{Cell, Weir};
use crate::peers::{Kind, Lack};
use crate::plan::{Check, Stack};

pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Cells at once, and of those that mostly wait.
const BUSY: usize = 2;
const WAITING: usize = 40;

const USAGE: &str = "matrix WEIR STREAMS [--short] [--peers rust,go,js,py] [--write FILE] [WORD…]";

/// How a cell came out.
pub enum Outcome {
    Good,
    Bad,
    Lacks(Lack),
}

struct Options {
    weir: Weir,
    checks: Vec<Check>,
    peers: Vec<Kind>,
    document: Option<PathBuf>,
    words: Vec<String>,
}

fn main() -> ExitCode {
    let done = options().and_then(|options| run(&options));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Failed> {
    let mut words = std::env::args().skip(1);
    let mut path = || words.next().map(PathBuf::from).ok_or(USAGE);
    let weir = Weir { command: path()?, streams: path()?, key: cell::key_file()? };
    let (checks, peers) = (Check::ALL.to_vec(), Kind::ALL.to_vec());
    let mut options = Options { weir, checks, peers, document: None, words: Vec::new() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => options.checks = vec![Check::FewStreams],
            "--peers" => {
                let list = words.next().ok_or(USAGE)?;
                options.peers =
                    list.split(',').map(|name| Kind::named(name).ok_or(USAGE)).collect::<Result<_, _>>()?;
            }
            "--write" => options.document = Some(words.next().ok_or(USAGE)?.into()),
            other if other.starts_with("--") => return Err(USAGE.into()),
            _ => options.words.push(word),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<bool, Failed> {
    let peers = peers::build(&options.peers)?;
    let mut cells = Vec::new();
    for stack in Stack::ALL {
        for peer in &peers {
            for check in &options.checks {
                for weir_dials in [true, false] {
                    let cell = Cell { stack, peer, check: *check, weir_dials };
                    let name = cell.name();
                    if options.words.iter().all(|word| name.contains(word)) {
                        cells.push(cell);
                    }
                }
            }
        }
    }
    let outcomes: Vec<Mutex<Option<Outcome>>> = cells.iter().map(|_| Mutex::new(None)).collect();
    let all: Vec<usize> = (0..cells.len()).collect();
    let (waiting, busy): (Vec<usize>, Vec<usize>) = all.into_iter().partition(|at| cells[*at].check.waits());
    for (numbers, at_once) in [(busy, BUSY), (waiting, WAITING)] {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some(at) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                        *outcomes[*at].lock().unwrap() = Some(attempt(&cells[*at], &options.weir));
                    }
                });
            }
        });
    }
    let outcomes: Vec<Outcome> =
        outcomes.into_iter().map(|outcome| outcome.into_inner().unwrap().unwrap_or(Outcome::Bad)).collect();
    let table = table::table(&options.checks, &cells, &outcomes);
    println!("\n{table}");
    let good = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Good)).count();
    let bad = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Bad)).count();
    println!("{good} passed, {bad} failed, {} skipped", outcomes.len() - good - bad);
    if let Some(document) = &options.document {
        table::write(document, &table)?;
    }
    Ok(bad == 0)
}

/// Tries one cell, and says how it came out.
fn attempt(cell: &Cell, weir: &Weir) -> Outcome {
    let name = cell.name();
    if let Some(lack) = cell.peer.lacks(cell.stack, cell.check) {
        println!("{name}: n/a: {}", lack.reason());
        return Outcome::Lacks(lack);
    }
    let began = Instant::now();
    let done = cell.run(weir);
    let seconds = began.elapsed().as_secs_f64();
    match done {
        Ok(()) => {
            println!("{name}: ok ({seconds:.1} s)");
            Outcome::Good
        }
        Err(error) => {
            println!("{name}: FAILED: {error} ({seconds:.1} s)");
            Outcome::Bad
        }
    }
}
