//! The header of a frame.

use bytes::{BufMut as _, BytesMut};
use weir_base::Fault;

use super::{TYPE, VERSION};

/// Bytes of a header.
pub(super) const HEADER: usize = 12;

/// Flags, in the second 16 bits.
pub(super) mod flag {
    pub(in super::super) const SYN: u16 = 1;
    pub(in super::super) const ACK: u16 = 2;
    pub(in super::super) const FIN: u16 = 4;
    pub(in super::super) const RST: u16 = 8;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Window,
    Ping,
    Away,
}

/// A header as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u16, // unknown ones are ignored
    pub(super) stream: u32,
    pub(super) length: u32,
}

impl Header {
    pub(super) fn decode(bytes: [u8; HEADER]) -> Result<Self, Fault> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        if version != 0 {
            return Err(VERSION);
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Window,
            2 => Kind::Ping,
            3 => Kind::Away,
            _ => return Err(TYPE),
        };
        Ok(Self {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u8(0);
        out.put_u8(match self.kind {
            Kind::Data => 0,
            Kind::Window => 1,
            Kind::Ping => 2,
            Kind::Away => 3,
        });
        out.put_u16(self.flags);
        out.put_u32(self.stream);
        out.put_u32(self.length);
    }

    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}
