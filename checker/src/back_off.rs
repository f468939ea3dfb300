//! The delay between two attempts, as documented: `min(max, min·2^(n-1))` after `n` failures, or at least half of it
//! with jitter.
//!
//! Implemented here again, although the product computes the same: a mistake in its own formula would otherwise judge
//! itself.

use std::time::Duration;

use squidmesh_core::Retry;

/// Returns the shortest delay that a policy allows after this number of failures.
pub(super) fn shortest(retry: &Retry, failures: u32) -> Duration {
    let mut delay = retry.min();
    for _ in 1..failures {
        delay = delay.saturating_mul(2);
        if delay >= retry.max() || delay.is_zero() {
            break;
        }
    }
    let delay = delay.min(retry.max());
    if retry.has_jitter() { delay / 2 } else { delay }
}
