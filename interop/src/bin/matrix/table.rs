//! What came out, as a table of Markdown: a line for each way to connect and peer, a column for each check.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::peers::Lack;
use crate::plan::Check;
use crate::{Cell, Failed, Outcome};

/// Between these lines of the document is the table.
const BEGIN: &str = "<!-- table of `cargo xtask interop --full`: begin -->\n";
const END: &str = "<!-- end -->\n";

/// The table. A cell has two words, for Weir as dialler and as listener, or one where they are the same.
pub fn table(checks: &[Check], cells: &[Cell], outcomes: &[Outcome]) -> String {
    let mut text = "| connected by | peer |".to_owned();
    for check in checks {
        // Writing to a string cannot fail.
        let _ = write!(text, " {} |", check.name());
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(checks.len()));
    text.push('\n');
    let mut lines: Vec<(&Cell, &Outcome)> = cells.iter().zip(outcomes).collect();
    while let Some((first, _)) = lines.first() {
        let (stack, kind) = (first.stack, first.peer.kind);
        let (row, rest): (Vec<_>, Vec<_>) =
            lines.iter().partition(|(cell, _)| cell.stack == stack && cell.peer.kind == kind);
        let _ = write!(text, "| {} | {} {} |", stack.name(), first.peer.name, first.peer.version);
        for check in checks {
            let mut words: Vec<String> = row
                .iter()
                .filter(|(cell, _)| cell.check == *check)
                .map(|(_, outcome)| word(outcome))
                .collect();
            words.dedup();
            let _ = write!(text, " {} |", words.join(" / "));
        }
        text.push('\n');
        lines = rest;
    }
    let lacking: Vec<Lack> = Lack::ALL
        .into_iter()
        .filter(|lack| outcomes.iter().any(|outcome| matches!(outcome, Outcome::Lacks(of) if of == lack)))
        .collect();
    if !lacking.is_empty() {
        text.push_str("\nn/a:");
        for lack in lacking {
            let _ = write!(text, " ({}) {};", lack.number(), lack.reason());
        }
        text.pop();
        text.push_str(".\n");
    }
    text
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Good => "ok".into(),
        Outcome::Bad => "**failed**".into(),
        Outcome::Lacks(lack) => format!("n/a ({})", lack.number()),
    }
}

/// Puts the table into the document, in place of the one that is there.
pub fn write(document: &Path, table: &str) -> Result<(), Failed> {
    let old = fs::read_to_string(document)?;
    let (before, rest) = old.split_once(BEGIN).ok_or("the document has no place for the table")?;
    let (_, behind) = rest.split_once(END).ok_or("the table has no end in the document")?;
    fs::write(document, format!("{before}{BEGIN}\n{table}\n{END}{behind}"))?;
    Ok(())
}
