//! Names of other people's protocols.

use std::sync::{Mutex, PoisonError};

/// Names that came at run time, and the lists of them that protocols have: each once, so that nodes which start again with the same
/// names take no more memory.
static KEPT: Mutex<Kept> = Mutex::new(Kept { names: Vec::new(), lists: Vec::new() });

struct Kept {
    names: Vec<&'static str>,
    lists: Vec<&'static [&'static str]>,
}

/// Why a protocol cannot be called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no name.
    #[error("a protocol has no name; give it one or more")]
    Missing,
    /// No peer could be told this name.
    #[error(
        "{0:?} cannot be the name of a protocol; use 1 to 128 bytes, without newline, and not `na` or `ls`"
    )]
    Impossible(String),
}

/// Whether multistream-select can carry all of these.
pub(crate) const fn are_names(mut names: &[&str]) -> bool {
    let fit = !names.is_empty();
    while let [name, rest @ ..] = names {
        if name.is_empty() || name.len() > weir_stack::NAME_MAX || matches!(name.as_bytes(), b"na" | b"ls") {
            return false;
        }
        let mut bytes = name.as_bytes();
        while let [byte, behind @ ..] = bytes {
            if *byte == b'\n' {
                return false;
            }
            bytes = behind;
        }
        names = rest;
    }
    fit
}

/// Keeps names for good.
pub(crate) fn kept<N: AsRef<str>>(
    names: impl IntoIterator<Item = N>,
) -> Result<&'static [&'static str], NameError> {
    let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() {
        return Err(NameError::Missing);
    }
    if let Some(name) = names.iter().find(|name| !are_names(&[name])) {
        return Err(NameError::Impossible(name.clone()));
    }
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let list = names.into_iter().map(|name| kept.name(name)).collect();
    Ok(kept.list(list))
}

impl Kept {
    fn name(&mut self, name: String) -> &'static str {
        if let Some(same) = self.names.iter().find(|same| **same == name) {
            return same;
        }
        let name: &'static str = name.leak();
        self.names.push(name);
        name
    }

    fn list(&mut self, list: Vec<&'static str>) -> &'static [&'static str] {
        if let Some(same) = self.lists.iter().find(|same| **same == list) {
            return same;
        }
        let list: &'static [&'static str] = list.leak();
        self.lists.push(list);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_once() {
        let first = kept([String::from("/kept/2"), String::from("/kept/1")]).unwrap();
        let again = kept(["/kept/2", "/kept/1"]).unwrap();
        assert_eq!(first, ["/kept/2", "/kept/1"]);
        assert!(std::ptr::eq(first, again));
        let [other] = kept(["/kept/1"]).unwrap() else { panic!("one name") };
        assert!(std::ptr::eq(*other, first[1]));
    }

    #[test]
    fn what_no_peer_could_be_told_is_no_name() {
        let longest = "n".repeat(weir_stack::NAME_MAX);
        assert_eq!(kept([&longest]).unwrap(), [&longest]);
        for name in ["", "na", "ls", "/a\n", &format!("{longest}n")] {
            assert_eq!(kept(["/fine/1", name]), Err(NameError::Impossible(name.to_owned())));
        }
        assert_eq!(kept::<&str>([]), Err(NameError::Missing));
    }
}
