//! The names a side speaks or proposes.

use std::sync::Arc;

use super::token::{HEADER, LIST, NOT_AVAILABLE, TOKEN_MAX};

/// Names in one list: far more than a node has.
pub const NAMES_MAX: usize = 1_000;

/// Protocol names in order of preference. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Arc<[Box<str>]>);

/// Why a text is no protocol name, or a list no list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than a token can carry.
    #[error("a protocol name of {0} bytes; it has at least 1, and below {TOKEN_MAX}")]
    Length(usize),
    /// It contains a newline, which ends a token.
    #[error("a protocol name contains a newline")]
    Newline,
    /// `na`, `ls` or the header, which mean something else.
    #[error("a protocol name is one of multistream's own words")]
    Reserved,
    /// No name at all, or more than [`NAMES_MAX`].
    #[error("{0} protocol names; 1 to {NAMES_MAX} are allowed")]
    Count(usize),
}

impl Names {
    /// Checks every name.
    ///
    /// # Errors
    /// [`NameError`] of the first name that is none, or of the list.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, NameError> {
        let names = names.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() || names.len() > NAMES_MAX {
            return Err(NameError::Count(names.len()));
        }
        Ok(Self(names.into()))
    }

    /// The name at `index`.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.0.get(index).map(AsRef::as_ref)
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Where `name` stands.
    pub(crate) fn position(&self, name: &[u8]) -> Option<usize> {
        self.iter().position(|known| known.as_bytes() == name)
    }

    /// How many there are; at least one.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

fn checked(name: &str) -> Result<Box<str>, NameError> {
    if name.is_empty() || name.len() >= TOKEN_MAX {
        return Err(NameError::Length(name.len()));
    }
    if name.contains('\n') {
        return Err(NameError::Newline);
    }
    if [HEADER, NOT_AVAILABLE, LIST].contains(&name) {
        return Err(NameError::Reserved);
    }
    Ok(name.into())
}
