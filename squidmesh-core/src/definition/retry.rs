//! How often a failed step is retried, and after what delay.
//!
//! Pure arithmetic: the random number for jitter is passed in, and nothing here waits.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration::{millis, whole_ms};

/// The retry policy of a step. The default is three attempts with exponential backoff from 500 ms to 30 s, so
/// that a step that failed once, or whose worker died, is retried without configuration.
///
/// ```
/// use squidmesh_core::{Retry, ms, secs};
///
/// let retry = Retry::exponential(5, ms(200)..secs(30)).jitter(true);
/// assert_eq!(retry.max_attempts(), 5);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    max_attempts: u32,
    #[serde(rename = "min_ms", with = "millis")]
    min: Duration,
    #[serde(rename = "max_ms", with = "millis")]
    max: Duration,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    jitter: bool,
}

impl Retry {
    /// Allows one attempt: the first failure is final.
    pub fn never() -> Self {
        Self { max_attempts: 1, min: Duration::ZERO, max: Duration::ZERO, jitter: false }
    }

    /// Allows `max_attempts` attempts in all, with exponential backoff: `backoff.start` after the first failure,
    /// then twice the previous delay, at most `backoff.end`. Delays have millisecond precision.
    ///
    /// Zero attempts, and a backoff that begins at zero or beyond its end, are refused when the workflow is built.
    pub fn exponential(max_attempts: u32, backoff: Range<Duration>) -> Self {
        Self { max_attempts, min: whole_ms(backoff.start), max: whole_ms(backoff.end), jitter: false }
    }

    /// Allows `max_attempts` attempts in all, with the same delay before each retry.
    pub fn fixed(max_attempts: u32, delay: Duration) -> Self {
        Self::exponential(max_attempts, delay..delay)
    }

    /// Sets whether each delay is drawn at random between half of it and the whole, so that steps that failed
    /// together are not retried together.
    pub fn jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the maximum number of attempts, the first included. At least 1 in a valid definition.
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// Returns the delay after the first failure.
    pub fn min(&self) -> Duration {
        self.min
    }

    /// Returns the maximum delay.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Returns whether delays are drawn at random.
    pub fn has_jitter(&self) -> bool {
        self.jitter
    }

    /// Returns the delay before the next attempt after `failures` failures (0 counts as 1):
    /// `min · 2^(failures-1)`, at most `max`. `random`, between 0 and 1, is used only with jitter and then
    /// chooses between half the delay and all of it.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        // Fifty doublings of a millisecond are 35,000 years: beyond every maximum, and far from overflowing.
        let doublings = failures.saturating_sub(1).min(50);
        let grown = self.min.as_millis().saturating_mul(1 << doublings);
        let whole = match u64::try_from(grown) {
            Ok(millis) => Duration::from_millis(millis).min(self.max),
            Err(_) => self.max,
        };
        if !self.jitter {
            return whole;
        }
        let share = if random.is_finite() { 0.5 + random.clamp(0.0, 1.0) / 2.0 } else { 1.0 };
        // Whole milliseconds in, whole milliseconds out; a float holds those of a hundred years exactly.
        let millis = (whole.as_millis().min(1 << 52) as f64 * share).round();
        Duration::from_millis(millis as u64)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::exponential(3, Duration::from_millis(500)..Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::{ms, secs};

    #[test]
    fn delays_double_up_to_the_maximum() {
        let retry = Retry::exponential(9, ms(200)..secs(1));
        let delays: Vec<_> = (0..6).map(|failures| retry.delay(failures, 0.3)).collect();
        assert_eq!(delays, [ms(200), ms(200), ms(400), ms(800), secs(1), secs(1)]);
    }

    #[test]
    fn a_fixed_delay_never_grows() {
        let retry = Retry::fixed(4, secs(2));
        assert_eq!((retry.delay(1, 0.0), retry.delay(40, 0.0)), (secs(2), secs(2)));
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let retry = Retry::exponential(u32::MAX, ms(1)..secs(3_600));
        for failures in [31, 32, 33, 64, 65, u32::MAX] {
            assert_eq!(retry.delay(failures, 0.0), secs(3_600), "{failures} failures");
        }
        assert_eq!(Retry::never().delay(u32::MAX, 1.0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn jitter_stays_between_half_and_the_whole(failures in 1_u32..80, random in 0.0_f64..=1.0) {
            let plain = Retry::exponential(80, ms(250)..secs(60));
            let whole = plain.delay(failures, random);
            let drawn = plain.jitter(true).delay(failures, random);
            prop_assert!(drawn >= whole / 2 && drawn <= whole, "{drawn:?} of {whole:?}");
        }

        #[test]
        fn a_delay_is_never_beyond_the_maximum(min in any::<u64>(), max in any::<u64>(), failures: u32, random: f64, jitter: bool) {
            let retry = Retry::exponential(3, ms(min)..ms(max)).jitter(jitter);
            prop_assert!(retry.delay(failures, random) <= ms(max));
        }
    }
}
