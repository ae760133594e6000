//! The dialect of *perf*: a server with a key that all know, and a client that uploads and downloads on one stream.

use std::net::SocketAddr;
use std::time::Instant;

use weir::Keypair;

use crate::{Transport, Wrong, builder, config};

/// The server's key: of a seed of zeros, so that clients know whom they dial.
const SEED: [u8; 32] = [0; 32];
/// Measurements that a server answers at once.
const AT_ONCE: u32 = 8;

/// What to do.
pub struct Task {
    serves: bool,
    address: SocketAddr,
    transport: Transport,
    upload: u64,
    download: u64,
}

impl Task {
    /// What the flags say.
    pub fn read(words: &[String]) -> Result<Self, Wrong> {
        let told = |text: String| Wrong::Told(text.into());
        let (mut serves, mut address, mut transport) = (false, None, Transport::Tcp);
        let (mut upload, mut download) = (0, 0);
        let mut words = words.iter().map(String::as_str);
        while let Some(flag) = words.next() {
            if matches!(flag, "--run-server" | "-run-server") {
                serves = true;
                continue;
            }
            let value = words.next().ok_or_else(|| told(format!("{flag}: a value is missing")))?;
            let number = || value.parse::<u64>().map_err(|error| told(format!("{flag} {value}: {error}")));
            // Go's programs know flags with one dash, and harnesses use both.
            match flag.trim_start_matches('-') {
                "server-address" => {
                    let parsed = value.parse().map_err(|error| told(format!("{flag} {value}: {error}")))?;
                    address = Some(parsed);
                }
                "transport" => transport = Transport::named(value)?,
                "upload-bytes" => upload = number()?,
                "download-bytes" => download = number()?,
                _ => return Err(told(format!("{flag}: no such flag"))),
            }
        }
        let address = address.ok_or_else(|| told("--server-address is missing".into()))?;
        Ok(Self { serves, address, transport, upload, download })
    }

    pub fn run(&self) -> Result<(), Wrong> {
        // With both, the best is proposed first, as other implementations do in this harness.
        let mut config = config(self.transport, "tls", "yamux")?;
        if self.transport == Transport::Tcp {
            config.node.tcp.security.push(weir::config::Security::Noise);
        }
        let server = Keypair::ed25519_from_seed(SEED);
        let address = self.transport.address(self.address.ip(), self.address.port());
        if self.serves {
            config.node.perf.max_inbound = AT_ONCE;
            let (net, _node, ()) = weir::start(builder(config, server).listen(address.as_str()))?;
            for address in net.addresses() {
                println!("{address}");
            }
            loop {
                std::thread::park(); // until whoever started it ends it
            }
        }
        let peer = server.peer_id();
        let (net, _node, ()) = weir::start(builder(config, weir::random_keypair()?))?;
        let begun = Instant::now();
        net.block_on(net.connect(format!("{address}/p2p/{peer}")))?;
        let took = net.block_on(net.peers().measure(peer, self.upload, self.download))?;
        took.ok_or("the server does not serve perf, or broke off")?;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{{\"type\":\"final\",\"timeSeconds\":{seconds:.6},\"uploadBytes\":{},\"downloadBytes\":{}}}",
            self.upload, self.download
        );
        Ok(())
    }
}
