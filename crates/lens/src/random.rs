//! Randomness that follows from a seed, the same on every machine.

use rand_core::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(Pcg64);

impl Random {
    /// One of the streams of a seed. Streams are independent, so that more draws in one change nothing in another.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed.rotate_left(32) ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Evenly from 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Exponential with this mean: the time until something that happens at a steady rate.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Log-normal by its median: most values are near it, few are far above.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        // Box and Muller's normal variate.
        let normal = (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        median * (sigma * normal).exp()
    }

    /// Pareto: at least `least`, with a heavy tail of exponent `alpha`.
    pub fn pareto(&mut self, least: f64, alpha: f64) -> f64 {
        least / (1.0 - self.unit()).powf(1.0 / alpha)
    }

    /// Any order of them.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            of.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// 16 bytes, for an id.
    pub fn id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        self.0.fill_bytes(&mut id);
        id
    }

    /// A random number of 32 bits.
    pub fn word(&mut self) -> u32 {
        self.0.next_u32()
    }
}

/// Draws with given weights.
#[derive(Clone, Debug, Default)]
pub struct Weighted {
    /// Sums of the weights up to and including each.
    sums: Vec<f64>,
}

impl Weighted {
    /// By weights, none of them negative.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let sums = weights.into_iter().map(|weight| {
            sum += weight;
            sum
        });
        Self { sums: sums.collect() }
    }

    /// A place; `None` when there is none.
    pub fn draw(&self, random: &mut Random) -> Option<usize> {
        let total = *self.sums.last()?;
        let at = random.unit() * total;
        Some(self.sums.partition_point(|sum| *sum <= at).min(self.sums.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_stream_and_streams_differ() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [(); 4].map(|()| random.word())
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert!(draw(1, 2) != draw(1, 3) && draw(1, 2) != draw(2, 2));
    }

    #[test]
    fn means_and_medians_are_what_they_say() {
        let mut random = Random::new(7, 0);
        let count = 100_000;
        let mean: f64 = (0..count).map(|_| random.exponential(5.0)).sum::<f64>() / f64::from(count);
        assert!((mean - 5.0).abs() < 0.1, "{mean}");
        let below = (0..count).filter(|_| random.log_normal(40.0, 1.2) < 40.0).count();
        assert!(below.abs_diff(50_000) < 1_000, "{below}");
        let weighted = Weighted::new([1.0, 0.0, 3.0]);
        let mut drawn = [0; 3];
        for _ in 0..count {
            drawn[weighted.draw(&mut random).unwrap()] += 1;
        }
        assert!(drawn[1] == 0 && (70_000..80_000).contains(&drawn[2]), "{drawn:?}");
        assert_eq!(Weighted::default().draw(&mut random), None);
    }
}
