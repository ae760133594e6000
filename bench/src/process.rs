//! Child processes of this program, one per side and role.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::job::{Job, Side, Usage};

/// The subcommand of a child; not for users.
pub const SIDE: &str = "side";
/// How long one side may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(180);
/// Asks a server for its [`Usage`].
pub const ASK_USAGE: &str = "usage";

/// Why a side gave no figure.
#[derive(Debug)]
pub struct Failed {
    side: Side,
    reason: String,
}

impl Failed {
    /// `side` gave no figure, and why.
    pub fn new(side: Side, reason: String) -> Self {
        Self { side, reason }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.side.name(), self.reason)
    }
}

/// A child that prints lines.
#[derive(Debug)]
pub struct Process {
    side: Side,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts `job` of `side`.
    pub fn start(side: Side, job: &Job) -> Result<Self, Failed> {
        Self::start_on(side, job, None)
    }

    /// The same, bound to one core of the machine where one is named.
    pub fn start_on(side: Side, job: &Job, core: Option<usize>) -> Result<Self, Failed> {
        let failed = |reason: String| Failed { side, reason };
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let order = serde_json::to_string(&(side, job)).map_err(|error| failed(error.to_string()))?;
        let mut command = match core {
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.arg("--cpu-list").arg(core.to_string()).arg(program);
                taskset
            }
            None => Command::new(program),
        };
        command.args([SIDE, &order]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (sender, lines) = sync_channel(16);
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { side, child, input, lines })
    }

    /// The next line it prints.
    pub fn line(&mut self) -> Result<String, Failed> {
        self.lines.recv_timeout(PATIENCE).map_err(|_| {
            let ended = self.child.try_wait().ok().flatten().map(|status| format!("ended with {status}"));
            let reason = ended.unwrap_or_else(|| format!("no answer within {} s", PATIENCE.as_secs()));
            Failed { side: self.side, reason }
        })
    }

    /// The next line, as a figure.
    pub fn figure<T: DeserializeOwned>(&mut self) -> Result<T, Failed> {
        let line = self.line()?;
        serde_json::from_str(&line)
            .map_err(|error| Failed { side: self.side, reason: format!("{error}: {line}") })
    }

    /// What a server has used until now.
    pub fn usage(&mut self) -> Result<Usage, Failed> {
        let asked = self.input.as_mut().is_some_and(|input| writeln!(input, "{ASK_USAGE}").is_ok());
        if asked {
            self.figure()
        } else {
            Err(Failed { side: self.side, reason: "no longer listens".into() })
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a job that prints one figure and ends.
pub fn measure<T: DeserializeOwned>(side: Side, job: &Job) -> Result<T, Failed> {
    Process::start(side, job)?.figure()
}

/// A server's life: prints its address, answers questions about its use, ends when standard input does.
pub fn serve_until_stdin_closes(address: &str) {
    println!("{address}");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line == ASK_USAGE {
            print_figure(&crate::machine::usage());
        }
    }
}

/// Prints one figure on a line of its own.
pub fn print_figure<T: serde::Serialize>(figure: &T) {
    let line = serde_json::to_string(figure).unwrap_or_else(|error| error.to_string());
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
