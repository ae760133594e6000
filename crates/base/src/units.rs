//! Durations and sizes as operators write them: `"250ms"`, `"10s"`, `"64KiB"`, or a plain number.
//!
//! For fields of configuration: `#[serde(with = "weir_base::units::duration")]`, `#[serde(with = "weir_base::units::size")]`.
//! A plain number is milliseconds, or bytes. What is written out is text in the largest unit that has no rest.

use std::fmt;

/// Units of time, in nanoseconds, the largest first.
const TIMES: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size, in bytes, the largest first.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Why a text is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    /// It does not begin with a number.
    #[error("must begin with a number without fraction or sign")]
    Number,
    /// The unit is unknown.
    #[error("has an unknown unit; known are {0}")]
    Unit(String),
    /// The number is too large.
    #[error("is too large")]
    TooLarge,
}

fn parse(text: &str, units: [(&str, u64); 7]) -> Result<u64, ParseUnitError> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.replace('_', "");
    if number.is_empty() {
        return Err(ParseUnitError::Number);
    }
    let unit = match unit.trim() {
        "m" => "min",
        "µs" => "us",
        other => other,
    };
    let unknown = || ParseUnitError::Unit(units.map(|(name, _)| name).join(", "));
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or_else(unknown)?;
    let number: u64 = number.parse().map_err(|_| ParseUnitError::TooLarge)?;
    number.checked_mul(*factor).ok_or(ParseUnitError::TooLarge)
}

/// In the largest unit that has no rest.
fn text(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    let whole = units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match whole {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => format!("{value}{zero}"),
    }
}

/// A [`Duration`](std::time::Duration) field: text, or a plain number of milliseconds.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    /// Writes the text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::text(crate::time::nanos(*duration), &super::TIMES, "s"))
    }

    /// Reads text or a number.
    ///
    /// # Errors
    /// Those of the deserializer, and what is wrong with the text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let millis = |number: u64| number.checked_mul(1_000_000);
        let visitor = super::Visitor {
            expected: "a duration, as \"250ms\" or \"10s\", or a number of milliseconds",
            plain: millis,
            units: super::TIMES,
        };
        deserializer.deserialize_any(visitor).map(Duration::from_nanos)
    }
}

/// A field of bytes, of any unsigned type: text, or a plain number.
pub mod size {
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    /// Writes the text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer, T: Copy + TryInto<u64>>(
        bytes: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let (bytes, binary) = ((*bytes).try_into().unwrap_or(u64::MAX), super::SIZES.get(..3));
        serializer.serialize_str(&super::text(bytes, binary.unwrap_or_default(), "B"))
    }

    /// Reads text or a number.
    ///
    /// # Errors
    /// Those of the deserializer, and what is wrong with the text.
    pub fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<T, D::Error> {
        let visitor = super::Visitor {
            expected: "a size, as \"64KiB\" or \"2MiB\", or a number of bytes",
            plain: Some,
            units: super::SIZES,
        };
        let bytes = deserializer.deserialize_any(visitor)?;
        T::try_from(bytes).map_err(|_| D::Error::custom(super::ParseUnitError::TooLarge))
    }
}

/// Reads and writes a type as its text.
macro_rules! serde_as_text {
    ($type:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

struct Visitor {
    expected: &'static str,
    plain: fn(u64) -> Option<u64>,
    units: [(&'static str, u64); 7],
}

impl serde::de::Visitor<'_> for Visitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u64, E> {
        (self.plain)(number).ok_or_else(|| E::custom(ParseUnitError::TooLarge))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text, self.units).map_err(|error| E::custom(format_args!("`{text}` {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse_duration(text: &str) -> Result<Duration, ParseUnitError> {
        parse(text, TIMES).map(Duration::from_nanos)
    }

    fn parse_size(text: &str) -> Result<u64, ParseUnitError> {
        parse(text, SIZES)
    }

    fn duration_text(duration: Duration) -> String {
        text(crate::time::nanos(duration), &TIMES, "s")
    }

    fn size_text(bytes: u64) -> String {
        text(bytes, &SIZES[..3], "B")
    }

    #[test]
    fn texts_and_values_match() {
        for (text, nanos) in [("250ms", 250_000_000), ("10s", 10_000_000_000), ("1d", 86_400_000_000_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)));
            assert_eq!(duration_text(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(duration_text(Duration::from_secs(120)), "2min");
        assert_eq!(duration_text(Duration::ZERO), "0s");
        assert_eq!(parse_duration(" 2 m "), Ok(Duration::from_secs(120)));
        for (text, bytes) in [("64KiB", 65_536), ("2MiB", 2_097_152), ("1452B", 1_452), ("0B", 0)] {
            assert_eq!(parse_size(text), Ok(bytes));
            assert_eq!(size_text(bytes), text);
        }
        assert_eq!(parse_size("1_000kB"), Ok(1_000_000));
    }

    #[test]
    fn what_is_no_duration_or_size_says_why() {
        assert_eq!(parse_duration("ten seconds"), Err(ParseUnitError::Number));
        assert_eq!(parse_duration("-1s"), Err(ParseUnitError::Number));
        assert_eq!(
            parse_duration("10").unwrap_err().to_string(),
            "has an unknown unit; known are d, h, min, s, ms, us, ns"
        );
        assert_eq!(parse_duration("9999999999d"), Err(ParseUnitError::TooLarge));
        assert_eq!(
            parse_size("64 kib").unwrap_err().to_string(),
            "has an unknown unit; known are GiB, MiB, KiB, GB, MB, kB, B"
        );
    }
}
