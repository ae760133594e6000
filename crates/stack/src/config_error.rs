//! Why a configuration is refused.

use weir_base::LimitError;

/// Why a configuration does not hold: the field, or what the program declared, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field, named by its path in [`Config`](crate::Config), or in what contains that.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A channel, or what the node says of itself.
    #[error(transparent)]
    Channels(weir_pull::ConfigError),
    /// A protocol that goes by name.
    #[error("protocols by name {0}")]
    Protocols(String),
}

impl ConfigError {
    /// The configuration that was checked is the field `name` of another.
    #[must_use]
    pub fn within(self, name: &str) -> Self {
        match self {
            Self::Limit(limit) => Self::Limit(limit.within(name)),
            other => other,
        }
    }
}

/// Limits that are fields here become fields.
impl From<weir_pull::ConfigError> for ConfigError {
    fn from(error: weir_pull::ConfigError) -> Self {
        match error {
            weir_pull::ConfigError::Control(limit) => Self::Limit(limit.within("control")),
            weir_pull::ConfigError::CallMemory { channel, least } => {
                let remedy = format!(
                    "must be at least {least} for `{channel}`; raise it, or lower the channel's largest answer"
                );
                Self::Limit(LimitError::new("calls.memory", remedy))
            }
            other => Self::Channels(other),
        }
    }
}
