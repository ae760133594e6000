//! Sets of machines.

/// Some of a node's machines, by number: control and at most 64 channels, so one word holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u128);

impl Marks {
    pub(super) fn insert(&mut self, index: u16) {
        self.0 |= bit(index);
    }

    pub(super) fn remove(&mut self, index: u16) {
        self.0 &= !bit(index);
    }

    pub(super) fn contains(self, index: u16) -> bool {
        self.0 & bit(index) != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Takes the one with the lowest number.
    pub(super) fn pop_first(&mut self) -> Option<u16> {
        let index = u16::try_from(self.0.trailing_zeros()).ok().filter(|_| !self.is_empty())?;
        self.remove(index);
        Some(index)
    }
}

fn bit(index: u16) -> u128 {
    1_u128.checked_shl(index.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_is_in_it_once_and_comes_out_lowest_first() {
        let mut marks = Marks::default();
        assert!(marks.is_empty() && marks.pop_first().is_none());
        for index in [64, 0, 3, 64] {
            marks.insert(index);
            assert!(marks.contains(index));
        }
        marks.remove(3);
        assert!(!marks.contains(3) && !marks.is_empty());
        assert_eq!((marks.pop_first(), marks.pop_first(), marks.pop_first()), (Some(0), Some(64), None));
    }
}
