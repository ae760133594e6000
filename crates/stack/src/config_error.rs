//! Why a configuration is refused.

/// A limit that does not hold; names the field and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Of links.
    #[error(transparent)]
    Link(#[from] weir_link::ConfigError),
    /// Of the network, a channel or control.
    #[error(transparent)]
    Pull(#[from] weir_pull::ConfigError),
    /// Of this crate.
    #[error("`{field}` {remedy}")]
    Field {
        /// The field, as in [`Config`](crate::Config).
        field: &'static str,
        /// What would hold.
        remedy: String,
    },
}
