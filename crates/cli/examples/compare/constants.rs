//! What turns take on this machine: of real nodes over loopback, and of nodes in virtual time, beside what the simulator takes
//! them to take.
//!
//! Natively, few nodes that are all linked run several loads: transactions one at a time, many, and large ones. What their network
//! threads took is divided among their turns, datagrams and bytes. The application's threads are not in it. Best on a machine that
//! does nothing else.

use weir_sim::compare::{Apart, Case, Plan, plan};
use weir_sim::{Calibration, Processor, Processors, Sample, Transport, calibrate};

use crate::{Fallible, native};

/// Transactions a second over all nodes, and the bytes of each.
const LOADS: [(u32, usize); 7] =
    [(10, 300), (100, 300), (500, 300), (1_500, 100), (20, 4_000), (100, 20_000), (300, 8_000)];

/// Nodes, each linked to all others.
const NODES: u32 = 4;
/// Seconds of a load.
const SECONDS: u32 = 6;
const SEED: u64 = 1;

/// Measures, and prints the table.
pub(crate) fn print() -> Fallible<()> {
    println!(
        "{:28} {:>8} {:>10} {:>12} {:>15}",
        "microseconds", "a turn", "a packet", "a kilobyte", "largest error"
    );
    for chosen in [Processors::Machines, Processors::Native] {
        let Processor { turn, packet, kilobyte, .. } = chosen.constants();
        let [turn, packet, kilobyte] = [turn, packet, kilobyte].map(|time| time.as_secs_f64() * 1e6);
        row(&format!("--processor {}", chosen.as_str()), [turn, packet, kilobyte], None);
    }
    for transport in [Transport::Frames, Transport::Quic] {
        found(&format!("virtual time, {}", transport.as_str()), calibrate(transport)?);
    }
    let mut samples = Vec::new();
    for (rate, size) in LOADS {
        let Some(sample) = native::measure(NODES, &planned(rate)?, SEED, size)? else { break };
        samples.push((rate, size, sample));
    }
    let all: Vec<Sample> = samples.iter().map(|(.., sample)| *sample).collect();
    let constants = Calibration::of(&all);
    found("native", constants);
    println!(
        "\n{:28} {:>8} {:>10} {:>12} {:>15}",
        "a load, natively", "turns", "packets", "kilobytes", "µs, explained"
    );
    for (rate, size, Sample { work, seconds }) in samples {
        let explained = constants.map_or(f64::NAN, |constants| constants.micros(work));
        println!(
            "{:28} {:>8} {:>10} {:>12} {:>7.0} {explained:>7.0}",
            format!("{rate}/s of {size} bytes"),
            work.turns,
            work.packets,
            work.bytes / 1_000,
            seconds * 1e6
        );
    }
    Ok(())
}

fn planned(rate: u32) -> Fallible<Plan> {
    let processor = Processors::Native;
    let (nodes, links, apart) = (NODES, NODES - 1, Apart::Loopback);
    Ok(plan(&Case { nodes, links, apart, rate, seconds: SECONDS, seed: SEED, processor })?)
}

fn found(name: &str, found: Option<Calibration>) {
    match found {
        Some(Calibration { turn, packet, kilobyte, error }) => {
            row(name, [turn, packet, kilobyte], Some(error));
        }
        None => println!("{name:28} the system does not tell"),
    }
}

fn row(name: &str, [turn, packet, kilobyte]: [f64; 3], error: Option<f64>) {
    let error = error.map_or_else(String::new, |error| format!("{:.0} %", error * 100.0));
    println!("{name:28} {turn:>8.1} {packet:>10.2} {kilobyte:>12.2} {error:>15}");
}
