//! An input read as a script: what a peer, the network and the application do to a machine, step by step.

/// What is left of the input. Behind its end all is zero.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The next step's kind; `None` at the end.
    pub(crate) fn step(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.step().unwrap_or(0)
    }

    /// The next two bytes as a number.
    pub(crate) fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// At most so many bytes as they are.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One of these, by the next byte; `None` where there are none.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let index = usize::from(self.byte()).checked_rem(of.len())?;
        of.get(index).copied()
    }
}
