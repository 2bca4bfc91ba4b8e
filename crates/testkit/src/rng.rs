//! Randomness that follows from a seed. One stream for what happens, one for each device's keys, so that a change in the
//! protocol's use of randomness does not change the story. For tests alone.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// SHA-256 in counter mode over seed and stream.
#[derive(Clone, Debug)]
pub struct TestRng {
    seed: u64,
    stream: u64,
    counter: u64,
}

impl TestRng {
    /// The beginning of a stream.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream, counter: 0 }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let Ok(number) = self.try_next_u64();
        ((u128::from(number) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// `true` so many times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// Any order of them.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            of.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let Ok(()) = self.try_fill_bytes(&mut bytes);
        bytes
    }

    /// 16 bytes, for an id.
    pub fn id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        let Ok(()) = self.try_fill_bytes(&mut id);
        id
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for block in out.chunks_mut(32) {
            let place = [self.seed, self.stream, self.counter].map(u64::to_be_bytes).concat();
            block.copy_from_slice(&Sha256::digest(place)[..block.len()]);
            self.counter += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}
