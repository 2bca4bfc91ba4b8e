//! The same figure from several seeds: its middle, and how far it lies apart.

/// The least, the median and the greatest of some values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// Half of the values are at most this. Between the two in the middle, where their number is even.
    pub median: f64,
    /// The greatest.
    pub most: f64,
}

impl Spread {
    /// Of these values; `None` of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (one, other) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { least, median: (one + other) / 2.0, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_median_and_most() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[2.0]), Some(Spread { least: 2.0, median: 2.0, most: 2.0 }));
        assert_eq!(of(&[9.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, most: 9.0 }));
        assert_eq!(of(&[9.0, 1.0, 4.0, 2.0]), Some(Spread { least: 1.0, median: 3.0, most: 9.0 }));
    }
}
