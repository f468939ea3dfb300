//! The dispatcher, called by a host.

use squidmesh_core::engine::{Limits, Moment, UnitOfWork};
use squidmesh_core::{
    CommitOutcome, CommitToken, DispatchError, DispatchEvent, DispatchOptions, EventKind, QueueName, RunDetails, RunId,
    RunStatus, StepName, StepState, Workflow, ms,
};

use super::{chain, done, nothing, workflow};
use crate::world::{states, step};
use crate::{Ground, Journal, Mood, World};

fn names<const N: usize>(steps: [&str; N]) -> Vec<StepName> {
    steps.iter().map(|step| StepName::new(step).unwrap()).collect()
}

/// One root; `late` and `later` wait for it.
fn fan(journal: &std::sync::Arc<Journal>) -> Workflow {
    workflow("fan")
        .step(journal.step("root", done))
        .step(journal.step("late", done).after(["root"]))
        .step(journal.step("later", done).after(["root"]))
        .build()
        .unwrap()
}

async fn started(ground: &Ground, journal: &std::sync::Arc<Journal>) -> (World, RunId) {
    let world = ground.world([fan(journal)]);
    let run = world.start_run("fan", &nothing()).await.unwrap();
    world.sink.take();
    (world, run.id)
}

fn dispatched(world: &World) -> Vec<String> {
    let events = world.sink.events();
    let jobs = events.iter().filter_map(|event| match &event.kind {
        EventKind::RunDispatched { metadata } => Some(metadata.job_id.clone()),
        _ => None,
    });
    jobs.map(|id| id.split('/').nth(1).unwrap_or("compensation").to_owned()).collect()
}

fn intents(details: &RunDetails) -> Vec<String> {
    let mut steps: Vec<_> = details.intents.iter().filter_map(|intent| intent.key.target.step()).collect();
    steps.sort();
    steps.into_iter().map(ToString::to_string).collect()
}

pub async fn targets_are_dispatched_once_and_in_order(ground: &Ground) {
    let journal = Journal::new();
    let (world, run) = started(ground, &journal).await;
    let options = DispatchOptions::new().schedule_pending();
    let metadata = world.dispatcher().dispatch_steps(run, &names(["later", "late", "later"]), &options).await.unwrap();
    let ids: Vec<_> = metadata.iter().map(|metadata| metadata.job_id.clone()).collect();
    assert_eq!(ids, [format!("{run}/later"), format!("{run}/late")]);
    assert_eq!(dispatched(&world), ["later", "late"], "one event for each, after the commit");
    assert_eq!(intents(&world.look(run).await), ["late", "later", "root"]);
}

pub async fn scheduling_twice_dispatches_once(ground: &Ground) {
    let journal = Journal::new();
    let (world, run) = started(ground, &journal).await;
    let options = DispatchOptions::new().schedule_pending();
    assert_eq!(world.dispatcher().dispatch_steps(run, &names(["late"]), &options).await.unwrap().len(), 1);
    assert_eq!(world.dispatcher().dispatch_steps(run, &names(["late"]), &options).await.unwrap().len(), 0);
    assert_eq!(dispatched(&world), ["late"]);
    world.settle(run).await;
    assert_eq!(journal.of("late").len(), 1);
}

pub async fn scheduling_at_once_from_many_places_dispatches_once(ground: &Ground) {
    let journal = Journal::new();
    let (world, run) = started(ground, &journal).await;
    let calls = (0..8).map(|_| {
        let dispatcher = world.dispatcher();
        tokio::spawn(async move {
            let options = DispatchOptions::new().schedule_pending();
            dispatcher.dispatch_steps(run, &names(["late", "later"]), &options).await.unwrap().len()
        })
    });
    let counts = futures_util::future::join_all(calls).await;
    assert_eq!(counts.into_iter().map(Result::unwrap).sum::<usize>(), 2);
    assert_eq!(dispatched(&world).len(), 2);
}

pub async fn an_unknown_step_fails_the_whole_call(ground: &Ground) {
    let journal = Journal::new();
    let (world, run) = started(ground, &journal).await;
    let before = world.look(run).await;
    let options = DispatchOptions::new().schedule_pending();
    let refused = world.dispatcher().dispatch_steps(run, &names(["late", "nowhere"]), &options).await;
    assert!(matches!(refused, Err(DispatchError::InvalidStep(Some(step))) if step.as_str() == "nowhere"));
    assert_eq!(world.look(run).await, before);
    assert!(world.sink.events().is_empty());
}

pub async fn no_targets_dispatch_nothing(ground: &Ground) {
    let journal = Journal::new();
    let (world, run) = started(ground, &journal).await;
    let options = DispatchOptions::new().schedule_pending();
    assert!(world.dispatcher().dispatch_steps(run, &[], &options).await.unwrap().is_empty());
    assert_eq!(intents(&world.look(run).await), ["root"]);
    assert!(world.sink.events().is_empty());
}

pub async fn a_delayed_dispatch_is_delivered_later(ground: &Ground) {
    let journal = Journal::new();
    let (world, run) = started(ground, &journal).await;
    let options = DispatchOptions::new().schedule_pending().schedule_in(ms(200));
    let metadata = world.dispatcher().dispatch_steps(run, &names(["late"]), &options).await.unwrap();
    assert_eq!(metadata[0].schedule_in, Some(ms(200)));
    let pending = step(&world.look(run).await, "late").run.as_ref().unwrap().created_at;
    let details = world.settle(run).await;
    assert!(step(&details, "late").attempts[0].started_at.since(pending) >= ms(200));
}

