//! Stored definitions: stored once for each version, beside the runs that use it.

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::to_value;

use super::StoreFixture;
use super::setup::{apply, committed, started, together};
use crate::port::{CommitOutcome, StoreSession};
use crate::testing::sample;

pub async fn a_definition_that_no_run_uses_is_none(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    started(&*store, 1).await;
    assert!(store.definition(&sample::unknown_fingerprint()).await.unwrap().is_none());
}

pub async fn a_definition_reads_back_as_it_was(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let definition = sample::definition_of("größe 🦑", &["first", "zweiter Schritt", "O'Reilly"]);
    committed(&*store, sample::start_of(&definition, 1)).await;
    let stored = store.definition(definition.fingerprint()).await.unwrap().unwrap();
    assert_eq!(stored, *definition);
    assert_eq!(to_value(&stored).unwrap(), to_value(&*definition).unwrap());
}

pub async fn a_definition_may_be_stored_again(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for number in 0..5 {
        assert_eq!(apply(&*store, sample::start(number)).await, CommitOutcome::Committed);
    }
    let definition = sample::definition();
    assert_eq!(store.definition(definition.fingerprint()).await.unwrap().unwrap(), *definition);
}

pub async fn versions_of_a_workflow_are_kept_side_by_side(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let versions = [&["first"][..], &["first", "second"], &["first", "second", "third"]]
        .map(|steps| sample::definition_of(sample::WORKFLOW, steps));
    for (number, version) in versions.iter().enumerate() {
        committed(&*store, sample::start_of(version, number as u64)).await;
    }
    for version in &versions {
        let stored = store.definition(version.fingerprint()).await.unwrap().unwrap();
        assert_eq!(stored.steps().len(), version.steps().len());
    }
}

pub async fn a_commit_that_does_not_land_stores_no_definition(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    started(&*store, 1).await;
    let other = sample::definition_of("other", &["first"]);
    assert_eq!(apply(&*store, sample::start_of(&other, 1)).await, CommitOutcome::Conflict);
    assert!(store.definition(other.fingerprint()).await.unwrap().is_none());
}

pub async fn a_run_may_be_started_on_a_definition_that_is_stored_already(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    started(&*store, 1).await;
    let mut commit = sample::start(2);
    commit.definition = None;
    committed(&*store, commit).await;
}

pub async fn a_definition_stored_by_many_at_once_is_stored(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let definition = sample::definition_of("popular", &["first", "second"]);
    let starters = (0..8).map(|number| {
        let (store, commit) = (Arc::clone(&store), sample::start_of(&definition, number));
        async move { apply(&*store, commit).await }.boxed()
    });
    assert_eq!(together(fixture, starters).await, vec![CommitOutcome::Committed; 8]);
    assert_eq!(store.definition(definition.fingerprint()).await.unwrap().unwrap(), *definition);
}

pub async fn a_definition_of_a_thousand_steps_reads_back(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let names: Vec<String> =
        std::iter::once("first".to_owned()).chain((1..1_000).map(|n| format!("step-{n}"))).collect();
    let definition = sample::definition_of("large", &names.iter().map(String::as_str).collect::<Vec<_>>());
    committed(&*store, sample::start_of(&definition, 1)).await;
    let stored = store.definition(definition.fingerprint()).await.unwrap().unwrap();
    assert_eq!(to_value(&stored).unwrap(), to_value(&*definition).unwrap());
}
