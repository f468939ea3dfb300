//! The source of fresh ids and jitter, replaceable so that a simulation repeats exactly.

use uuid::Uuid;

use crate::id::RunId;
use crate::port::{CommitToken, LeaseToken};
use crate::time::Timestamp;

/// A source of random bits.
pub trait Entropy: Send + Sync + 'static {
    /// Returns 128 fresh random bits.
    fn bits(&self) -> u128;
}

/// The process's random numbers, seeded by the operating system in each thread. A process that calls `fork` without
/// `exec` may draw the same numbers as its child.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomEntropy;

impl Entropy for RandomEntropy {
    fn bits(&self) -> u128 {
        // A version 4 UUID fixes six bits; combining two fills the gaps of each.
        Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64)
    }
}

impl dyn Entropy {
    /// Returns a fresh run id, ordered by `now`.
    pub(crate) fn run_id(&self, now: Timestamp) -> RunId {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(self.bits().to_be_bytes()) {
            *to = from;
        }
        RunId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// Returns a fresh lease token.
    pub(crate) fn lease_token(&self) -> LeaseToken {
        LeaseToken::from_uuid(Uuid::from_u128(self.bits()))
    }

    /// Returns a fresh commit token.
    pub(crate) fn commit_token(&self) -> CommitToken {
        CommitToken::from_uuid(Uuid::from_u128(self.bits()))
    }

    /// Returns a number x with 0.0 ≤ x < 1.0.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub(crate) fn fraction(&self) -> f64 {
        (self.bits() >> 75) as f64 / (1_u64 << 53) as f64
    }
}
