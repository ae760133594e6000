//! Messages by serde: what derives `Serialize` and `Deserialize` travels as postcard writes it.

mod bounded;

use std::cell::Cell;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Bytes, Malformed, Message, PoolItem};
use bounded::{Bounded, Limits};

/// A value that serde and [postcard](https://docs.rs/postcard) write and read, as a [`Message`]: short, and nobody has to write a
/// codec. It is fixed once it is made, so that it is encoded once.
///
/// Whatever a peer sends, reading it is bounded: by the largest message of the channel; no length is believed before as many
/// bytes are there, a message has at most one element of sequences and maps per byte, and values are nested at most
/// [`MAX_DEPTH`](Self::MAX_DEPTH) deep. Only the bytes that this would write itself are read, so that equal values have
/// equal ids; a type whose order varies, as a `HashMap`'s, cannot travel.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use weir::{Malformed, Message, Pool, Postcard};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Transfer {
///     to: [u8; 32],
///     amount: u64,
///     note: String,
/// }
///
/// const TRANSFERS: Pool<Postcard<Transfer>> = Pool::new(4, "transfers");
///
/// let transfer = Postcard::new(Transfer { to: [7; 32], amount: 1000, note: "rent".into() })?;
/// assert_eq!(transfer.encode().len(), 32 + 2 + 5);
/// assert_eq!(Postcard::decode(transfer.encode())?, transfer);
/// assert_eq!(transfer.amount, 1000);
/// # let _ = TRANSFERS;
/// # Ok::<(), Malformed>(())
/// ```
#[derive(Clone, Debug)]
pub struct Postcard<T> {
    value: T,
    bytes: Bytes,
}

impl<T> Postcard<T> {
    /// How deep values are nested, at most: a peer cannot use up the stack with a type that contains itself.
    pub const MAX_DEPTH: u8 = 64;

    /// The value.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: Serialize> Postcard<T> {
    /// To be sent.
    ///
    /// # Errors
    /// [`Malformed`] where the value cannot be written: its `Serialize` fails, or a sequence does not know its length.
    pub fn new(value: T) -> Result<Self, Malformed> {
        let bytes = write(&value)?;
        Ok(Self { value, bytes })
    }
}

fn write<T: Serialize>(value: &T) -> Result<Bytes, Malformed> {
    let bytes = postcard::to_extend(value, Vec::new());
    bytes.map(Bytes::from).map_err(|error| Malformed::because("the value cannot be written", error))
}

impl<T> Deref for Postcard<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Equal where their bytes are.
impl<T> PartialEq for Postcard<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Postcard<T> {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Message for Postcard<T> {
    fn encode(&self) -> Bytes {
        self.bytes.clone()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let elements = Cell::new(bytes.len());
        let mut reader = postcard::Deserializer::from_bytes(&bytes);
        let limits = Limits { elements: &elements, depth: Self::MAX_DEPTH };
        let value = T::deserialize(Bounded::new(&mut reader, limits))
            .map_err(|error| Malformed::because("not the value expected", error))?;
        let rest = reader.finalize().map_err(|error| Malformed::because("not the value expected", error))?;
        if !rest.is_empty() {
            return Err(Malformed::new("bytes are left over"));
        }
        if write(&value)? != bytes {
            return Err(Malformed::new("not as this value is written"));
        }
        Ok(Self { value, bytes })
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> PoolItem for Postcard<T> {}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Node(Box<Tree>),
        Many(Vec<Tree>),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        number: i64,
        text: String,
        maybe: Option<(u8, char)>,
        map: BTreeMap<u16, Vec<bool>>,
        unit: (),
        tree: Tree,
        #[serde(with = "serde_bytes_of")]
        raw: Vec<u8>,
    }

    /// Bytes as serde's bytes.
    mod serde_bytes_of {
        use serde::{Deserialize as _, Deserializer, Serializer};

        pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(bytes)
        }

        pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
            <&[u8]>::deserialize(deserializer).map(<[u8]>::to_vec)
        }
    }

    fn decode<T: Serialize + DeserializeOwned + Send + 'static>(bytes: &[u8]) -> Result<T, String> {
        let decoded = Postcard::decode(Bytes::copy_from_slice(bytes));
        decoded.map(Postcard::into_inner).map_err(|error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })
    }

    #[test]
    fn values_of_every_kind_come_back() {
        let tree = Tree::Many(vec![Tree::Leaf, Tree::Node(Box::new(Tree::Leaf))]);
        let map = BTreeMap::from([(1, vec![true]), (900, vec![])]);
        let all = Everything {
            number: -5,
            text: "ä".into(),
            maybe: Some((7, 'x')),
            map,
            unit: (),
            tree,
            raw: vec![1, 2],
        };
        let sent = Postcard::new(all.clone()).unwrap();
        assert_eq!(Postcard::decode(sent.encode()), Ok(sent.clone()));
        assert_eq!(decode::<Everything>(&sent.encode()).unwrap(), all);
        for cut in 0..sent.encode().len() {
            let error = decode::<Everything>(&sent.encode()[..cut]).unwrap_err();
            assert_eq!(error, postcard::Error::DeserializeUnexpectedEnd.to_string(), "cut at {cut}");
        }
        assert!(decode::<u8>(&[1, 2]).unwrap_err().contains("left over"));
    }

    #[test]
    fn a_length_is_believed_only_as_far_as_there_are_bytes() {
        // Lengths of 2^63 and more elements, of things that take bytes and of things that take none.
        let huge = [255, 255, 255, 255, 255, 255, 255, 255, 127];
        let ends = postcard::Error::DeserializeUnexpectedEnd.to_string();
        assert_eq!(decode::<Vec<u64>>(&huge).unwrap_err(), ends);
        assert_eq!(decode::<String>(&huge).unwrap_err(), ends);
        assert_eq!(decode::<BTreeMap<u64, u64>>(&huge).unwrap_err(), ends);
        // Of what takes no bytes there are as many as the message has bytes, and no more are counted.
        let refused = postcard::Error::SerdeDeCustom.to_string();
        assert_eq!(decode::<Vec<()>>(&huge).unwrap_err(), refused, "it ends at once");
        assert_eq!(decode::<BTreeSet<()>>(&huge).unwrap_err(), refused);
        assert_eq!(decode::<Vec<()>>(&[1]), Ok(vec![()]));
        assert_eq!(decode::<Vec<()>>(&[2]).unwrap_err(), refused, "more elements than bytes");
    }

    #[test]
    fn a_type_that_contains_itself_is_read_to_a_bounded_depth() {
        let nested = |depth: usize| [vec![1; depth], vec![0]].concat();
        let refused = postcard::Error::SerdeDeCustom.to_string();
        assert!(decode::<Tree>(&nested(20)).is_ok());
        assert_eq!(decode::<Tree>(&nested(100)).unwrap_err(), refused);
        assert_eq!(decode::<Tree>(&nested(1_000_000)).unwrap_err(), refused, "the stack holds");
        let many = |depth: usize| [[2, 1].repeat(depth), vec![0]].concat();
        assert!(decode::<Tree>(&many(10)).is_ok());
        assert_eq!(decode::<Tree>(&many(500_000)).unwrap_err(), refused);
    }

    #[test]
    fn one_value_has_one_encoding() {
        assert_eq!(decode::<u64>(&[5]), Ok(5));
        let longer = decode::<u64>(&[0x85, 0]).unwrap_err();
        assert!(longer.contains("not as this value is written"), "{longer}");
        let map = Postcard::new(vec![(1_u8, 1_u8), (2, 2)]).unwrap().encode();
        assert!(decode::<BTreeMap<u8, u8>>(&map).is_ok());
        let other_order = Postcard::new(vec![(2_u8, 2_u8), (1, 1)]).unwrap().encode();
        let refused = decode::<BTreeMap<u8, u8>>(&other_order).unwrap_err();
        assert!(refused.contains("not as this value is written"), "{refused}");
    }
}
