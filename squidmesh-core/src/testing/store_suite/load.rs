//! Reading a run: whole commits only, during concurrent writes too.

use std::sync::Arc;

use futures_util::FutureExt;

use super::StoreFixture;
use super::setup::{apply_all, claim, committed, started, state, take_turns, together};
use crate::port::{RunFilter, StepWrite, StoreSession};
use crate::run::{RunSnapshot, RunSummary, StepRun, StepStatus};
use crate::testing::sample;

pub async fn a_run_is_read_as_it_was_committed_last(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    for attempt in 1..=4 {
        assert_eq!(state(&*store, run.id).await.run, run, "read before every commit, so that it could be remembered");
        let mut commit = sample::next(&run);
        commit.steps = vec![StepWrite::Update(StepRun { attempt, ..sample::step("first") })];
        run = committed(&*store, commit).await;
        let read = state(&*store, run.id).await;
        assert_eq!((&read.run, read.steps[&sample::step_name("first")].attempt), (&run, attempt));
        let page = store.list(&RunFilter::new()).await.unwrap();
        assert_eq!(page.runs, [RunSummary::from(&run)]);
    }
}

pub async fn a_reader_sees_whole_commits_only(fixture: &dyn StoreFixture) {
    const COMMITS: u32 = 60;
    const STEPS: usize = 20;
    let (store, _) = fixture.fresh().await;
    let names: Vec<String> = (0..STEPS).map(|number| format!("step-{number}")).collect();
    let mut start = sample::start(1);
    start.steps = names.iter().map(|name| StepWrite::Create(sample::step(name))).collect();
    let run = committed(&*store, start).await;

    let writer = {
        let (store, names, mut run) = (Arc::clone(&store), names.clone(), run.clone());
        async move {
            for _ in 0..COMMITS {
                let mut commit = sample::next(&run);
                let attempt = commit.run.revision as u32;
                commit.steps =
                    names.iter().map(|name| StepWrite::Update(StepRun { attempt, ..sample::step(name) })).collect();
                run = committed(&*store, commit).await;
                take_turns().await;
            }
        }
        .boxed()
    };
    let readers = (0..3).map(|_| {
        let (store, id) = (Arc::clone(&store), run.id);
        async move {
            loop {
                let state = state(&*store, id).await;
                assert_eq!(state.steps.len(), STEPS);
                let expected = if state.run.revision == 1 { 0 } else { state.run.revision as u32 };
                let torn = state.steps.values().find(|step| step.attempt != expected);
                assert!(torn.is_none(), "revision {} has {torn:?}", state.run.revision);
                if expected > COMMITS {
                    return;
                }
                take_turns().await;
            }
        }
        .boxed()
    });
    together(fixture, std::iter::once(writer).chain(readers)).await;
}

pub async fn who_loses_a_race_sees_what_the_winner_wrote(fixture: &dyn StoreFixture) {
    // Two siblings that finish at once: each decides again after a conflict, and the second then sees the first
    // completed.
    let (store, _) = fixture.fresh().await;
    for round in 0..25 {
        let mut start = sample::start(round);
        start.steps = vec![StepWrite::Create(sample::step("left")), StepWrite::Create(sample::step("right"))];
        let run = committed(&*store, start).await;
        let siblings = ["left", "right"].map(|name| {
            let (store, id) = (Arc::clone(&store), run.id);
            async move {
                loop {
                    let seen = state(&*store, id).await;
                    take_turns().await;
                    let mut commit = sample::next(&seen.run);
                    commit.run.token = sample::commit_token(round * 1_000 + seen.run.revision * 10 + name.len() as u64);
                    let step = StepRun { status: StepStatus::Completed, attempt: 1, ..sample::step(name) };
                    commit.steps.push(StepWrite::Update(step));
                    if super::setup::apply(&*store, commit).await == crate::port::CommitOutcome::Committed {
                        return seen.in_status(StepStatus::Completed).count();
                    }
                }
            }
            .boxed()
        });
        let mut completed_before = together(fixture, siblings).await;
        completed_before.sort_unstable();
        assert_eq!(completed_before, [0, 1], "exactly one of them is the last");
    }
}

pub async fn step_runs_belong_to_their_run_alone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut wide = sample::start(1);
    wide.steps.push(StepWrite::Create(sample::step("second")));
    let wide = committed(&*store, wide).await;
    let narrow = started(&*store, 2).await;
    assert_eq!(state(&*store, narrow.id).await, RunSnapshot::new(narrow, [sample::step("first")]));
    assert_eq!(state(&*store, wide.id).await.steps.len(), 2);
}

pub async fn a_run_without_step_runs_is_read(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::start(1);
    commit.steps.clear();
    commit.intents.clear();
    let run = committed(&*store, commit).await;
    assert_eq!(state(&*store, run.id).await, RunSnapshot::new(run, []));
}

pub async fn claims_of_many_runs_carry_each_its_own_state(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let starts = (0..100).map(|number| {
        let mut commit = sample::start(number);
        for step in 0..number % 5 {
            commit.steps.push(StepWrite::Create(sample::step(&format!("extra-{step}"))));
        }
        commit
    });
    apply_all(&*store, starts.collect()).await;
    let claims = claim(&*store, 100, 1).await.claims;
    assert_eq!(claims.len(), 100);
    for claim in claims {
        let seen = claim.state.unwrap().unwrap();
        assert_eq!(seen.run.id, claim.lease.key.run_id);
        assert_eq!(*seen, store.load(seen.run.id).await.unwrap().unwrap());
    }
}
