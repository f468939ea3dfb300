//! Listing runs: filters, and pages that stay correct while runs are added.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::StoreFixture;
use super::setup::{apply_all, committed, started, take_turns};
use crate::definition::ms;
use crate::id::RunId;
use crate::port::{RunFilter, Store, StoreSession};
use crate::run::{Failure, RunStatus, RunSummary};
use crate::testing::sample;

pub async fn runs_are_listed_newest_first(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for number in [2, 5, 1, 4, 3] {
        started(&*store, number).await;
    }
    assert_eq!(listed(&*store, RunFilter::new()).await, ids([5, 4, 3, 2, 1]));
}

pub async fn an_empty_store_lists_an_empty_page(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let page = store.list(&RunFilter::new()).await.unwrap();
    assert_eq!((page.runs, page.next), (Vec::new(), None));
}

pub async fn a_listed_run_is_its_summary(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::next(&started(&*store, 1).await);
    commit.run.status = RunStatus::Failed;
    commit.run.current_step = None;
    let failure = Failure { details: Some(json!({ "code": 51 })), ..Failure::new("odd", "it went wrong ".repeat(100)) };
    commit.run.last_error = Some(failure.at(&sample::step_name("first")));
    commit.run.finished_at = Some(sample::STARTED);
    let run = committed(&*store, commit).await;
    assert_eq!(store.list(&RunFilter::new()).await.unwrap().runs, [RunSummary::from(&run)]);

    // A failure that is taken back is not listed any more.
    let mut commit = sample::next(&run);
    commit.run.last_error = None;
    let run = committed(&*store, commit).await;
    assert_eq!(store.list(&RunFilter::new()).await.unwrap().runs, [RunSummary::from(&run)]);
}

pub async fn a_run_is_listed_while_others_start(fixture: &dyn StoreFixture) {
    const ROUNDS: u64 = 30;
    const STARTS: u64 = 40;
    let (store, _) = fixture.fresh().await;
    for round in 0..ROUNDS {
        let numbers = round * (STARTS + 1)..(round + 1) * (STARTS + 1);
        let mut paused = sample::start(numbers.start);
        paused.run.status = RunStatus::Paused;
        let paused = committed(&*store, paused).await;
        let (starting, ended) = (Arc::clone(&store), Arc::new(AtomicBool::new(false)));
        let done = Arc::clone(&ended);
        let starts = fixture.spawn(Box::pin(async move {
            for number in numbers.skip(1) {
                committed(&*starting, sample::start(number)).await;
                take_turns().await;
            }
            done.store(true, Ordering::SeqCst);
        }));
        let lists = async {
            while !ended.load(Ordering::SeqCst) {
                let page = store.list(&RunFilter::new().status(RunStatus::Paused).limit(1)).await.unwrap();
                assert_eq!(page.runs.iter().map(|run| run.id).collect::<Vec<_>>(), [paused.id], "round {round}");
                take_turns().await;
            }
        };
        futures_util::future::join(starts, lists).await;
    }
}

pub async fn runs_are_listed_by_workflow(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let other = sample::definition_of("other", &["first"]);
    apply_all(&*store, vec![sample::start(1), sample::start_of(&other, 2), sample::start(3)]).await;
    assert_eq!(listed(&*store, RunFilter::new().workflow(sample::workflow("other"))).await, ids([2]));
    assert_eq!(listed(&*store, RunFilter::new().workflow(sample::workflow(sample::WORKFLOW))).await, ids([3, 1]));
    assert_eq!(listed(&*store, RunFilter::new().workflow(sample::workflow("nobody"))).await, []);
}

pub async fn runs_are_listed_by_status(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for (number, status) in RunStatus::ALL.into_iter().enumerate() {
        let mut commit = sample::start(number as u64);
        commit.run.status = status;
        committed(&*store, commit).await;
    }
    for (number, status) in RunStatus::ALL.into_iter().enumerate() {
        assert_eq!(listed(&*store, RunFilter::new().status(status)).await, ids([number as u64]), "{status:?}");
    }
    let ended = RunFilter::new().status(RunStatus::Failed).status(RunStatus::Completed);
    assert_eq!(listed(&*store, ended).await, ids([5, 4]));
}

pub async fn a_run_is_listed_under_its_latest_status(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::next(&started(&*store, 1).await);
    commit.run.status = RunStatus::Running;
    committed(&*store, commit).await;
    assert_eq!(listed(&*store, RunFilter::new().status(RunStatus::Pending)).await, []);
    assert_eq!(listed(&*store, RunFilter::new().status(RunStatus::Running)).await, ids([1]));
}

