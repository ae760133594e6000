//! How a command fails: by the user's input (exit code 2), by what happened (1), or because it was told to stop (128 and the
//! signal's number).

use std::fmt::Display;

use weir::{ConnectError, DialProblem};

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
    /// No link came up, for this reason. Exit code 1.
    #[error("{text}")]
    Connect { text: String, reason: DialProblem },
    /// It was told to stop. Exit code 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP.
    #[error("stopped by {0}")]
    Stopped(Signal),
}

impl Failure {
    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Run(_) | Self::Connect { .. } => 1,
            Self::Stopped(signal) => signal.exit_code(),
        }
    }

    /// Why no link came up, where that is what failed.
    pub(crate) fn reason(&self) -> Option<DialProblem> {
        match self {
            Self::Connect { reason, .. } => Some(*reason),
            Self::Input(_) | Self::Run(_) | Self::Stopped(_) => None,
        }
    }

    /// The input is at fault.
    pub(crate) fn input(what: impl Display) -> Self {
        Self::Input(what.to_string())
    }

    /// A dial is, and `what` says so in words.
    pub(crate) fn connect(what: impl Display, error: &ConnectError) -> Self {
        match error {
            ConnectError::Failed(reason) => Self::Connect { text: what.to_string(), reason: *reason },
            _ => Self::run(what),
        }
    }

    /// The run is.
    pub(crate) fn run(what: impl Display) -> Self {
        Self::Run(what.to_string())
    }
}
