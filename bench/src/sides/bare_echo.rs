//! A bare echo over TCP, the floor for `call` alone: blocking sockets, nothing sealed, nothing but the waking of threads.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use crate::figures::percentile;
use crate::job::{Latencies, Threads};
use crate::machine::cpu_seconds;
use crate::process::serve_until_stdin_closes;
use crate::workload::calls::CALL_BYTES;

type Message = [u8; CALL_BYTES];

/// Answers what it reads; with two threads the one reads and the other answers.
pub fn serve(threads: Threads) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            socket.set_nodelay(true).expect("set");
            std::thread::spawn(move || echo(socket, threads));
        }
    });
    serve_until_stdin_closes(&address);
}

/// Until the caller leaves.
fn echo(mut socket: TcpStream, threads: Threads) -> io::Result<()> {
    let mut message: Message = [0; CALL_BYTES];
    match threads {
        Threads::One => loop {
            socket.read_exact(&mut message)?;
            socket.write_all(&message)?;
        },
        Threads::Two => {
            let mut answering = socket.try_clone()?;
            let (requests, asked) = sync_channel::<Message>(1);
            std::thread::spawn(move || asked.iter().try_for_each(|message| answering.write_all(&message)));
            loop {
                socket.read_exact(&mut message)?;
                requests.send(message).map_err(io::Error::other)?;
            }
        }
    }
}

/// Calls, one after the other, after a tenth as many that do not count; with two threads the one writes and waits, and the other reads.
pub fn run(to: &str, calls: u64, threads: Threads) -> Latencies {
    let mut socket = TcpStream::connect(to).expect("connected");
    socket.set_nodelay(true).expect("set");
    let mut reading = socket.try_clone().expect("another handle");
    let mut message: Message = [7; CALL_BYTES];
    let mut call: Box<dyn FnMut()> = match threads {
        Threads::One => Box::new(move || {
            socket.write_all(&message).expect("written");
            socket.read_exact(&mut message).expect("an answer");
        }),
        Threads::Two => {
            let (answers, answered) = sync_channel::<Message>(1);
            std::thread::spawn(move || {
                while reading.read_exact(&mut message).is_ok() && answers.send(message).is_ok() {}
            });
            Box::new(move || {
                socket.write_all(&message).expect("written");
                answered.recv().expect("an answer");
            })
        }
    };
    (0..calls / 10).for_each(|_| call());
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let timed = |_| {
        let one = Instant::now();
        call();
        u64::try_from(one.elapsed().as_nanos()).unwrap_or(u64::MAX)
    };
    let mut nanos: Vec<u64> = (0..calls).map(timed).collect();
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    nanos.sort_unstable();
    let micros = |percent| percentile(&nanos, percent) as f64 / 1e3;
    Latencies { p50_us: micros(50), p99_us: micros(99), per_second: calls as f64 / seconds, cpu }
}
