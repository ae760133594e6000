//! The book: all pages, in a file.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use weir::{Bytes, ItemId, Message as _, PublicKey};

use super::note::Note;
use super::page::{Head, Page};

/// Pages one behind the other, each behind its length (8 bytes).
#[derive(Debug)]
pub struct Book {
    file: File,
    pages: Vec<(u64, usize)>, // offset and length of each page
    notes: BTreeSet<ItemId>,
    last: Option<Head>,
}

impl Book {
    /// Opens the book, or begins it. What a crash left of the last page is cut off: whoever has the page sends it again.
    pub fn open(path: &Path, writer: &PublicKey) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut book = Self { file, pages: Vec::new(), notes: BTreeSet::new(), last: None };
        let mut rest = Bytes::from(bytes);
        let mut whole = 0;
        while let Some((len, behind)) = rest.split_first_chunk() {
            let len = usize::try_from(u64::from_be_bytes(*len)).unwrap_or(usize::MAX);
            if len > behind.len() {
                break;
            }
            let page = Page::decode(rest.slice(8..8 + len)).map_err(io::Error::other)?;
            if !book.fits(&page, writer) {
                return Err(io::Error::other("the book is not what its writer wrote"));
            }
            book.note_down(whole + 8, len, &page);
            whole += 8 + len as u64;
            rest = rest.slice(8 + len..);
        }
        book.file.set_len(whole)?;
        Ok(book)
    }

    /// The head of the last page.
    pub fn last(&self) -> Option<&Head> {
        self.last.as_ref()
    }

    /// The number of the next page.
    pub fn next(&self) -> u64 {
        self.pages.len() as u64 + 1
    }

    /// Whether this is the next page, and by the writer.
    pub fn fits(&self, page: &Page, writer: &PublicKey) -> bool {
        let before = self.last.as_ref().map_or([0; 32], Head::hash);
        page.head.number == self.next() && page.head.before == before && page.is_by(writer)
    }

    /// Adds the next page. It is on the disk when this returns: only then may others hear of it.
    pub fn add(&mut self, page: &Page) -> io::Result<()> {
        let bytes = page.encode();
        let at = self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(&[&(bytes.len() as u64).to_be_bytes()[..], &bytes].concat())?;
        self.file.sync_data()?;
        self.note_down(at + 8, bytes.len(), page);
        Ok(())
    }

    fn note_down(&mut self, at: u64, len: usize, page: &Page) {
        self.pages.push((at, len));
        self.notes.extend(page.notes.iter().map(Note::id));
        self.last = Some(page.head.clone());
    }

    /// Whether this note is on a page.
    pub fn holds(&self, note: &ItemId) -> bool {
        self.notes.contains(note)
    }

    /// The page with this number, if it is here.
    pub fn page(&mut self, number: u64) -> io::Result<Option<Page>> {
        let index = number.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let Some((at, len)) = index.and_then(|index| self.pages.get(index)).copied() else {
            return Ok(None);
        };
        let mut bytes = vec![0; len];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut bytes)?;
        Page::decode(bytes.into()).map(Some).map_err(io::Error::other)
    }
}
