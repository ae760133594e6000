//! Programs that this one runs: each ends with whoever holds it, and none may take longer than its limit.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::Failed;

/// Lines of a program that wait to be read; further ones are dropped. None says nearly so much.
const LINES: usize = 256;

/// How a program ended.
#[derive(Debug, Default)]
pub struct End {
    /// None where a signal ended it.
    pub code: Option<i32>,
    /// The last line that it said.
    pub said: String,
    /// What it said of its errors.
    pub errors: String,
}

/// Ends with whoever holds it.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a program, whose input stays open and whose lines are read.
    pub fn start(command: &mut Command) -> Result<Self, Failed> {
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        let (told, lines) = sync_channel(LINES);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if matches!(told.try_send(line), Err(TrySendError::Disconnected(_))) {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// The first line that begins with this word.
    pub fn line(&mut self, word: &str, limit: Duration) -> Result<String, Failed> {
        let end = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(word) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("it does not say `{word}`").into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ends without `{word}`: {}", self.errors()).into());
                }
            }
        }
    }

    /// Stops it as it is: it holds its connections, and is silent.
    pub fn freeze(&self) -> Result<(), Failed> {
        let status = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("kill: {status}").into()) }
    }

    /// Waits for its end.
    pub fn end(mut self, limit: Duration) -> Result<End, Failed> {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                return Err("it takes too long".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let said = self.lines.iter().last().unwrap_or_default();
        Ok(End { code: status.code(), said, errors: self.errors() })
    }

    /// What it said of its errors, once it has ended.
    fn errors(&mut self) -> String {
        let _ = self.child.kill();
        let mut said = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_string(&mut said);
        }
        said.trim().chars().take(600).collect()
    }
}
