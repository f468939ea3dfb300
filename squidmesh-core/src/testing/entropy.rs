//! Reproducible randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::port::Entropy;

/// The odd number nearest to 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Reproducible randomness: the same seed returns the same bits in the same order.
///
/// The generator is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
/// 2014). It is made for simulations; no secret may depend on it.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// Creates the generator for `seed`.
    pub const fn new(seed: u64) -> Self {
        SeededEntropy { state: AtomicU64::new(seed) }
    }

    /// Returns 64 bits, for tests that make their own choices.
    pub fn next_u64(&self) -> u64 {
        mix(self.state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA))
    }

    /// Returns a number in 0 ≤ x < `bound`; 0 if the bound is 0. The slight bias of the modulus does not matter to
    /// tests.
    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }
}

impl Entropy for SeededEntropy {
    fn bits(&self) -> u128 {
        // Both halves are drawn in one step, so that two threads never share a number.
        let state = self.state.fetch_add(GAMMA.wrapping_mul(2), Ordering::Relaxed);
        let high = mix(state.wrapping_add(GAMMA));
        let low = mix(state.wrapping_add(GAMMA.wrapping_mul(2)));
        u128::from(high) << 64 | u128::from(low)
    }
}

const fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_its_published_numbers() {
        // The first outputs of the reference implementation for the seed 1234567.
        let entropy = SeededEntropy::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| entropy.next_u64()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn the_same_seed_gives_the_same_bits() {
        let (one, other) = (SeededEntropy::new(7), SeededEntropy::new(7));
        let drawn: Vec<u128> = (0..100).map(|_| one.bits()).collect();
        assert_eq!(drawn, (0..100).map(|_| other.bits()).collect::<Vec<_>>());
        assert_ne!(drawn, (0..100).map(|_| one.bits()).collect::<Vec<_>>());
    }

    #[test]
    fn a_bounded_number_stays_below_its_bound() {
        let entropy = SeededEntropy::new(3);
        assert!((0..1_000).all(|_| entropy.below(6) < 6));
        assert_eq!(entropy.below(0), 0);
    }
}
