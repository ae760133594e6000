//! What is written on a stream, as QUIC gets it: QUIC walks a list of parts for every packet, so short ones are copied together.

use bytes::Bytes;
use weir_base::Rope;

/// Parts of a write that are shorter than this are copied together, up to [`GATHER_MAX`].
const GATHER_PART: usize = 4 * 1024;

/// The largest buffer of parts copied together.
const GATHER_MAX: usize = 16 * 1024;

/// All bytes of a rope, behind a head if there is one, in few parts.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    head: &'a [u8],
    rope: &'a mut Rope,
    long: Option<Bytes>, // the next part, which is not copied
}

impl<'a> Parts<'a> {
    pub(super) fn new(head: &'a [u8], rope: &'a mut Rope) -> Self {
        Self { head, rope, long: None }
    }
}

impl Iterator for Parts<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(long) = self.long.take() {
            return Some(long);
        }
        let mut gathered = Vec::new();
        if !self.head.is_empty() {
            gathered.reserve_exact(GATHER_MAX.min(self.head.len() + self.rope.len()));
            gathered.extend_from_slice(std::mem::take(&mut self.head));
            if self.rope.is_empty() {
                return Some(gathered.into());
            }
        }
        while let Some(part) = self.rope.pop(usize::MAX) {
            let last = self.rope.is_empty();
            if part.len() >= GATHER_PART || last && gathered.is_empty() {
                if gathered.is_empty() {
                    return Some(part);
                }
                self.long = Some(part);
                return Some(gathered.into());
            }
            if gathered.is_empty() {
                gathered.reserve_exact(GATHER_MAX.min(part.len() + self.rope.len()));
            }
            gathered.extend_from_slice(&part);
            if last || gathered.len() + GATHER_PART >= GATHER_MAX {
                return Some(gathered.into());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(lens: &[usize]) -> (Rope, Vec<*const u8>) {
        let (mut rope, mut places) = (Rope::new(), Vec::new());
        for (len, byte) in lens.iter().zip(1..) {
            let part = Bytes::from(vec![byte; *len]);
            places.push(part.as_ptr());
            rope.push(part);
        }
        (rope, places)
    }

    fn lens(head: &[u8], of: &[usize]) -> Vec<usize> {
        let (mut rope, _) = rope(of);
        let parts: Vec<Bytes> = Parts::new(head, &mut rope).collect();
        let expected: Vec<u8> =
            of.iter().zip(1..).flat_map(|(len, byte)| std::iter::repeat_n(byte, *len)).collect();
        assert_eq!(parts.concat(), [head, &expected].concat(), "all bytes, in order");
        parts.iter().map(Bytes::len).collect()
    }

    #[test]
    fn short_parts_are_copied_together_and_long_ones_are_not_copied() {
        assert_eq!(lens(&[], &[10, 20, 30]), [60]);
        assert_eq!(lens(&[], &[10, 4_096, 20]), [10, 4_096, 20]);
        assert_eq!(lens(&[], &[4_095; 5]), [16_380, 4_095], "at most 16 KiB");
        assert_eq!(lens(&[], &[20_000, 20_000]), [20_000, 20_000]);
        let (mut long, places) = rope(&[10, 5_000, 10]);
        let parts: Vec<Bytes> = Parts::new(&[], &mut long).collect();
        assert_eq!(parts[1].as_ptr(), places[1]);
    }

    #[test]
    fn a_head_goes_along_with_what_is_written_first() {
        assert_eq!(lens(&[9, 9], &[]), [2]);
        assert_eq!(lens(&[9, 9], &[10, 20]), [32]);
        assert_eq!(lens(&[9, 9], &[5_000, 10]), [2, 5_000, 10]);
        assert!(lens(&[], &[]).is_empty());
    }
}
