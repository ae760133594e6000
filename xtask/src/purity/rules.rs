//! The tables of the purity gate. Every exception is here, with its reason, and nowhere else.

/// A name that pure crates may not use.
pub(super) struct Rule {
    pub(super) name: &'static [&'static str],
    pub(super) reason: &'static str,
    /// Whether it would also make two runs of the simulator differ.
    pub(super) breaks_determinism: bool,
}

/// Where a name is allowed all the same.
pub(super) struct Exception {
    /// A file, or a folder with a slash at its end.
    pub(super) below: &'static str,
    pub(super) name: &'static [&'static str],
}

const CLOCK: &str = "time comes from the host, as `weir_base::Instant`";
const RANDOM: &str = "randomness comes from the host's seed, as `weir_base::Rng`";
const ORDER: &str = "its order differs from run to run; use `weir_base::Table` or a BTreeMap";
const SOCKET: &str = "sockets belong to the host";
const THREAD: &str = "threads belong to the host";
const SYSTEM: &str = "files, processes and the environment belong to the host";
const SHARED: &str = "a machine is owned by one thread; nothing in it is shared";
const DRAWS: &str = "it draws randomness or time by itself; pass them in";

const fn pure(name: &'static [&'static str], reason: &'static str) -> Rule {
    Rule { name, reason, breaks_determinism: false }
}

const fn determined(name: &'static [&'static str], reason: &'static str) -> Rule {
    Rule { name, reason, breaks_determinism: true }
}

/// Segments that may not occur in this order in any path.
pub(super) const PATHS: &[Rule] = &[
    determined(&["std", "time", "Instant"], CLOCK),
    determined(&["Instant", "now"], CLOCK),
    determined(&["SystemTime", "now"], CLOCK),
    determined(&["UnixTime", "now"], CLOCK),
    determined(&["std", "thread"], THREAD),
    pure(&["std", "fs"], SYSTEM),
    pure(&["std", "process"], SYSTEM),
    pure(&["std", "env"], SYSTEM),
    pure(&["std", "os"], SYSTEM),
    determined(&["rand", "rng"], RANDOM),
    determined(&["rand", "random"], RANDOM),
    pure(&["KeyPair", "generate"], DRAWS),
    pure(&["KeyPair", "generate_for"], DRAWS),
    pure(&["EndpointConfig", "default"], DRAWS),
    pure(&["ServerConfig", "with_crypto"], DRAWS),
    pure(&["ServerConfig", "with_single_cert"], DRAWS),
    pure(&["HashedConnectionIdGenerator", "new"], DRAWS),
];

/// Single words that may not occur at all, whatever they are imported from.
pub(super) const WORDS: &[Rule] = &[
    determined(&["SystemTime"], CLOCK),
    determined(&["UNIX_EPOCH"], CLOCK),
    determined(&["HashMap"], ORDER),
    determined(&["HashSet"], ORDER),
    determined(&["RandomState"], ORDER),
    determined(&["hashbrown"], ORDER),
    determined(&["getrandom"], RANDOM),
    determined(&["thread_rng"], RANDOM),
    determined(&["ThreadRng"], RANDOM),
    determined(&["OsRng"], RANDOM),
    determined(&["SysRng"], RANDOM),
    determined(&["from_entropy"], RANDOM),
    determined(&["from_os_rng"], RANDOM),
    determined(&["SystemRandom"], RANDOM),
    pure(&["RandomConnectionIdGenerator"], DRAWS),
    pure(&["generate_simple_self_signed"], DRAWS),
    determined(&["TcpStream"], SOCKET),
    determined(&["TcpListener"], SOCKET),
    determined(&["UdpSocket"], SOCKET),
    determined(&["UnixStream"], SOCKET),
    determined(&["UnixListener"], SOCKET),
    determined(&["UnixDatagram"], SOCKET),
    determined(&["ToSocketAddrs"], SOCKET),
    determined(&["tokio"], THREAD),
    determined(&["smol"], THREAD),
    determined(&["mio"], SOCKET),
    determined(&["socket2"], SOCKET),
    pure(&["Mutex"], SHARED),
    pure(&["RwLock"], SHARED),
];

/// Modules that hold a forbidden name: to import one whole would hide it.
pub(super) const MODULES: &[&[&str]] =
    &[&["std"], &["std", "time"], &["std", "net"], &["std", "collections"], &["std", "sync"]];

/// All exceptions, each with its reason.
pub(super) const EXCEPTIONS: &[Exception] = &[
    // `Table` is the map without iteration that replaces it; its hasher is keyed from the seed
    Exception { below: "crates/base/src/table.rs", name: &["HashMap"] },
    // Counted keys, and walked through sorted keys only.
    Exception { below: "crates/base/src/numbered.rs", name: &["HashMap"] },
    // quinn-proto's signatures ask for the type; values are made from the host's anchor, and `now` stays forbidden
    Exception { below: "crates/link/src/quic/time.rs", name: &["std", "time", "Instant"] },
    // its clock for tokens returns the wall type; the value is made from the host's wall time
    Exception { below: "crates/link/src/quic/time.rs", name: &["SystemTime"] },
    Exception { below: "crates/link/src/quic/time.rs", name: &["UNIX_EPOCH"] },
    // tests are the host there: an anchor can only be had from the clock, and only differences to it are used
    // How long a run took, for its report; nothing in the run sees it.
    Exception { below: "crates/sim/src/scenarios/mod.rs", name: &["std", "time", "Instant"] },
    Exception { below: "crates/sim/src/scenarios/mod.rs", name: &["WallClock", "now"] },
    Exception { below: "crates/link/src/tests/harness.rs", name: &["std", "time", "Instant"] },
    Exception { below: "crates/link/src/tests/harness.rs", name: &["Instant", "now"] },
    Exception { below: "crates/stack/tests/stack/net.rs", name: &["std", "time", "Instant"] },
    Exception { below: "crates/stack/tests/stack/net.rs", name: &["Instant", "now"] },
    // handles are shared between threads of the application and of the host
    Exception { below: "crates/node/src/", name: &["Mutex"] },
    // two threads at the two ends of a stream, as in life
    Exception { below: "crates/node/src/stream/tests.rs", name: &["std", "thread"] },
    // a cluster belongs to the thread that made it; it looks which one asks
    Exception { below: "crates/sim/src/cluster/", name: &["std", "thread"] },
    // rustls's session stores are called through `&self` and must be `Sync`
    Exception { below: "crates/link/src/quic/", name: &["Mutex"] },
    // rustls's certificate resolvers and verifiers are called through `&self` and must be `Sync`
    Exception { below: "crates/libp2p/src/tls/", name: &["Mutex"] },
];

/// Files that may hold `unsafe`: at most one, in `crates/native`.
pub(super) const UNSAFE_FILES: &[&str] = &[];

/// Pure crates that decode what strangers send: an index out of range must not panic there.
pub(super) const DECODING: &[&str] = &["base", "libp2p", "pull", "link"];

/// Constructors and types of queues without a limit.
pub(super) const UNBOUNDED: &[&str] =
    &["unbounded", "unbounded_channel", "UnboundedSender", "UnboundedReceiver", "SegQueue"];

/// What every pure crate's `clippy.toml` disallows by its resolved name.
pub(super) const CLIPPY: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
];
