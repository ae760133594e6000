//! libp2p nodes that others wrote: how they are built, which version they are of, and what they lack.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failed;
use crate::plan::{Check, Stack};

/// What implementation a node is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Rust,
    Go,
    Js,
    Py,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Rust, Self::Go, Self::Js, Self::Py];

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "rust" => Some(Self::Rust),
            "go" => Some(Self::Go),
            "js" => Some(Self::Js),
            "py" => Some(Self::Py),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust-libp2p",
            Self::Go => "go-libp2p",
            Self::Js => "js-libp2p",
            Self::Py => "py-libp2p",
        }
    }

    /// What its node needs to be built.
    fn needs(self) -> &'static str {
        match self {
            Self::Rust => "build it with cargo",
            Self::Go => "install Go (`go`), and let it fetch modules",
            Self::Js => "install Node's `npm`, and let it fetch packages",
            Self::Py => "install Python 3 (`python3`) with `venv`, and let its pip fetch packages",
        }
    }
}

/// What an implementation lets its users do and know of resets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looks {
    /// A reset with its code.
    Code,
    /// A reset, whose code is not the user's.
    Reset,
    /// The end of the stream.
    End,
}

/// What an implementation reads of an identify that has several messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    All,
    /// The first message.
    First,
}

/// Why a cell is not tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    Mplex,
    OtherThanTcp,
    LongPrivate,
    OtherCipher,
    Ahead,
}

impl Lack {
    pub const ALL: [Self; 5] =
        [Self::Mplex, Self::OtherThanTcp, Self::LongPrivate, Self::OtherCipher, Self::Ahead];

    /// Its place in the list, from 1.
    pub fn number(self) -> usize {
        self as usize + 1
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::Mplex => "it has no mplex",
            Self::OtherThanTcp => "only its TCP is tried",
            Self::OtherCipher => "its private networks have another cipher, Salsa20 with nonces of 8 bytes",
            Self::LongPrivate => "its cipher for private networks runs out of memory in long transfers",
            Self::Ahead => {
                "mplex has no windows: what it sends comes before its answer to identify, which this node waits for"
            }
        }
    }
}

/// A libp2p node that somebody else wrote. All take the same arguments.
pub struct Peer {
    pub kind: Kind,
    pub name: &'static str,
    pub version: String,
    program: Vec<OsString>,
}

impl Peer {
    pub fn command(&self) -> Command {
        let mut words = self.program.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words);
        command
    }

    /// Why this cell cannot be, with Weir as the dialler or not; `None` where it can.
    pub fn lacks(&self, stack: Stack, check: Check, weir_dials: bool) -> Option<Lack> {
        match (self.kind, stack, check) {
            (Kind::Go, Stack::Mplex, _) => Some(Lack::Mplex),
            (Kind::Py, Stack::Pnet, _) => Some(Lack::OtherCipher),
            (Kind::Py, Stack::Quic, _) => Some(Lack::OtherThanTcp),
            (Kind::Js, Stack::Pnet, Check::Perf | Check::Echo) => Some(Lack::LongPrivate),
            (Kind::Js | Kind::Py, Stack::Mplex, Check::Echo) if !weir_dials => Some(Lack::Ahead),
            _ => None,
        }
    }

    /// How a reset of the other side looks to its user. rust-libp2p and py-libp2p end reading where
    /// yamux is reset, js-libp2p where QUIC is.
    pub fn sees_resets(&self, stack: Stack) -> Looks {
        match (self.kind, stack) {
            (Kind::Go, _) => Looks::Code,
            (Kind::Rust, Stack::Quic) => Looks::Reset,
            (Kind::Rust, _) => Looks::End,
            (Kind::Js, Stack::Quic) | (Kind::Py, _) => Looks::End,
            (Kind::Js, _) => Looks::Reset,
        }
    }

    /// Weir's identify has several messages where it is large.
    pub fn reads_identify(&self) -> Reads {
        match self.kind {
            Kind::Go | Kind::Js => Reads::All,
            Kind::Rust | Kind::Py => Reads::First,
        }
    }

    /// How its user's reset looks to the other side. rust-libp2p ends streams over QUIC that are dropped.
    pub fn sends_resets(&self, stack: Stack) -> Looks {
        match (self.kind, stack) {
            (Kind::Go, _) => Looks::Code,
            (Kind::Rust, Stack::Quic) => Looks::End,
            (Kind::Rust | Kind::Js | Kind::Py, _) => Looks::Reset,
        }
    }
}

