//! Host names inside addresses.

use std::fmt;
use std::str::FromStr;

/// The longest host name in bytes (RFC 1035 §2.3.4, without the root's dot).
pub const DNS_NAME_MAX: usize = 253;

/// A host name: 1 to [`DNS_NAME_MAX`] letters, digits, `-`, `_` and `.`. International names are in their ASCII form
/// (`xn--…`). Kept as given, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Box<str>);

/// Why a text is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    /// Empty, or too long.
    #[error("a host name has 1 to {DNS_NAME_MAX} characters, this one {0}")]
    Length(usize),
    /// A character that host names do not have.
    #[error("host names have letters, digits, '-', '_' and '.'; write others in their xn-- form")]
    Character,
}

impl DnsName {
    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        if text.is_empty() || text.len() > DNS_NAME_MAX {
            return Err(DnsNameError::Length(text.len()));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !text.bytes().all(allowed) {
            return Err(DnsNameError::Character);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
