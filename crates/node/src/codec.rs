//! What encodings are made of, for those who write [`Message`](crate::Message) by hand: varints, and a reader that checks each
//! length before it takes anything.
//!
//! ```
//! # use weir_node as weir;
//! use weir::codec::{Reader, put_prefixed, put_varint};
//! use weir::{Bytes, Malformed, Message};
//!
//! struct Transfer {
//!     amount: u64,
//!     note: Vec<u8>,
//! }
//!
//! impl Message for Transfer {
//!     fn encode(&self) -> Bytes {
//!         let mut out = Vec::new();
//!         put_varint(&mut out, self.amount);
//!         put_prefixed(&mut out, &self.note);
//!         out.into()
//!     }
//!     fn decode(bytes: Bytes) -> Result<Self, Malformed> {
//!         let mut reader = Reader::new(&bytes);
//!         let amount = reader.varint(u64::MAX)?;
//!         let note = reader.prefixed(256)?.to_vec(); // no longer than that, whatever it says
//!         reader.finish()?;
//!         Ok(Self { amount, note })
//!     }
//! }
//! # let transfer = Transfer { amount: 7, note: b"rent".to_vec() };
//! # let again = Transfer::decode(transfer.encode()).unwrap();
//! # assert_eq!((again.amount, again.note), (7, b"rent".to_vec()));
//! # assert!(Transfer::decode(Bytes::from_static(&[7, 200, 1])).is_err());
//! ```

pub use weir_base::codec::{
    Malformed as CodecError, Reader, VARINT_MAX, peek_varint, put_prefixed, put_varint, varint_len,
};
