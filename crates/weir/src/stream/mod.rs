//! Raw streams: the handle of the application, and the shared buffers below it.

mod blocking;
mod handle;
mod pipe;
#[cfg(test)]
mod tests;

pub use blocking::BlockingStream;
pub(crate) use handle::Fresh;
pub use handle::{RawReader, RawStream, RawWriter};
pub(crate) use pipe::{Drained, Ending, Pipe};
