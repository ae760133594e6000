//! What a node says when it stops.

/// What came of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Links that delivered all they had, and were closed.
    pub closed: u32,
    /// Links that were lost meanwhile, or still had something to deliver at the deadline.
    pub unfinished: u32,
}
