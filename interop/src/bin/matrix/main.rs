//! Weir and other people's libp2p nodes, as processes on loopback: each cell is one check, one way to connect, one direction.
//!
//! `matrix WEIR STREAMS [--short] [--peers LIST] [--write FILE] [WORD…]`: the paths of the program `weir` and of Weir's example
//! `interop`; with words, only the cells whose line has all of them. Prints a line for each cell, a table at the end, and ends with 0
//! where all came out as they must. `--short` tries one check in each direction, `--peers` takes only those of `rust,go,js,py`, `--write`
//! puts the table of all cells into this document. A node that is named by `--peers`, or needed for the document, must be there: where one
//! of these cannot be built, nothing is tried.

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
use crate::peers::{Kind, Lack, Missing};
use crate::plan::{Check, Stack};

pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Cells at once, and of those that mostly wait.
const BUSY: usize = 2;
const WAITING: usize = 40;

const USAGE: &str =
    "matrix WEIR STREAMS [--short] [--peers rust,go,js,py] [WORD…], or matrix WEIR STREAMS --write FILE";

/// How a cell came out.
pub enum Outcome {
    Good,
    Bad,
    Lacks(Lack),
}

/// What is to be tried.
#[derive(Debug)]
struct Plan {
    checks: Vec<Check>,
    /// None is named: all that can run here.
    peers: Option<Vec<Kind>>,
    document: Option<PathBuf>,
    words: Vec<String>,
}

impl Plan {
    /// What the command line says behind the programs.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failed> {
        let mut plan = Self { checks: Check::ALL.to_vec(), peers: None, document: None, words: Vec::new() };
        let mut whole = true;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--short" => plan.checks = vec![Check::FewStreams],
                "--peers" => {
                    let list = words.next().ok_or(USAGE)?;
                    let kinds = list.split(',').map(|name| Kind::named(name).ok_or(USAGE));
                    plan.peers = Some(kinds.collect::<Result<_, _>>()?);
                }
                "--write" => {
                    plan.document = Some(words.next().ok_or(USAGE)?.into());
                    continue;
                }
                other if other.starts_with("--") => return Err(USAGE.into()),
                _ => plan.words.push(word),
            }
            whole = false;
        }
        if plan.document.is_some() && !whole {
            return Err("the document has the table of all cells: leave out --short, --peers and words, or do without \
                        --full (--write)"
                .into());
        }
        Ok(plan)
    }

    /// Whether it can be carried out without these nodes: not where they were asked for by name, or for the document.
    fn judge(&self, missing: &[Missing]) -> Result<(), Failed> {
        if missing.is_empty() || (self.peers.is_none() && self.document.is_none()) {
            return Ok(());
        }
        let all: Vec<String> = missing.iter().map(ToString::to_string).collect();
        Err(all.join("\n").into())
    }
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Result<bool, Failed> {
    let mut path = || words.next().map(PathBuf::from).ok_or(USAGE);
    let weir = Weir { command: path()?, streams: path()?, key: cell::key_file()? };
    let plan = Plan::read(words)?;
    let (peers, missing) = peers::build(plan.peers.as_deref().unwrap_or(&Kind::ALL))?;
    plan.judge(&missing)?;
    missing.iter().for_each(|missing| println!("{missing}"));
    let mut cells = Vec::new();
    for stack in Stack::ALL {
        for peer in &peers {
            for check in &plan.checks {
                for weir_dials in [true, false] {
                    let cell = Cell { stack, peer, check: *check, weir_dials };
                    let name = cell.name();
                    if plan.words.iter().all(|word| name.contains(word)) {
                        cells.push(cell);
                    }
                }
            }
        }
    }
    if cells.is_empty() {
        return Err("there is no such cell: words are parts of what is printed for each".into());
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
                        *outcomes[*at].lock().unwrap() = Some(attempt(&cells[*at], &weir));
                    }
                });
            }
        });
    }
    let outcomes: Vec<Outcome> =
        outcomes.into_iter().map(|outcome| outcome.into_inner().unwrap().unwrap_or(Outcome::Bad)).collect();
    let table = table::table(&plan.checks, &cells, &outcomes);
    println!("\n{table}");
    let good = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Good)).count();
    let bad = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Bad)).count();
    println!("{good} passed, {bad} failed, {} skipped", outcomes.len() - good - bad);
    if let Some(document) = &plan.document {
        table::write(document, &table)?;
    }
    Ok(bad == 0)
}

/// Tries one cell, and says how it came out.
fn attempt(cell: &Cell, weir: &Weir) -> Outcome {
    let name = cell.name();
    if let Some(lack) = cell.peer.lacks(cell.stack, cell.check, cell.weir_dials) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, Failed> {
        Plan::read(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_document_takes_the_table_of_all_cells_and_no_other() {
        assert!(plan("--write docs/interop.md").is_ok());
        for part in ["--short", "--peers rust", "QUIC"] {
            let refused = plan(&format!("--write docs/interop.md {part}")).unwrap_err().to_string();
            assert!(refused.contains("leave out --short, --peers and words"), "{refused}");
            assert!(plan(part).is_ok());
        }
        for wrong in ["--write", "--peers", "--peers rust,c", "--fast"] {
            assert_eq!(plan(wrong).unwrap_err().to_string(), USAGE, "{wrong}");
        }
    }

    #[test]
    fn a_node_that_is_needed_and_missing_ends_a_run_with_the_remedy() {
        let missing = || vec![Missing { kind: Kind::Go, reason: "no such program".into() }];
        for needed in ["--write docs/interop.md", "--peers rust,go"] {
            let plan = plan(needed).unwrap();
            let told = plan.judge(&missing()).unwrap_err().to_string();
            assert!(told.contains("go-libp2p is missing: no such program; install Go"), "{told}");
            assert!(plan.judge(&[]).is_ok());
        }
        assert!(plan("--short").unwrap().judge(&missing()).is_ok(), "the others are tried");
    }
}