pub async fn a_transition_run_has_its_current_step_dispatched(ground: &Ground) {
    let journal = Journal::new();
    let world = ground.world([chain("chain", &journal, &["one", "two"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    world.sink.take();
    let metadata = world.dispatcher().dispatch_run(run.id, &DispatchOptions::new()).await.unwrap();
    assert_eq!(metadata[0].job_id, format!("{}/one", run.id));
    assert_eq!(dispatched(&world), ["one"]);
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["one", "two"], "dispatching again delivers nothing twice");
}

pub async fn runs_that_schedule_no_work_are_refused(ground: &Ground) {
    let journal = Journal::new();
    let (world, run) = started(ground, &journal).await;
    let dispatcher = world.dispatcher();
    let refused = dispatcher.dispatch_compensation(run).await;
    assert!(matches!(refused, Err(DispatchError::NotFailed { status: RunStatus::Pending, .. })), "{refused:?}");
    world.cancel_run(run).await.unwrap();
    let refused = dispatcher.dispatch_run(run, &DispatchOptions::new()).await;
    assert!(matches!(refused, Err(DispatchError::NotSchedulable { status: RunStatus::Cancelled, .. })), "{refused:?}");
    let unknown: RunId = "0190c5a2-7b3e-7cc1-8a55-6f0e5d3b2a10".parse().unwrap();
    let refused = dispatcher.dispatch_run(unknown, &DispatchOptions::new()).await;
    assert!(matches!(refused, Err(DispatchError::NotFound(id)) if id == unknown), "{refused:?}");
}

pub async fn a_refusal_rolls_everything_back(ground: &Ground) {
    let moods = [Mood::Refuses(QueueName::default()), Mood::Unavailable, Mood::Panics, Mood::AnswersForTooFew];
    for mood in moods {
        let journal = Journal::new();
        let (world, run) = started(ground, &journal).await;
        let before = world.look(run).await;
        world.executor.be(mood.clone());
        let options = DispatchOptions::new().schedule_pending();
        let refused = world.dispatcher().dispatch_steps(run, &names(["late", "later"]), &options).await;
        assert!(matches!(refused, Err(DispatchError::Refused(_))), "{mood:?}: {refused:?}");
        assert_eq!(world.look(run).await, before, "{mood:?}");
        assert!(world.sink.events().is_empty(), "{mood:?}");
        world.executor.be(Mood::Fine);
        assert_eq!(world.settle(run).await.run.status, RunStatus::Completed, "{mood:?}");
    }
}

pub async fn the_callers_unit_of_work_carries_a_dispatch(ground: &Ground) {
    let journal = Journal::new();
    let (world, run) = started(ground, &journal).await;
    let store = ground.store();
    let state = store.load(run).await.unwrap().unwrap();
    let definition = fan(&journal).definition().clone();
    let moment = Moment { now: state.run.updated_at, random: 0.0, token: CommitToken::from_uuid(uuid::Uuid::new_v4()) };
    let mut work = UnitOfWork::open(definition, state, moment, Limits::default());
    let options = DispatchOptions::new().schedule_pending();
    let dispatcher = world.dispatcher();
    let (metadata, events) = dispatcher.dispatch_steps_with_events(&mut work, &names(["late"]), &options).unwrap();
    let (_, more) = dispatcher.dispatch_steps_with_events(&mut work, &names(["later"]), &options).unwrap();
    assert_eq!((metadata.len(), events.len(), more.len()), (1, 1, 1));
    assert!(matches!(&events[0], DispatchEvent::RunDispatched { run: told, .. } if told.id == run));
    assert_eq!(intents(&world.look(run).await), ["root"], "nothing is stored before the caller commits");
    let decision = work.close();
    assert!(decision.events.is_empty(), "the events are the caller's to emit");
    let answers = store.commit(vec![decision.commit]).await.unwrap();
    assert!(matches!(answers[..], [Ok(CommitOutcome::Committed)]));
    assert_eq!(intents(&world.look(run).await), ["late", "later", "root"]);
    assert!(world.sink.events().is_empty());
}

pub async fn a_start_whose_first_step_is_refused_leaves_no_run(ground: &Ground) {
    for mood in [Mood::Refuses(QueueName::default()), Mood::Panics, Mood::AnswersForTooFew] {
        let journal = Journal::new();
        let world = ground.world([chain("chain", &journal, &["one"])]);
        world.executor.be(mood.clone());
        let refused = world.start_run("chain", &nothing()).await;
        assert!(matches!(refused, Err(squidmesh_core::StartError::Dispatch(DispatchError::Refused(_)))), "{mood:?}");
        let runs = world.list_runs(&squidmesh_core::RunFilter::new()).await.unwrap().runs;
        assert!(runs.is_empty() && world.sink.events().is_empty(), "{mood:?}");
    }
}

pub async fn a_refused_successor_fails_the_run_and_keeps_the_output(ground: &Ground) {
    let journal = Journal::new();
    let elsewhere = workflow("elsewhere")
        .step(journal.step("one", |_| Ok(serde_json::json!({"kept": 1}))))
        .step(journal.step("two", done).queue("nowhere"))
        .then("one", "two")
        .then("two", squidmesh_core::COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([elsewhere]);
    world.executor.be(Mood::Refuses(QueueName::new("nowhere").unwrap()));
    let run = world.start_run("elsewhere", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(states(&details), [StepState::Completed, StepState::Waiting]);
    assert_eq!(details.context.get("kept"), Some(&serde_json::json!(1)));
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.as_str(), error.step.as_ref().unwrap().as_str()), ("successor_refused", "two"));
    assert!(error.message.contains("there is no queue nowhere"), "{}", error.message);
}