pub async fn runs_are_listed_by_the_time_they_were_started(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..10).map(sample::start).collect()).await;
    let at = |number| sample::STARTED.after(ms(number));
    assert_eq!(listed(&*store, RunFilter::new().created_between(at(3), at(6))).await, ids([5, 4, 3]), "half-open");
    assert_eq!(listed(&*store, RunFilter::new().created_between(at(6), at(6))).await, []);
    let mut open = RunFilter::new();
    open.created_from = Some(at(8));
    assert_eq!(listed(&*store, open).await, ids([9, 8]));
    let mut open = RunFilter::new();
    open.created_before = Some(at(2));
    assert_eq!(listed(&*store, open).await, ids([1, 0]));
}

pub async fn filters_are_joined(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let other = sample::definition_of("other", &["first"]);
    let starts = (0..20).map(|number| {
        let mut commit = if number % 2 == 0 { sample::start(number) } else { sample::start_of(&other, number) };
        if number % 3 == 0 {
            commit.run.status = RunStatus::Running;
        }
        commit
    });
    apply_all(&*store, starts.collect()).await;
    let filter = RunFilter::new()
        .workflow(sample::workflow("other"))
        .status(RunStatus::Running)
        .created_between(sample::STARTED.after(ms(4)), sample::STARTED.after(ms(20)));
    assert_eq!(listed(&*store, filter.clone()).await, ids([15, 9]));
    assert_eq!(listed(&*store, filter.after(sample::run_id(15)).limit(1)).await, ids([9]));
}

pub async fn pages_show_every_run_once(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..25).map(sample::start).collect()).await;
    for size in [1, 4, 5, 24, 25, 26] {
        assert_eq!(
            paged(&*store, size).await,
            (0..25).rev().map(sample::run_id).collect::<Vec<_>>(),
            "pages of {size}"
        );
    }
}

pub async fn the_last_page_says_that_it_is_the_last(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..6).map(sample::start).collect()).await;
    let page = store.list(&RunFilter::new().limit(3)).await.unwrap();
    assert_eq!(page.next, Some(sample::run_id(3)));
    let page = store.list(&RunFilter::new().limit(3).after(sample::run_id(3))).await.unwrap();
    assert_eq!((page.runs.len(), page.next), (3, None));
    let beyond = store.list(&RunFilter::new().after(sample::run_id(0))).await.unwrap();
    assert_eq!((beyond.runs.len(), beyond.next), (0, None));
}

pub async fn runs_started_meanwhile_do_not_disturb_the_pages(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..6).map(sample::start).collect()).await;
    let first = store.list(&RunFilter::new().limit(3)).await.unwrap();
    apply_all(&*store, (6..12).map(sample::start).collect()).await;
    let second = store.list(&RunFilter::new().limit(3).after(first.next.unwrap())).await.unwrap();
    assert_eq!(second.runs.iter().map(|run| run.id).collect::<Vec<_>>(), ids([2, 1, 0]));
}

pub async fn a_page_has_fifty_runs_by_default_and_at_most_a_thousand(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..1_001).map(sample::start).collect()).await;
    for (limit, size) in [(0, 50), (60, 60), (1_000, 1_000), (5_000, 1_000), (usize::MAX, 1_000)] {
        let page = store.list(&RunFilter::new().limit(limit)).await.unwrap();
        assert_eq!((page.runs.len(), page.next.is_some()), (size, true), "limit {limit}");
    }
}

async fn listed(store: &dyn Store, filter: RunFilter) -> Vec<RunId> {
    let page = store.list(&filter).await.unwrap();
    page.runs.iter().map(|run| run.id).collect()
}

/// Returns the ids on all pages of this size.
async fn paged(store: &dyn Store, size: usize) -> Vec<RunId> {
    let mut ids = Vec::new();
    let mut filter = RunFilter::new().limit(size);
    loop {
        let page = store.list(&filter).await.unwrap();
        assert!(page.runs.len() <= size);
        ids.extend(page.runs.iter().map(|run| run.id));
        match page.next {
            Some(next) => filter = filter.after(next),
            None => return ids,
        }
        assert!(ids.len() <= 100, "the pages end");
    }
}

fn ids<const N: usize>(numbers: [u64; N]) -> [RunId; N] {
    numbers.map(sample::run_id)
}
