//! Runs a scenario and prints its report: `cargo run --release -p weir-sim --example run tx-flood 200 7 frames`.

use weir_sim::{Options, Transport, run};

fn main() {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or("tx-flood".into());
    let mut number = |default: u64| words.next().and_then(|word| word.parse().ok()).unwrap_or(default);
    let (nodes, seed, links) = (number(200), number(1), number(20));
    let transport = if number(0) == 1 { Transport::Quic } else { Transport::Frames };
    let options = Options { nodes: nodes as u32, seed, links: links as u32, transport, ..Options::default() };
    match run(&name, &options) {
        Ok(report) => println!("{}", serde_json::to_string_pretty(&report).unwrap()),
        Err(error) => eprintln!("{error}"),
    }
}
