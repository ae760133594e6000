//! One cell: two programs, one of them Weir's, do one thing with each other.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::Failed;
use crate::peers::{Looks, Peer, Reads};
use crate::plan::{Check, FEW, Stack};
use crate::process::{End, Running};

/// How long a program may take to say that it listens or has connected.
const LIMIT: Duration = Duration::from_secs(40);
/// How long it may take to be idle for 60 s, to find out that a peer has vanished, or for the rest on a busy machine.
const LONG: Duration = Duration::from_secs(100);
/// A peer that is nobody's: `weir keygen` would never make it twice.
const NOBODY: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
/// The bytes that perf moves each way.
const BYTES: &str = "16777216";
/// What the command `weir` says, in JSON, where another peer is there than it dials.
const WEIR_REFUSED: &str = r#""reason":{"link":"other_peer"}"#;
/// What the other programs end with and say then: a code that no crash has.
const PEER_REFUSED: (i32, &str) = (3, "another peer");
/// Codes of resets, as the programs have them: of the listener, and of the dialler.
const CODES: (&str, &str) = ("7", "9");
/// Long names, as the programs have them: Weir, whose identify is several messages then, and its peers, whose is one.
const NAMES: (u32, u32) = (45, 80);

/// Weir's programs: the command, and the one for checks that take streams of one's own.
pub struct Weir {
    pub command: PathBuf,
    pub streams: PathBuf,
    /// The key file of the private network.
    pub key: PathBuf,
}

impl Weir {
    /// What the command is told of a stack.
    fn options(&self, stack: Stack) -> Vec<OsString> {
        let words: &[&str] = match stack {
            Stack::Noise => &["--security", "noise"],
            Stack::Tls => &["--security", "tls"],
            Stack::Both => &["--security", "both"],
            Stack::Mplex => &["--security", "noise", "--muxer", "both"],
            Stack::Pnet => &["--security", "noise", "--private"],
            Stack::Quic => &[],
        };
        let key = (stack == Stack::Pnet).then(|| self.key.clone().into());
        words.iter().map(OsString::from).chain(key).collect()
    }
}

/// Writes the key file of the private network, beside this program.
pub fn key_file() -> Result<PathBuf, Failed> {
    let path = std::env::current_exe()?.with_file_name("interop-swarm.key");
    std::fs::write(&path, format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "57".repeat(32)))?;
    Ok(path)
}

/// What is tried.
pub struct Cell<'a> {
    pub stack: Stack,
    pub peer: &'a Peer,
    pub check: Check,
    pub weir_dials: bool,
}

