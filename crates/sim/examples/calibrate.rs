//! What a node's turns take on this machine: `cargo xtask calibrate`. Best on a machine that does nothing else.

#![allow(clippy::print_stdout)]

use weir_sim::{Processor, Transport, calibrate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usual = Processor::default();
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    println!("microseconds             a turn   a packet   a kilobyte   largest error");
    println!(
        "the model's default    {:8.1}   {:8.2}   {:10.2}",
        micros(usual.turn),
        micros(usual.packet),
        micros(usual.kilobyte)
    );
    for transport in [Transport::Frames, Transport::Quic] {
        let Some(found) = calibrate(transport)? else {
            println!("{:20}   the system does not tell", transport.as_str());
            continue;
        };
        println!(
            "{:20}   {:8.1}   {:8.2}   {:10.2}   {:12.0}%",
            transport.as_str(),
            found.turn,
            found.packet,
            found.kilobyte,
            found.error * 100.0
        );
    }
    Ok(())
}
