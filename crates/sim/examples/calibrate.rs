//! What a node's turns take on this machine: `cargo xtask calibrate`. Best on a machine that does nothing else.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::net::UdpSocket;
use std::time::Instant;

use weir_base::identity::Keypair;
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
    println!("a datagram of 1,200 bytes through the loopback: {:.2} out and in", system_calls()?);
    println!("a signature checked: {:.1} (the model's verdict: {:.1})", signature(), micros(usual.verdict));
    Ok(())
}

/// The median of so many times; what else the machine does stretches few of them.
fn median(mut once: impl FnMut() -> std::io::Result<()>) -> std::io::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..20_001 {
        let begun = Instant::now();
        once()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn system_calls() -> std::io::Result<f64> {
    let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let address = to.local_addr()?;
    let (bytes, mut buffer) = ([7; 1_200], [0; 2_048]);
    median(|| {
        from.send_to(&bytes, address)?;
        to.recv(&mut buffer).map(drop)
    })
}

fn signature() -> f64 {
    let keypair = Keypair::ed25519_from_seed([7; 32]);
    let message = [3; 300];
    let signature = keypair.sign(&message);
    let key = keypair.public();
    median(|| {
        black_box(key.verify(&message, &signature).is_ok());
        Ok(())
    })
    .unwrap_or_default()
}
