//! Randomness that a seed decides.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A generator that several tasks may use.
#[derive(Debug)]
pub(crate) struct Rng(Mutex<u64>);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(Mutex::new(seed))
    }

    /// Creates a separate generator for one user, so that the draws of others do not change its own.
    pub(crate) fn of(seed: u64, whose: &str) -> Self {
        Rng::new(whose.bytes().fold(seed, |seed, byte| mixed(seed ^ u64::from(byte))))
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(STRIDE);
        mixed(*state) % bound.max(1)
    }

    /// Returns true once in `count` calls, on average.
    pub(crate) fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Returns a time around `mean`: from half of it to half as much again.
    pub(crate) fn around(&self, mean: Duration) -> Duration {
        let mean = u64::try_from(mean.as_millis()).unwrap_or(u64::MAX / 2);
        Duration::from_millis(mean / 2 + self.below(mean.max(1)))
    }
}

const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns a number that looks random and is always the same for the same input.
pub(crate) fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(STRIDE);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
