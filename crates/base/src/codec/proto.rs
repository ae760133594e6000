//! A protobuf field reader that copies nothing and allocates nothing, and the few writers that go with it.
//!
//! The caller matches on field numbers and bounds counts itself; unknown fields are skipped, as protobuf asks.
//! Source: the protobuf encoding guide (wire types 0, 1, 2 and 5; groups are refused).

use bytes::BufMut;

use super::{Malformed, Reader, put_prefixed, put_varint};

/// One field's value, borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, little-endian.
    Fixed64(u64),
    /// Wire type 2: bytes, a string or a message.
    Bytes(&'a [u8]),
    /// Wire type 5, little-endian.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field of at most `max`; an error for any other wire type.
    pub fn bytes(self, max: usize) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) if bytes.len() <= max => Ok(bytes),
            Self::Bytes(_) => Err(Malformed::TooLarge),
            _ => Err(Malformed::Value),
        }
    }

    /// The number of a varint field; an error for any other wire type.
    pub const fn varint(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed::Value),
        }
    }
}

/// Walks the fields of one message. Work is linear in the message's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub const fn new(message: &'a [u8]) -> Self {
        Self { reader: Reader::new(message) }
    }

    /// The next field's number and value, `None` at the end.
    #[allow(clippy::should_implement_trait)] // an iterator could not end on the first error by itself
    pub fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let tag = self.reader.varint(u64::from(u32::MAX))?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed::TooLarge)?;
        if number == 0 {
            return Err(Malformed::Value);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.reader.varint(u64::MAX)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.reader.array()?)),
            2 => Value::Bytes(self.reader.prefixed(usize::MAX)?),
            5 => Value::Fixed32(u32::from_le_bytes(self.reader.array()?)),
            _ => return Err(Malformed::Value),
        };
        Ok(Some((number, value)))
    }
}

/// Appends a varint field.
pub fn put_varint_field(out: &mut impl BufMut, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends a length-delimited field.
pub fn put_bytes_field(out: &mut impl BufMut, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_prefixed(out, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_what_is_cut_is_an_error() {
        let mut out = Vec::new();
        put_varint_field(&mut out, 1, 300);
        put_bytes_field(&mut out, 2, b"key");
        let mut fields = Fields::new(&out);
        assert_eq!(fields.next(), Ok(Some((1, Value::Varint(300)))));
        assert_eq!(fields.next(), Ok(Some((2, Value::Bytes(b"key")))));
        assert_eq!(fields.next(), Ok(None));
        for cut in [1, 2, 4, 6] {
            let mut fields = Fields::new(&out[..cut]);
            let mut last = fields.next();
            while let Ok(Some(_)) = last {
                last = fields.next();
            }
            assert_eq!(last, Err(Malformed::Truncated), "cut at {cut}");
        }
        assert_eq!(Fields::new(&[0x0b]).next(), Err(Malformed::Value), "groups");
        assert_eq!(Fields::new(&[0x00, 0x00]).next(), Err(Malformed::Value), "field 0");
    }
}
