//! Limits of a configuration that do not hold, named by the path at which the user wrote them.

use std::borrow::Cow;

/// A limit that does not hold: which field, and what would hold.
///
/// Who checks a configuration names its own fields. Who contains that configuration says where ([`within`](Self::within)), so that in
/// the end every field stands there by its whole path, those that the remedy names too.
///
/// ```
/// use weir_base::LimitError;
///
/// let error = LimitError::new("keep_alive", "must be below ").field("idle_timeout").within("quic").within("node");
/// assert_eq!(error.path(), "node.quic.keep_alive");
/// assert_eq!(error.to_string(), "`node.quic.keep_alive` must be below `node.quic.idle_timeout`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {}", self.path(), self.remedy())]
pub struct LimitError {
    place: String, // of every field, with a dot behind; empty where there is none
    field: &'static str,
    remedy: Vec<(Cow<'static, str>, Option<&'static str>)>, // texts, and the fields behind them
}

impl LimitError {
    /// This field does not hold. The remedy is the rest of a sentence that begins with it: "must be at least 1".
    pub fn new(field: &'static str, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { place: String::new(), field, remedy: vec![(remedy.into(), None)] }
    }

    /// The remedy goes on with the name of another field.
    #[must_use]
    pub fn field(mut self, name: &'static str) -> Self {
        self.remedy.push(("".into(), Some(name)));
        self
    }

    /// The remedy goes on with this text.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.remedy.push((text.into(), None));
        self
    }

    /// The configuration that was checked is the field `name` of another.
    #[must_use]
    pub fn within(mut self, name: &str) -> Self {
        self.place = format!("{name}.{}", self.place);
        self
    }

    /// The field that does not hold, as who checked it calls it.
    pub fn name(&self) -> &'static str {
        self.field
    }

    /// The field that does not hold, by its path.
    pub fn path(&self) -> String {
        format!("{}{}", self.place, self.field)
    }

    /// What would hold, without the field in front.
    pub fn remedy(&self) -> String {
        let name = |name: &str| format!("`{}{name}`", self.place);
        self.remedy
            .iter()
            .map(|(text, field)| text.to_string() + &field.map(name).unwrap_or_default())
            .collect()
    }
}