impl Cell<'_> {
    /// As people are told.
    pub fn name(&self) -> String {
        let (dials, listens) =
            if self.weir_dials { ("weir", self.peer.name) } else { (self.peer.name, "weir") };
        format!("{}: {dials} dials {listens}: {}", self.stack.name(), self.check.name())
    }

    /// Tries it.
    pub fn run(&self, weir: &Weir) -> Result<(), Failed> {
        let mut listener = Running::start(&mut self.listener(weir))?;
        let line = listener.line("listening", LIMIT)?;
        let address = line.split_whitespace().last().ok_or("it does not say where it listens")?;
        let mut dialler = Running::start(&mut self.dialler(weir, address))?;
        match self.check {
            Check::Vanish if self.weir_dials => {
                dialler.line("holding", LIMIT)?;
                listener.freeze()?;
                is_lost(&dialler.line("gone", LONG)?)
            }
            Check::Vanish => {
                dialler.line("holding", LIMIT)?;
                dialler.freeze()?;
                is_lost(&listener.line("gone", LONG)?)
            }
            check => {
                let end = dialler.end(LONG)?;
                let wanted = match check {
                    Check::WrongPeer if self.weir_dials => weir_refused(&end),
                    Check::WrongPeer => peer_refused(&end),
                    _ => end.code == Some(0),
                };
                match check {
                    _ if !wanted => {
                        Err(format!("ends with {:?}: {} {}", end.code, end.said, end.errors).into())
                    }
                    Check::Reset => self.judge_codes(&end.said),
                    Check::LargeIdentify => self.judge_names(&end.said),
                    _ => Ok(()),
                }
            }
        }
    }

    fn listener(&self, weir: &Weir) -> Command {
        let stack = self.stack.word();
        let mut command = if self.weir_dials {
            self.peer.command()
        } else if self.check.is_of_command() {
            let mut command = Command::new(&weir.command);
            let address = match self.stack {
                Stack::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
                _ => "/ip4/127.0.0.1/tcp/0",
            };
            command.args(["listen", "--listen", address]).args(weir.options(self.stack));
            return command;
        } else {
            Command::new(&weir.streams)
        };
        command.args(["listen", stack]);
        if self.check == Check::LargeIdentify {
            command.arg("large");
        }
        command
    }

    fn dialler(&self, weir: &Weir, address: &str) -> Command {
        let wrong = wrong(address);
        let address = if self.check == Check::WrongPeer { &wrong } else { address };
        let stack = self.stack.word();
        if self.weir_dials && self.check.is_of_command() {
            let mut command = Command::new(&weir.command);
            match self.check {
                Check::Identify => command.args(["identify", address]),
                Check::Perf => command.args(["perf", "peer", address]).args([
                    "--upload-bytes",
                    BYTES,
                    "--download-bytes",
                    BYTES,
                ]),
                Check::WrongPeer => command.args(["ping", address, "--count", "1", "--json"]),
                _ => command.args(["ping", address, "--count", "3", "--interval-ms", "50"]),
            };
            command.args(weir.options(self.stack));
            return command;
        }
        let mut command = if self.weir_dials { Command::new(&weir.streams) } else { self.peer.command() };
        match self.check {
            Check::Identify => command.args(["identify", stack, address]),
            Check::Perf => command.args(["perf", stack, address]),
            Check::Echo => command.args(["echo", stack, address]),
            Check::Push => command.args(["push", stack, address]),
            Check::LargeIdentify => command.args(["large", stack, address]),
            Check::Streams => command.args(["streams", stack, address]),
            Check::FewStreams => command.args(["streams", stack, address, FEW]),
            Check::Reset => command.args(["reset", stack, address]),
            Check::Idle => command.args(["idle", stack, address]),
            Check::Vanish if self.weir_dials => command.args(["vanish", stack, address]),
            Check::Vanish => command.args(["hold", stack, address]),
            Check::Ping | Check::WrongPeer => command.args(["ping", stack, address]),
        };
        command
    }

    /// Weir learns all long names of its peer, the peer as many of Weir's as its implementation reads.
    fn judge_names(&self, said: &str) -> Result<(), Failed> {
        let (dialler, listener) = said.split_once(' ').ok_or_else(|| format!("it says `{said}`"))?;
        let (weir, peer) = if self.weir_dials { (dialler, listener) } else { (listener, dialler) };
        let (weir, peer): (u32, u32) = (weir.parse()?, peer.parse()?);
        if weir != NAMES.1 {
            return Err(format!("weir learned {weir} names of {}", NAMES.1).into());
        }
        let enough = match self.peer.reads_identify() {
            Reads::All => peer == NAMES.0,
            Reads::First => (1..NAMES.0).contains(&peer),
        };
        if enough { Ok(()) } else { Err(format!("the peer learned {peer} names of {}", NAMES.0).into()) }
    }

    /// Both resets must look as the peer's implementation lets them: with their codes where it has any.
    fn judge_codes(&self, said: &str) -> Result<(), Failed> {
        let (by, saw) = said.split_once(' ').ok_or_else(|| format!("it says `{said}`"))?;
        let ((peer_saw, of_weir), (weir_saw, of_peer)) =
            if self.weir_dials { ((saw, CODES.1), (by, CODES.0)) } else { ((by, CODES.0), (saw, CODES.1)) };
        let wanted = match self.peer.sees_resets(self.stack) {
            Looks::Code => of_weir,
            Looks::Reset => "reset",
            Looks::End => "ended",
        };
        if peer_saw != wanted {
            return Err(format!("the peer saw `{peer_saw}` instead of `{wanted}`").into());
        }
        let as_wanted = match self.peer.sends_resets(self.stack) {
            Looks::Code => weir_saw == of_peer,
            Looks::Reset => weir_saw.parse::<u32>().is_ok(),
            Looks::End => weir_saw == "ended",
        };
        if as_wanted { Ok(()) } else { Err(format!("weir saw `{weir_saw}`").into()) }
    }
}

/// Whether Weir met another peer and says so. No connection at all, or a crash, is no refusal.
fn weir_refused(end: &End) -> bool {
    end.code == Some(1) && end.said.contains(WEIR_REFUSED)
}

/// The same of the others.
fn peer_refused(end: &End) -> bool {
    (end.code, end.said.as_str()) == (Some(PEER_REFUSED.0), PEER_REFUSED.1)
}

/// Whether Weir says of a peer that its link was lost, and nothing else.
fn is_lost(line: &str) -> Result<(), Failed> {
    if line.ends_with("Lost") { Ok(()) } else { Err(format!("weir says `{line}`").into()) }
}

/// The address with another peer in it.
fn wrong(address: &str) -> String {
    let (socket, _) = address.rsplit_once("/p2p/").unwrap_or((address, ""));
    format!("{socket}/p2p/{NOBODY}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(code: Option<i32>, said: &str) -> End {
        End { code, said: said.to_owned(), errors: String::new() }
    }

    #[test]
    fn only_who_says_that_another_peer_is_there_has_refused_it() {
        let weir = |reason: &str| format!("{{\"ok\":false,\"error\":\"…\",{reason}\"version\":\"1\"}}");
        let other = weir(r#""reason":{"link":"other_peer"},"#);
        assert!(weir_refused(&end(Some(1), &other)));
        for (code, said) in [
            (Some(1), weir(r#""reason":{"link":"unreachable"},"#)),
            (Some(1), weir("")),
            (Some(1), String::new()),
            (Some(0), other.clone()),
            (Some(101), other.clone()),
            (None, other),
        ] {
            assert!(!weir_refused(&end(code, &said)), "{code:?} {said}");
        }
        assert!(peer_refused(&end(Some(3), "another peer")));
        for (code, said) in [(1, "another peer"), (3, ""), (1, ""), (2, ""), (0, "another peer")] {
            assert!(!peer_refused(&end(Some(code), said)), "{code} {said}");
        }
        assert!(!peer_refused(&end(None, "another peer")), "a signal ended it");
    }
}
