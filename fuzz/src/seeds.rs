//! What mutations start from: the corpus of a target, and every byte string in the golden vectors.

use std::io;
use std::path::{Path, PathBuf};

/// One input and where it comes from.
pub struct Seed {
    /// The file, for messages.
    pub from: PathBuf,
    /// The input.
    pub bytes: Vec<u8>,
}

/// The files of `corpus/<target>/`, by name.
pub fn corpus(target: &str) -> io::Result<Vec<Seed>> {
    let folder = here().join("corpus").join(target);
    files(&folder)?.into_iter().map(|from| Ok(Seed { bytes: std::fs::read(&from)?, from })).collect()
}

/// Every run of hexadecimal digits that stands for bytes in a file of `vectors/`, whatever its format.
pub fn vectors() -> io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for from in files(&here().join("..").join("vectors"))? {
        let text = String::from_utf8_lossy(&std::fs::read(&from)?).into_owned();
        let found = byte_strings(&text);
        seeds.extend(found.into_iter().map(|bytes| Seed { from: from.clone(), bytes }));
    }
    Ok(seeds)
}

/// The folder of this crate.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, in order; none where there is no such folder.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        if !next.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Words of an even number, at least two, of hexadecimal digits.
fn byte_strings(text: &str) -> Vec<Vec<u8>> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty() && word.len().is_multiple_of(2))
        .filter_map(unhex)
        .collect()
}

fn unhex(word: &str) -> Option<Vec<u8>> {
    let nibbles: Option<Vec<u32>> = word.chars().map(|c| c.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair.first()? << 4 | pair.get(1)?).ok();
    nibbles?.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_strings_are_found_in_any_format() {
        let text = "{\"name\": \"not hex\", \"bytes\": \"0a0B\"}\nff = 00 # abc\n";
        assert_eq!(byte_strings(text), [vec![0x0a, 0x0b], vec![0xff], vec![0x00]]);
    }
}
