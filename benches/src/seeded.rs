//! Numbers that are the same in every run. Nothing secret may ever come from them.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use crate::SEED;

/// SplitMix64.
pub struct Seeded(u64);

impl Seeded {
    /// From the benchmarks' seed.
    pub const fn new() -> Self {
        Self(SEED)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Default for Seeded {
    fn default() -> Self {
        Self::new()
    }
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// So that sessions take it; the sessions that do are worth nothing.
impl TryCryptoRng for Seeded {}
