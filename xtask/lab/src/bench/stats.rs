//! Order statistics of small samples.

/// A sorted sample.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Of these values, in any order.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that this share of the sample does not exceed (nearest rank); not a number for an empty sample.
    pub fn quantile(&self, share: f64) -> f64 {
        #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    #[test]
    fn nearest_rank() {
        let sample = Sample::new([4.0, 1.0, 3.0, 2.0]);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        close(sample.min(), 1.0);
        close(sample.quantile(0.25), 1.0);
        close(sample.quantile(0.5), 2.0);
        close(sample.quantile(0.99), 4.0);
        close(sample.max(), 4.0);
        assert!(Sample::default().min().is_nan());
    }
}
