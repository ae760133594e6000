//! Payloads of transactions: from a file's lines, or made up.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_chain::transfer::{PAYLOAD_MAX, TRANSFER_MAX};
use weir_sim::Rng;

use crate::error::Failure;
use crate::signals::Signals;

/// Bytes of lines that are kept of what cannot be read twice (a pipe), in memory; a file is read line by line.
const PIPED_MAX: usize = 64 << 20;
/// How long a file may take to be opened and read before the user is told what is waited for.
const SILENCE: Duration = Duration::from_secs(1);

/// Bytes of a transfer beside its payload.
const FIXED: usize = TRANSFER_MAX - PAYLOAD_MAX;
/// Made-up payloads that their mean is taken of.
const SAMPLES: usize = 4_096;

/// Where payloads come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Lines, in order, once.
    Lines(Lines),
    /// Random bytes of random sizes, without end.
    Made,
}

/// Lines that were counted and measured before the run began.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    kept: Kept,
    bytes: usize, // of all lines, without their ends
    left: usize,
    taken: usize,
}

#[derive(Debug)]
enum Kept {
    File(BufReader<File>),
    Memory(std::vec::IntoIter<Vec<u8>>),
}

impl Source {
    /// Opens a file with a payload a line and measures every line; the first signal ends that.
    pub(crate) fn from_file(path: &Path, signals: &Signals) -> Result<Self, Failure> {
        let owned = path.to_owned();
        let opening = signals.run(move || Lines::open(owned))?;
        if let Some(lines) = opening.wait(SILENCE)? {
            return lines.map(Self::Lines);
        }
        let what = if is_regular(path) { "reading" } else { "waiting for lines, and the end of them, from" };
        crate::output::note(&format!("--txs: {what} {}", path.display()));
        loop {
            if let Some(lines) = opening.wait(Duration::from_secs(3600))? {
                return lines.map(Self::Lines);
            }
        }
    }

    /// The next payload; `None` at the file's end.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Lines(lines) => lines.next(),
            Self::Made => {
                let mut payload = vec![0; payload_len(rng)];
                rng.fill(&mut payload);
                Ok(Some(payload))
            }
        }
    }

    /// Bytes of a block that a transaction takes, on average.
    pub(crate) fn mean_len(&self) -> usize {
        let payload = match self {
            Self::Lines(lines) => lines.bytes / lines.left.max(1),
            Self::Made => {
                let mut rng = Rng::from_number(0);
                (0..SAMPLES).map(|_| payload_len(&mut rng)).sum::<usize>() / SAMPLES
            }
        };
        4 + FIXED + payload
    }

    /// How many payloads are left; `None` where there is no end.
    pub(crate) fn left(&self) -> Option<usize> {
        match self {
            Self::Lines(lines) => Some(lines.left),
            Self::Made => None,
        }
    }
}

/// The length of a payload that is made up: a transfer has the size of an item of the simulations.
fn payload_len(rng: &mut Rng) -> usize {
    weir_sim::load::item_size(rng).saturating_sub(FIXED).min(PAYLOAD_MAX)
}

fn is_regular(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file())
}

impl Lines {
    fn open(path: PathBuf) -> Result<Self, Failure> {
        let cannot = |what: &str, error: std::io::Error| {
            let shown = path.display();
            Failure::input(format!(
                "--txs: cannot {what} {shown}: {error}; name a file with one payload per line"
            ))
        };
        let file = File::open(&path).map_err(|error| cannot("open", error))?;
        let again = is_regular(&path);
        let (mut reader, mut lines, mut bytes, mut left) = (BufReader::new(file), Vec::new(), 0, 0);
        while let Some(line) = line(&mut reader).map_err(|error| cannot("read", error))? {
            left += 1;
            if line.len() > PAYLOAD_MAX {
                return Err(too_long(&path, left));
            }
            bytes += line.len();
            if !again {
                lines.push(line);
            }
            if bytes + left > PIPED_MAX && !again {
                return Err(Failure::input(format!(
                    "--txs: {} is not a file and gave more than {PIPED_MAX} bytes; write them to a file",
                    path.display()
                )));
            }
        }
        if left == 0 {
            return Err(Failure::input(format!(
                "--txs: {} has no lines; write one payload per line",
                path.display()
            )));
        }
        let kept = if again {
            reader.rewind().map_err(|error| cannot("read", error))?;
            Kept::File(reader)
        } else {
            Kept::Memory(lines.into_iter())
        };
        Ok(Self { path, kept, bytes, left, taken: 0 })
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.taken += 1;
        let shown = self.path.display();
        let next = match &mut self.kept {
            Kept::Memory(lines) => Ok(lines.next()),
            Kept::File(reader) => line(reader),
        };
        match next {
            Ok(Some(line)) if line.len() > PAYLOAD_MAX => Err(too_long(&self.path, self.taken)),
            Ok(Some(line)) => Ok(Some(line)),
            Ok(None) => Err(Failure::run(format!("--txs: {shown} was shortened during the run"))),
            Err(error) => Err(Failure::run(format!("--txs: cannot read {shown}: {error}"))),
        }
    }
}

