//! How a command fails: by the user's input (exit code 2) or by what happened (exit code 1).

use std::fmt::Display;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The input is at fault: what, and the remedy. Exit code 2.
    #[error("{0}")]
    Input(String),
    /// It ran and did not come out as it must. Exit code 1.
    #[error("{0}")]
    Run(String),
}

impl Failure {
    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Run(_) => 1,
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
