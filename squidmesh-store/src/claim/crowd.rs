//! Remembers for a while that work of other processes hides the work that a claim looks for.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of claims for which a crowd is expected to last.
const FOR: u32 = 100;

/// Whether a look at the front is likely to find nothing. This is a hint: claims find the same work either way.
#[derive(Debug, Default)]
pub(crate) struct Crowd(AtomicU32);

impl Crowd {
    /// Expects a crowd for the next claims.
    pub(super) fn expect(&self) {
        self.0.store(FOR, Ordering::Relaxed);
    }

    /// Returns whether to expect a crowd for this claim.
    pub(super) fn is_expected(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}
