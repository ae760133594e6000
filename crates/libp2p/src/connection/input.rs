//! What has arrived and is not decrypted.
//!
//! Bytes come in pieces of any size. While the peer sends long records, each is received in a buffer of its own size: there it is
//! decrypted in place, and what it holds is read as slices of that buffer, so that nothing is copied.

use bytes::BytesMut;
use weir_base::KIB;

/// From this length on, in bytes, a record has a buffer of its own. Of shorter ones a single read brings many.
const LONG: usize = 16 * KIB;

/// Bytes that are read behind a long record: the length of the next one, which says how much to read then.
const AHEAD: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: BytesMut, // what has arrived, and `blank` zeros to be read over
    blank: usize,
    record: usize, // length of the last record that was whole
}

impl Input {
    /// Bytes that have arrived.
    pub(super) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.blank)
    }

    /// Bytes of memory it holds.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn arrived(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// What has arrived, to be taken off. A long record that is not whole is not worth a look.
    pub(super) fn get(&mut self) -> Option<&mut BytesMut> {
        (self.blank == 0).then_some(&mut self.bytes)
    }

    /// More has arrived.
    pub(super) fn append(&mut self, more: BytesMut) {
        self.bytes.truncate(self.len());
        self.blank = 0;
        if self.bytes.is_empty() {
            self.bytes = more;
        } else {
            self.bytes.unsplit(more);
        }
    }

    /// A record of this length was whole, its head included; 0 where lengths are not known.
    pub(super) fn was_whole(&mut self, record: usize) {
        self.record = record;
    }

    /// Lets go of memory that holds nothing.
    pub(super) fn release(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// Gets ready to receive a long record in place, where one is to be expected: the last one was long, and `len` says that this one
    /// is, or that there is nothing of it yet. Whether it is ready.
    pub(super) fn begin(&mut self, len: impl Fn(&[u8]) -> Option<usize>) -> bool {
        if self.record < LONG {
            return false; // a peer that announces much has shown that it sends much
        }
        let arrived = self.len();
        let Some(whole) = len(self.arrived()).or((arrived == 0).then_some(self.record)) else { return false };
        if whole < LONG || whole <= arrived {
            return false;
        }
        self.resize(whole + AHEAD, arrived);
        true
    }

    /// Has `read` fill in at most `most` bytes of the record; how many it did. What is whole then is to be taken off.
    pub(super) fn fill(
        &mut self,
        most: usize,
        len: impl Fn(&[u8]) -> Option<usize>,
        read: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        let before = self.len();
        let end = self.bytes.len().min(before.saturating_add(most));
        let blank = self.bytes.get_mut(before..end).unwrap_or_default();
        let filled = read(blank).min(end.saturating_sub(before));
        let arrived = before + filled;
        self.blank = self.bytes.len() - arrived;
        match len(self.arrived()) {
            Some(whole) if arrived < whole => self.resize(whole + AHEAD, arrived),
            // Less came than was expected: it shall not hold the whole buffer.
            _ if arrived < self.bytes.len() / 2 => {
                self.bytes = BytesMut::from(self.arrived());
                self.blank = 0;
            }
            _ => {
                self.bytes.truncate(arrived);
                self.blank = 0;
            }
        }
        filled
    }

    /// Makes the buffer `total` bytes long, of which so many have arrived.
    fn resize(&mut self, total: usize, arrived: usize) {
        if self.bytes.len() != total {
            self.bytes.resize(total, 0);
        }
        self.blank = total.saturating_sub(arrived);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records with two bytes of length before them, as Noise's.
    fn len(input: &[u8]) -> Option<usize> {
        input.first_chunk::<2>().map(|head| 2 + usize::from(u16::from_be_bytes(*head)))
    }

    fn record(len: u16, byte: u8) -> Vec<u8> {
        let mut record = len.to_be_bytes().to_vec();
        record.resize(2 + usize::from(len), byte);
        record
    }

    /// Reads `wire` in pieces of at most `piece` bytes; the records, and how many bytes of them were not received in place.
    fn received(wire: &[u8], piece: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut input, mut at, mut records, mut lent) = (Input::default(), 0, Vec::new(), 0);
        while at < wire.len() {
            let mut read = |memory: &mut [u8]| {
                let part = &wire[at..wire.len().min(at + piece.min(memory.len()))];
                memory[..part.len()].copy_from_slice(part);
                at += part.len();
                part.len()
            };
            if input.begin(len) {
                input.fill(usize::MAX, len, &mut read);
            } else {
                let mut memory = vec![0; 64 * KIB];
                let len = read(&mut memory);
                lent += len;
                input.append(BytesMut::from(&memory[..len]));
            }
            while let Some(bytes) = input.get()
                && let Some(whole) = len(bytes).filter(|whole| *whole <= bytes.len())
            {
                records.push(bytes.split_to(whole).to_vec());
                input.was_whole(whole);
            }
            input.release();
        }
        (records, lent)
    }

    #[test]
    fn records_survive_any_cut_and_long_ones_are_received_in_place() {
        let sent: Vec<Vec<u8>> = [64_864, 64_864, 20_000, 64_864, 100, 30_000, 65_535, 65_535, 1, 0, 16_400]
            .into_iter()
            .zip(1..)
            .map(|(len, byte)| record(len, byte))
            .collect();
        let wire = sent.concat();
        for piece in [1_000, 1_448, 16_384, 50_000, 65_536, 200_000] {
            assert!(received(&wire, piece).0 == sent, "in pieces of {piece}");
        }
        let steady: Vec<u8> = (0..20).flat_map(|byte| record(64_864, byte)).collect();
        let (records, lent) = received(&steady, usize::MAX);
        assert_eq!(records.len(), 20);
        assert_eq!(lent, 64 * KIB, "the first read alone");
    }

    #[test]
    fn a_long_record_is_announced_in_vain_by_a_peer_that_has_sent_none() {
        let mut input = Input::default();
        input.append(BytesMut::from(&record(65_535, 1)[..2]));
        assert!(!input.begin(len));
        input.was_whole(LONG);
        assert!(input.begin(len));
        assert_eq!((input.len(), input.bytes.len()), (2, 65_537 + AHEAD));
        assert!(input.get().is_none(), "it is not whole");
    }

    #[test]
    fn a_little_that_comes_instead_of_a_long_record_holds_little_memory() {
        let mut input = Input::default();
        input.was_whole(65_000);
        assert!(input.begin(len));
        input.fill(usize::MAX, len, &mut |memory| {
            memory[..12].copy_from_slice(&record(10, 1));
            12
        });
        let bytes = input.get().expect("it is whole");
        assert_eq!((bytes.len(), bytes.capacity()), (12, 12));
    }
}
