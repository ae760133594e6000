//! Samples of one figure, and the ratio of two.

/// One figure of one side, a sample per round.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<f64>);

/// Median and range.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Summary {
    /// Median; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
}

impl Samples {
    /// Median and range; `None` without a sample.
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Summary { median: f64::midpoint(lower, upper), min, max })
    }

    /// This side's sample over the other's, round by round.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(mine, other)| mine / other).collect())
    }
}

/// The `percent`-th percentile of sorted values by nearest rank.
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Three significant digits, without an exponent; a dash where there is no number.
pub fn short(value: f64) -> String {
    if value.is_nan() {
        return "–".into();
    }
    let size = value.abs();
    if size >= 10_000.0 {
        let whole = format!("{value:.0}");
        let mut out = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index) % 3 == 0 {
                out.push(',');
            }
            out.push(digit);
        }
        out
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_two_in_the_middle() {
        let summary = Samples(vec![4.0, 1.0, 3.0, 2.0]).summary().unwrap();
        assert_eq!((summary.median, summary.min, summary.max), (2.5, 1.0, 4.0));
        assert!(Samples::default().summary().is_none());
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (50, 99));
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([0.123, 1.0, 12.34, 123.4].map(short), ["0.12", "1.00", "12.3", "123"]);
        assert_eq!([12_345.6, 1_234_567.0, f64::NAN].map(short), ["12,346", "1,234,567", "–"]);
    }
}
