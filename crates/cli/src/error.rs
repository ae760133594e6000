//! How a command fails: by the user's input (exit code 2), by what happened (1), or because it was told to stop (128 and the
//! signal's number).

use std::fmt::Display;

use crate::signals::Signal;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The input is at fault: what, and the remedy. Exit code 2.
    #[error("{0}")]
    Input(String),
    /// It ran and did not come out as it must. Exit code 1.
    #[error("{0}")]
    Run(String),
    /// It was told to stop. Exit code 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP.
    #[error("stopped by {0}")]
    Stopped(Signal),
}

impl Failure {
    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Run(_) => 1,
            Self::Stopped(signal) => signal.exit_code(),
        }
    }

    /// The input is at fault.
    pub(crate) fn input(what: impl Display) -> Self {
        Self::Input(what.to_string())
    }

    /// The run is.
    pub(crate) fn run(what: impl Display) -> Self {
        Self::Run(what.to_string())
    }
}
