//! Runs a mesh of native nodes that all name each other and prints what they held against each other. `cargo xtask mesh`
//! builds and runs it: `mesh [--json] [--untimed] [NODES ROUNDS RESTARTS]`. It ends with 0 where nobody was blamed and every link was
//! there within 2 s of its round's start; with `--untimed`, for a machine that does other work, whenever it came.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a measurement: what fails ends it

#[path = "../tests/support/mesh.rs"]
mod mesh;

use mesh::{Mesh, Restart, Tally};

fn main() {
    let (options, arguments): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let number = |place: usize, default: usize| {
        arguments.get(place).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (nodes, rounds, restarts) = (number(0, 8), number(1, 50), number(2, 20));
    let mut starts = Tally::default();
    for _ in 0..rounds {
        let mut mesh = Mesh::new(nodes);
        mesh.start();
        starts.add(&mesh.stop());
    }
    let one = restarted(nodes, (0..restarts).map(|round| Restart::One(round % nodes)));
    let all = restarted(nodes, (0..restarts).map(|_| Restart::All));
    let json = options.iter().any(|option| option == "--json");
    for (name, tally) in [("start", &starts), ("restart-one", &one), ("restart-all", &all)] {
        let Tally { rounds, faults, bans, missing, slowest, told } = tally;
        let in_time = tally.is_in_time();
        let slowest = slowest.as_millis();
        if json {
            println!(
                "{{\"case\":\"{name}\",\"nodes\":{nodes},\"rounds\":{rounds},\"faults\":{faults},\"bans\":{bans},\
                 \"missing\":{missing},\"slowest_ms\":{slowest},\"in_time\":{in_time}}}"
            );
        } else {
            println!(
                "{name}: {nodes} nodes, {rounds} rounds, {faults} faults, {bans} bans, {missing} links missing, \
                 slowest link {slowest} ms{}",
                if in_time { "" } else { ": too late" }
            );
            told.iter().for_each(|fault| println!("  {fault}"));
        }
    }
    let untimed = options.iter().any(|option| option == "--untimed");
    let well = |tally: &Tally| tally.is_clean() && (untimed || tally.is_in_time());
    if ![&starts, &one, &all].into_iter().all(well) {
        std::process::exit(1);
    }
}

fn restarted(nodes: usize, rounds: impl Iterator<Item = Restart>) -> Tally {
    let mut mesh = Mesh::new(nodes);
    mesh.start();
    rounds.for_each(|restart| mesh.restart(restart));
    mesh.stop()
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.faults += other.faults;
        self.bans += other.bans;
        self.missing += other.missing;
        self.slowest = self.slowest.max(other.slowest);
        let left = 20_usize.saturating_sub(self.told.len());
        self.told.extend(other.told.iter().take(left).cloned());
    }
}