fn too_long(path: &Path, line: usize) -> Failure {
    Failure::input(format!(
        "--txs: line {line} of {} has more than {PAYLOAD_MAX} bytes, which is the longest payload; shorten or split it",
        path.display()
    ))
}

/// The next line without its end, `None` at the end. At most a little more than the longest payload is read of one line.
fn line(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if reader.take(PAYLOAD_MAX as u64 + 2).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
        let mut lines = Lines::open(path.to_owned())?;
        std::iter::from_fn(|| lines.next().transpose()).collect()
    }

    #[test]
    fn a_files_lines_are_the_payloads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "one\r\ntwo\n\nfour").unwrap();
        assert_eq!(all(&path).unwrap(), [&b"one"[..], b"two", b"", b"four"]);
        assert_eq!(Lines::open(path).unwrap().left, 4);
    }

    #[test]
    fn the_mean_length_is_that_of_what_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, format!("{}\n{}\n", "x".repeat(300), "x".repeat(100))).unwrap();
        assert_eq!(Source::Lines(Lines::open(path).unwrap()).mean_len(), 4 + FIXED + 200);
        let (mut made, mut rng) = (Source::Made, Rng::from_number(9));
        let taken =
            (0..1_000).map(|_| 4 + FIXED + made.next(&mut rng).unwrap().unwrap().len()).sum::<usize>();
        let (mean, found) = (made.mean_len(), taken / 1_000);
        assert!(mean.abs_diff(found) < mean / 5, "{mean} expected, {found} made");
    }

    #[test]
    fn the_longest_payload_fits_with_either_line_end_and_one_byte_more_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for end in ["", "\n", "\r\n"] {
            for (len, fits) in [(PAYLOAD_MAX, true), (PAYLOAD_MAX + 1, false), (PAYLOAD_MAX + 2, false)] {
                std::fs::write(&path, format!("short\n{}{end}", "x".repeat(len))).unwrap();
                match all(&path) {
                    Ok(lines) => assert!(fits && lines[1].len() == len, "{len} {end:?}"),
                    Err(error) => {
                        assert!(!fits && error.exit_code() == 2);
                        assert!(error.to_string().contains("line 2"), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_read_to_its_end() {
        let mut zeros = BufReader::new(std::io::repeat(0));
        assert_eq!(line(&mut zeros).unwrap().map(|line| line.len()), Some(PAYLOAD_MAX + 2));
    }

    #[test]
    fn a_file_that_is_shortened_during_the_run_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "line\n".repeat(100_000)).unwrap();
        let mut lines = Lines::open(path.clone()).unwrap();
        std::fs::write(&path, "line\n").unwrap();
        let error = std::iter::from_fn(|| lines.next().transpose()).find_map(Result::err).unwrap();
        assert!(error.to_string().contains("shortened") && error.exit_code() == 1, "{error}");
    }

    #[test]
    fn what_is_not_there_or_empty_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let error = Lines::open(path.clone()).unwrap_err();
        assert!(error.to_string().contains("cannot open") && error.exit_code() == 2);
        std::fs::write(&path, "").unwrap();
        let error = Lines::open(path).unwrap_err();
        assert!(error.to_string().contains("no lines") && error.exit_code() == 2);
    }
}
