//! Claiming: the leases of claims are extended from then on, whether or not they are being delivered already.

use std::ops::Deref;
use std::time::Duration;

use super::shared::Runner;
use crate::dispatch::IntentKey;
use crate::event::IgnoreReason;
use crate::port::{Claim, ClaimKeysRequest, ClaimRequest, StoreError, Takeover};
use crate::runtime::{CachedRun, Held};

/// The claims of a runner.
#[derive(Debug)]
#[non_exhaustive]
pub struct HeldClaims {
    /// The claims, in the order in which they should be delivered.
    pub claims: Vec<HeldClaim>,
    /// If fewer than the limit were found: how long until there may be something to claim. `None` if nothing is
    /// scheduled.
    pub next_in: Option<Duration>,
}

/// A claim whose lease is extended as long as this value exists. [`deliver`](Runner::deliver) it, or
/// [`release`](Runner::release) it; once it is dropped, its lease expires.
pub struct HeldClaim {
    pub(super) claim: Claim,
    pub(super) held: Held,
    /// Keeps the run cached until it is delivered.
    pub(super) cached: CachedRun,
}

/// The claim as the store returned it.
impl Deref for HeldClaim {
    type Target = Claim;

    fn deref(&self) -> &Claim {
        &self.claim
    }
}

impl std::fmt::Debug for HeldClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HeldClaim").field(&self.claim).finish()
    }
}

impl Runner {
    /// Claims up to `limit` due intents of the served queues, for the workflows registered here. Deliver each claim,
    /// or [`release`](Runner::release) it.
    ///
    /// Never claims what this runtime executes, however long ago its leases expired. After an outage of the store,
    /// expired leases of other processes are left alone until those processes have had time to extend them.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was claimed, or the claims expire with their lease.
    pub async fn claim(&self, limit: usize) -> Result<HeldClaims, StoreError> {
        let runtime = &self.runtime;
        let noted = self.urgency.forget();
        let token = runtime.entropy.lease_token();
        let (takeover, spared_for) = self.takeover();
        let _claiming = runtime.leases.claiming(token);
        let fingerprints = runtime.registry.fingerprints();
        // Held until every claim is held: a run that ends meanwhile must not drop a snapshot that is needed next.
        let known = runtime.run_cache.cached();
        let request = ClaimRequest::new(self.queues.to_vec(), fingerprints, limit, token, runtime.config.lease)
            .cached_runs(known.iter().map(CachedRun::id).collect())
            .takeover(takeover);
        let claimed = runtime.store.claim(&request).await;
        if claimed.as_ref().map_or(true, |found| found.claims.len() >= limit) {
            self.urgency.restore(noted);
        }
        let found = claimed?;
        self.claimed(spared_for);
        // Leases that are left alone now may be taken over then, and nothing else wakes this process for them.
        let next_in = match spared_for {
            Some(wait) if found.claims.len() < limit => Some(found.next_in.map_or(wait, |next| next.min(wait))),
            _ => found.next_in,
        };
        Ok(HeldClaims { claims: found.claims.into_iter().map(|claim| self.hold(claim)).collect(), next_in })
    }

    /// Claims the given intents if they are due. Returns, per key and in order, the claim or the reason for none.
    pub(super) async fn try_claim_keys(
        &self,
        keys: &[IntentKey],
    ) -> Result<Vec<Result<HeldClaim, IgnoreReason>>, StoreError> {
        let runtime = &self.runtime;
        let token = runtime.entropy.lease_token();
        let (takeover, spared_for) = self.takeover();
        let _claiming = runtime.leases.claiming(token);
        let known = runtime.run_cache.cached();
        let request = ClaimKeysRequest::new(keys.to_vec(), token, runtime.config.lease)
            .cached_runs(known.iter().map(CachedRun::id).collect())
            .takeover(takeover);
        let answers = runtime.store.claim_keys(&request).await?;
        self.claimed(spared_for);
        Ok(answers.into_iter().map(|answer| Ok(self.hold(*answer.claimed()?))).collect())
    }

    /// Keeps the lease of a claim alive, and its run cached.
    fn hold(&self, claim: Claim) -> HeldClaim {
        let cached = self.runtime.run_cache.run(claim.lease.key.run_id);
        HeldClaim { held: self.runtime.leases.hold(&claim.lease, self.family), cached, claim }
    }

    /// Releases claims that were not delivered: they are due at once for any worker, without counting an attempt.
    ///
    /// # Errors
    /// [`StoreError`]: the claims expire with their lease instead.
    pub async fn release(&self, claims: Vec<HeldClaim>) -> Result<(), StoreError> {
        let leases: Vec<_> = claims.iter().map(|claim| claim.lease.clone()).collect();
        self.runtime.store.release_leases(&leases, Duration::ZERO).await?;
        self.runtime.store.notify_work();
        Ok(())
    }

    /// Returns whose expired leases may be taken over now; if none, also how long that lasts.
    fn takeover(&self) -> (Takeover, Option<Duration>) {
        let runtime = &self.runtime;
        match runtime.contact.spare(runtime.clock.now()) {
            Some(wait) => (Takeover::Nothing, Some(wait)),
            None => (Takeover::Except(runtime.leases.tokens()), None),
        }
    }

    fn claimed(&self, spared_for: Option<Duration>) {
        if spared_for.is_some() {
            self.runtime.contact.claimed_sparing(self.runtime.clock.now());
        }
    }
}
