//! As much of redis' protocol (RESP 2) as the harnesses take: a command, a reply.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Failed;

/// Between two tries to connect: the harness may start redis after its nodes.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a text, and texts of a list, that are taken. Addresses are far below.
const TEXT_MAX: usize = 65_536;
const LIST_MAX: usize = 16;

/// A connection.
pub struct Redis {
    stream: BufReader<TcpStream>,
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Nothing,
    Number(i64),
    Text(String),
    List(Vec<String>),
}

impl Redis {
    /// Connects to `HOST:PORT`, again and again until `end`.
    pub fn connect(address: &str, end: Instant) -> Result<Self, Failed> {
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => return Ok(Self { stream: BufReader::new(stream) }),
                Err(error) if Instant::now() >= end => {
                    return Err(format!("redis at {address}: {error}").into());
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// This computer's address, as redis sees it: one at which others reach it.
    pub fn own_ip(&self) -> Result<IpAddr, Failed> {
        Ok(self.stream.get_ref().local_addr()?.ip())
    }

    /// Says a command, and reads its reply, which must come until `end`.
    pub fn command(&mut self, words: &[&str], end: Instant) -> Result<Reply, Failed> {
        let mut out = format!("*{}\r\n", words.len());
        for word in words {
            out.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.get_ref().set_read_timeout(Some(left))?;
        self.stream.get_mut().write_all(out.as_bytes())?;
        let (kind, rest) = self.line()?;
        match kind {
            b'+' => Ok(Reply::Text(rest)),
            b'-' => Err(format!("redis: {rest}").into()),
            b':' => Ok(Reply::Number(rest.parse()?)),
            b'$' => Ok(self.text(&rest)?.map_or(Reply::Nothing, Reply::Text)),
            b'*' if rest == "-1" => Ok(Reply::Nothing),
            b'*' => self.list(rest.parse()?),
            other => Err(format!("redis answers with {other}").into()),
        }
    }

    fn list(&mut self, count: usize) -> Result<Reply, Failed> {
        if count > LIST_MAX {
            return Err("a list of redis is too long".into());
        }
        let mut list = Vec::new();
        for _ in 0..count {
            let (kind, len) = self.line()?;
            let text = if kind == b'$' { self.text(&len)? } else { None };
            list.push(text.ok_or("a list of redis has something other than texts")?);
        }
        Ok(Reply::List(list))
    }

    /// A text of that length; `None` where there is none.
    fn text(&mut self, len: &str) -> Result<Option<String>, Failed> {
        if len == "-1" {
            return Ok(None);
        }
        let len: usize = len.parse()?;
        if len > TEXT_MAX {
            return Err("a text of redis is too long".into());
        }
        let mut bytes = vec![0; len + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(len);
        Ok(Some(String::from_utf8(bytes)?))
    }

    /// A line's first byte, and what is behind it.
    fn line(&mut self) -> Result<(u8, String), Failed> {
        let mut line = String::new();
        std::io::Read::by_ref(&mut self.stream).take(TEXT_MAX as u64).read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").ok_or("redis has closed the connection")?;
        let kind = line.bytes().next().ok_or("redis says nothing")?;
        Ok((kind, line.get(1..).unwrap_or_default().to_owned()))
    }
}