/// A node that cannot run here.
pub struct Missing {
    pub kind: Kind,
    /// What became of building it.
    pub reason: Failed,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is missing: {}; {}", self.kind.name(), self.reason, self.kind.needs())
    }
}

/// Those of the wanted nodes that can run here, and those that cannot.
pub fn build(wanted: &[Kind]) -> Result<(Vec<Peer>, Vec<Missing>), Failed> {
    let here = std::env::current_exe()?;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (mut peers, mut missing) = (Vec::new(), Vec::new());
    for kind in wanted.iter().copied() {
        let built = match kind {
            Kind::Rust => rust(&here, &folder),
            Kind::Go => go(&here, &folder.join("go")),
            Kind::Js => js(&folder.join("js")),
            Kind::Py => py(&folder.join("py")),
        };
        match built {
            Ok((version, program)) => peers.push(Peer { kind, name: kind.name(), version, program }),
            Err(reason) => missing.push(Missing { kind, reason }),
        }
    }
    Ok((peers, missing))
}

type Built = Result<(String, Vec<OsString>), Failed>;

fn rust(here: &Path, folder: &Path) -> Built {
    let lock = fs::read_to_string(folder.join("Cargo.lock"))?;
    let version = between(&lock, "name = \"libp2p\"\nversion = \"", "\"")?;
    Ok((version, vec![here.with_file_name("rust-peer").into()]))
}

fn go(here: &Path, folder: &Path) -> Built {
    let version =
        between(&fs::read_to_string(folder.join("go.mod"))?, "github.com/libp2p/go-libp2p v", "\n")?;
    let program = here.with_file_name("go-peer");
    succeeds(Command::new("go").arg("build").arg("-o").arg(&program).arg(".").current_dir(folder))?;
    Ok((version, vec![program.into()]))
}

fn js(folder: &Path) -> Built {
    // Not `npm ci`: it wants the packages of all platforms, of which a registry may have only some.
    let quiet =
        ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--foreground-scripts"];
    succeeds(Command::new("npm").args(quiet).current_dir(folder))?;
    let package = fs::read_to_string(folder.join("node_modules/libp2p/package.json"))?;
    let version = between(&package, "\"version\": \"", "\"")?;
    let node = folder.join("node_modules/.bin/node");
    Ok((version, vec![node.into(), folder.join("main.js").into()]))
}

/// In a virtual environment of its own, beside its program.
fn py(folder: &Path) -> Built {
    let wanted = folder.join("requirements.txt");
    let version = between(&fs::read_to_string(&wanted)?, "libp2p==", "\n")?;
    let (environment, stamp) = (folder.join(".venv"), folder.join(".venv/installed"));
    let python = environment.join("bin/python");
    if fs::read(&stamp).ok() != Some(fs::read(&wanted)?) {
        succeeds(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        succeeds(Command::new(&python).args(quiet).arg(&wanted))?;
        fs::copy(&wanted, &stamp)?;
    }
    Ok((version, vec![python.into(), folder.join("main.py").into()]))
}

fn succeeds(command: &mut Command) -> Result<(), Failed> {
    match command.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("{command:?}: {other:?}").into()),
    }
}

/// The word between two texts.
fn between(text: &str, before: &str, behind: &str) -> Result<String, Failed> {
    let (_, rest) = text.split_once(before).ok_or_else(|| format!("no `{before}`"))?;
    let word = rest.split(behind).next().unwrap_or_default();
    Ok(word.split_whitespace().next().unwrap_or_default().to_owned())
}
