//! `hostile`: peers that misbehave on purpose, over real sockets, beside an honest pair that exchanges items through their victim
//! and calls it. Everything an attacker says is written by hand from `docs/spec/`. Printed for each attack: what the honest
//! pair got before and during it, what it cost the victim, whom the victim blamed, and whether that is within what
//! `docs/security.md` promises.

mod attacks;
mod honest;
mod identity;
mod machine;
mod peer;
mod report;
mod stranger;
mod victim;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use attacks::{Arrangement, Attack};

mod run;

/// Attack a node and see what an honest pair beside it notices.
#[derive(Debug, Parser)]
#[command(
    name = "hostile",
    after_help = "Exit codes: 0 within what is promised, 1 not, 2 it could not be run."
)]
struct Arguments {
    /// The attacks; all by default.
    attacks: Vec<Attack>,
    /// Where the attackers are; all arrangements by default.
    #[arg(long)]
    arrangement: Vec<Arrangement>,
    /// How long the victim's application takes for each item and request, in microseconds: 0, 50 and 5000 by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    handling: Vec<u64>,
    /// Length of each window (before, during) in seconds, 1 to 600.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Judges only what holds on any machine (memory, blame, bans, who gets in, that the honest pair goes on); rates and latencies are
    /// printed, and decide nothing.
    #[arg(long)]
    bounds: bool,
    /// So many runs at the same time, 1 to 8, each with a victim of its own. They share the processors, so that only bounds can be judged.
    #[arg(long, default_value_t = 1, value_name = "N", requires = "bounds", value_parser = clap::value_parser!(u8).range(1..=8))]
    at_once: u8,
    /// Attempts at a run, at most: 1 to 5. A run has another attempt where a latency is its only miss, and the longest interruption of a processor
    /// by the machine's host explains the miss. The last attempt counts.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5))]
    attempts: u32,
    /// A line of JSON for each attempt at a run instead of a table; `again`: the attempt does not count.
    #[arg(long)]
    json: bool,
    /// A line of text for each run instead of a table: items and calls during the attack, p99 before it (while it goes to another node)
    /// and during it, and what is not as promised. The last line counts.
    #[arg(long, conflicts_with = "json")]
    lines: bool,
    /// Starts the victim; the program calls itself so.
    #[arg(long, hide = true)]
    victim: Option<String>,
    /// Starts the attackers, likewise.
    #[arg(long, hide = true)]
    attackers: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match (&arguments.victim, &arguments.attackers) {
        (Some(order), _) => serde_json::from_str(order)
            .map_err(Into::into)
            .and_then(|order| victim::run(&order))
            .map(|()| true),
        (None, Some(field)) => serde_json::from_str(field)
            .map_err(Into::into)
            .and_then(|field| attacks::run(&field))
            .map(|()| true),
        (None, None) => run::all(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_attempt_unless_more_are_asked_for() -> Result<(), clap::Error> {
        let attempts = |words: &[&str]| Arguments::try_parse_from(words).map(|arguments| arguments.attempts);
        assert_eq!(attempts(&["hostile", "--json"])?, 1);
        assert_eq!(attempts(&["hostile", "--attempts", "5"])?, 5);
        assert!(attempts(&["hostile", "--attempts", "0"]).is_err());
        assert!(attempts(&["hostile", "--attempts", "6"]).is_err());
        Ok(())
    }
}
