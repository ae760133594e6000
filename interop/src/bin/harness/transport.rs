//! The dialects of *transport-interop* and *unified-testing*: a listener tells its address by redis, a dialler connects and pings.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use weir::{Event, Network};

use crate::redis::{Redis, Reply};
use crate::{Failed, Transport, Wrong, builder, config};

/// The list of transport-interop, and the key of unified-testing behind the key of the test.
const LIST: &str = "listenerAddr";
const KEY: &str = "_listener_multiaddr";
/// Between two looks for the listener's address.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two pings. The first one goes out at once, and no second is needed.
const PINGS: Duration = Duration::from_secs(10);
/// How long a node may take where nothing is said.
const LIMIT: Duration = Duration::from_secs(180);

/// Whose dialect.
enum Dialect {
    TransportInterop,
    /// With the key under which the address is told.
    UnifiedTesting(String),
}

/// What a node is to do.
pub struct Task {
    dialect: Dialect,
    dials: bool,
    transport: Transport,
    security: String,
    muxer: String,
    ip: IpAddr,
    redis: String,
    limit: Duration,
}

/// How long connecting and a ping took.
struct Latency {
    handshake_plus_one_rtt: Duration,
    ping_rtt: Duration,
}

impl Task {
    /// What the environment says; `None` where it is nobody's dialect.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Option<Result<Self, Wrong>> {
        if let Some(dials) = variable("IS_DIALER") {
            let Some(key) = variable("TEST_KEY") else { return Some(Err(missing("TEST_KEY"))) };
            let names =
                ["TRANSPORT", "SECURE_CHANNEL", "MUXER", "LISTENER_IP", "REDIS_ADDR", "TEST_TIMEOUT_SECS"];
            return Some(Self::of(Dialect::UnifiedTesting(key + KEY), &dials, names, variable));
        }
        let dials = variable("is_dialer")?;
        let names = ["transport", "security", "muxer", "ip", "redis_addr", "test_timeout_seconds"];
        Some(Self::of(Dialect::TransportInterop, &dials, names, variable))
    }

    fn of(
        dialect: Dialect,
        dials: &str,
        [transport, security, muxer, ip, redis, limit]: [&str; 6],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Wrong> {
        let told = |error: &dyn std::fmt::Display, name: &str| Wrong::Told(format!("{name}: {error}").into());
        let transport_name = variable(transport).ok_or_else(|| missing(transport))?;
        let ip = variable(ip)
            .map_or_else(|| Ok([0, 0, 0, 0].into()), |text| text.parse().map_err(|e| told(&e, ip)))?;
        let seconds =
            variable(limit).map(|text| text.parse::<u32>().map_err(|e| told(&e, limit))).transpose()?;
        Ok(Self {
            dialect,
            dials: match dials {
                "true" => true,
                "false" => false,
                other => return Err(told(&other, "is_dialer")),
            },
            transport: Transport::named(&transport_name)?,
            security: variable(security).unwrap_or_default(),
            muxer: variable(muxer).unwrap_or_default(),
            ip,
            redis: variable(redis).unwrap_or_else(|| "redis:6379".into()),
            limit: seconds.map_or(LIMIT, |seconds| Duration::from_secs(seconds.into())),
        })
    }

    pub fn run(&self) -> Result<(), Wrong> {
        let mut config = config(self.transport, &self.security, &self.muxer)?;
        let end = Instant::now() + self.limit;
        let mut redis = Redis::connect(&self.redis, end)?;
        if !self.dials {
            let listen = self.transport.address(self.ip, 0);
            let (net, _node, ()) =
                weir::start(builder(config, weir::random_keypair()?).listen(listen.as_str()))?;
            let address = self.reached_at(&net, redis.own_ip()?)?;
            self.tell(&mut redis, &address, end)?;
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            return Err(Wrong::Failed("nobody ended this listener in time".into()));
        }
        config.node.ping.interval = PINGS;
        let (net, _node, ()) = weir::start(builder(config, weir::random_keypair()?))?;
        let address = self.listener(&mut redis, end)?;
        let latency = connect(&net, &address, end)?;
        let (all, ping) = (millis(latency.handshake_plus_one_rtt), millis(latency.ping_rtt));
        match self.dialect {
            Dialect::TransportInterop => {
                // The misspelling is the harness'.
                println!("{{\"handshakePlusOneRTTMillis\":{all:.3},\"pingRTTMilllis\":{ping:.3}}}");
            }
            Dialect::UnifiedTesting(_) => {
                println!("latency:\n  handshake_plus_one_rtt: {all:.3}\n  ping_rtt: {ping:.3}\n  unit: ms");
            }
        }
        Ok(())
    }

    /// Where others reach a listener: not at the address that stands for all of the computer's.
    fn reached_at(&self, net: &Network, own: IpAddr) -> Result<String, Failed> {
        let address = net.addresses().first().ok_or("nothing is listened on")?.to_string();
        let any = self.transport.address(self.ip, 0);
        let here = self.transport.address(own, 0);
        let ip = |address: &str| address.split('/').take(3).collect::<Vec<_>>().join("/");
        Ok(if self.ip.is_unspecified() { address.replacen(&ip(&any), &ip(&here), 1) } else { address })
    }

    fn tell(&self, redis: &mut Redis, address: &str, end: Instant) -> Result<(), Failed> {
        match &self.dialect {
            Dialect::TransportInterop => redis.command(&["RPUSH", LIST, address], end)?,
            Dialect::UnifiedTesting(key) => redis.command(&["SET", key, address], end)?,
        };
        Ok(())
    }

    /// The listener's address, once it is told.
    fn listener(&self, redis: &mut Redis, end: Instant) -> Result<String, Failed> {
        if let Dialect::TransportInterop = self.dialect {
            let seconds = end.saturating_duration_since(Instant::now()).as_secs().max(1).to_string();
            // Redis gives up by itself, and a moment later so does this side.
            return match redis.command(&["BLPOP", LIST, &seconds], end + Duration::from_secs(5))? {
                Reply::List(mut pair) => pair.pop().ok_or_else(|| "redis answers with nothing".into()),
                other => Err(format!("no listener told its address: {other:?}").into()),
            };
        }
        let Dialect::UnifiedTesting(key) = &self.dialect else { return Err("no key".into()) };
        loop {
            match redis.command(&["GET", key], end)? {
                Reply::Text(address) => return Ok(address),
                _ if Instant::now() >= end => return Err("no listener told its address".into()),
                _ => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Connects, and waits for the first round trip.
fn connect(net: &Network, address: &str, end: Instant) -> Result<Latency, Failed> {
    let events = net.events();
    let begun = Instant::now();
    let peer = net.block_on(net.connect(address))?;
    let ping = async {
        while let Some(event) = events.next().await {
            match event {
                Event::Rtt { peer: of, rtt } if of == peer => return Ok(rtt),
                Event::PeerDown { reason, .. } => return Err(format!("the link ended: {reason:?}").into()),
                _ => {}
            }
        }
        Err::<_, Failed>("the node has stopped".into())
    };
    let left = end.saturating_duration_since(Instant::now());
    let ping_rtt = net.block_on(net.within(left, ping)).map_err(|_| "no answer to a ping in time")??;
    Ok(Latency { handshake_plus_one_rtt: begun.elapsed(), ping_rtt })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn missing(name: &str) -> Wrong {
    Wrong::Told(format!("{name} is not set").into())
}
