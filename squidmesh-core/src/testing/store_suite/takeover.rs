//! Expired leases: whose lease a claim takes over, and what extending one returns about its run.

use super::StoreFixture;
use super::setup::{LEASE, WHILE, apply, claim, claim_by, committed, extended, held, keys, request, started, state};
use crate::definition::ms;
use crate::port::{ClaimKeysRequest, ClaimResult, CommitOutcome, LeaseState, LeaseToken, Store, Takeover};
use crate::run::RunStatus;
use crate::testing::sample;

fn except(tokens: &[LeaseToken]) -> Takeover {
    Takeover::Except(tokens.to_vec())
}

async fn claim_one(
    store: &dyn Store,
    key: &crate::dispatch::IntentKey,
    token: u64,
    takeover: &Takeover,
) -> ClaimResult {
    let answers = store
        .claim_keys(
            &ClaimKeysRequest::new(vec![key.clone()], sample::lease_token(token), LEASE).takeover(takeover.clone()),
        )
        .await;
    answers.expect("the store can claim").remove(0)
}

pub async fn nobody_claims_what_it_executes_itself(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let runs = [started(&*store, 1).await, started(&*store, 2).await];
    let leases = [held(&*store, &runs[0], 1).await, held(&*store, &runs[1], 2).await];
    clock.advance(LEASE + ms(1));
    let fresh = started(&*store, 3).await;
    let own = except(&[sample::lease_token(1), sample::lease_token(9)]);
    let mine = claim_one(&*store, &leases[0].key, 3, &own).await;
    assert!(matches!(mine, ClaimResult::Held), "{mine:?}");
    let found = claim_by(&*store, &request(10, sample::lease_token(3)).takeover(own)).await;
    assert_eq!(keys(&found), [leases[1].key.clone(), sample::intent(&fresh, "first").key]);
    // Work that cannot be claimed is no reason to claim again at once.
    assert!(found.next_in.is_some_and(|wait| wait > WHILE), "{:?}", found.next_in);
    assert_eq!(extended(&*store, &leases, LEASE).await, [true, false]);
}

pub async fn expired_leases_can_be_left_alone(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    clock.advance(LEASE + ms(1));
    let fresh = started(&*store, 2).await;
    let alone = claim_one(&*store, &lease.key, 2, &Takeover::Nothing).await;
    assert!(matches!(alone, ClaimResult::Held), "{alone:?}");
    let found = claim_by(&*store, &request(10, sample::lease_token(2)).takeover(Takeover::Nothing)).await;
    assert_eq!(keys(&found), [sample::intent(&fresh, "first").key]);
    assert_eq!(found.next_in, None);
    let other = claim_one(&*store, &lease.key, 3, &except(&[sample::lease_token(2)])).await;
    assert!(matches!(other, ClaimResult::Claimed(_)), "{other:?}");
}

pub async fn unheld_work_is_claimed_beside_work_left_alone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let found = claim_one(&*store, &sample::intent(&run, "first").key, 1, &Takeover::Nothing).await;
    assert!(matches!(found, ClaimResult::Claimed(_)), "{found:?}");
}

pub async fn extending_returns_what_the_run_has_become(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let runs = [started(&*store, 1).await, started(&*store, 2).await];
    let leases = [held(&*store, &runs[0], 1).await, held(&*store, &runs[1], 2).await];
    for status in [RunStatus::Running, RunStatus::Cancelling] {
        let mut commit = sample::next(&state(&*store, runs[1].id).await.run);
        commit.run.status = status;
        assert_eq!(apply(&*store, commit).await, CommitOutcome::Committed);
        let lost = sample::lease(runs[0].id, "first", sample::lease_token(9));
        let asked = [leases[1].clone(), lost, leases[0].clone()];
        let states = store.extend_leases(&asked, LEASE).await.expect("the store can extend leases");
        let of_first = Some(runs[0].status);
        assert_eq!(states, [LeaseState::Held(Some(status)), LeaseState::Lost, LeaseState::Held(of_first)]);
    }
}

pub async fn extending_nothing_changes_nothing(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    assert_eq!(store.extend_leases(&[], LEASE * 10).await.expect("the store is there"), []);
    clock.advance(LEASE + ms(1));
    assert_eq!(keys(&claim(&*store, 10, 2).await), [lease.key]);
    committed(&*store, sample::next(&run)).await;
}
