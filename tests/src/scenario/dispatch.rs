//! The dispatcher, called by a host.

use squidmesh_core::command::{DispatchError, DispatchRefused};
use squidmesh_core::definition::{QueueName, StepName};
use squidmesh_core::dispatch::DispatchOptions;
use squidmesh_core::event::EventKind;
use squidmesh_core::inspect::{RunDetails, StepState};
use squidmesh_core::port::{Commit, CommitOutcome, CommitToken, IntentWrite, Precondition, StepWrite};
use squidmesh_core::testing::engine::{DecisionInputs, Limits, UnitOfWork};
use squidmesh_core::testing::sample;
use squidmesh_core::workflow::Compensation;
use squidmesh_core::{Run, RunId, RunStatus, StepContext, StepError, StepResult, Workflow, ms};

use super::{chain, done, nothing, workflow};
use crate::world::{states, step};
use crate::{Backend, Behavior, Journal, World};

fn names<const N: usize>(steps: [&str; N]) -> Vec<StepName> {
    steps.iter().map(|step| StepName::new(step).unwrap()).collect()
}

/// `late`, `later` and `root` may begin at once; `end` waits for them.
fn fan(journal: &std::sync::Arc<Journal>) -> Workflow {
    workflow("fan")
        .step(journal.step("root", done))
        .step(journal.step("late", done))
        .step(journal.step("later", done))
        .step(journal.step("end", done).after(["root", "late", "later"]))
        .build()
        .unwrap()
}

/// Dispatches the remaining root steps, and carries the run to its end.
async fn finished(world: &World, run: RunId) -> RunDetails {
    world.dispatcher().dispatch_run(run, &DispatchOptions::new()).await.unwrap();
    world.settle(run).await
}

/// Returns a run of which only `root` is scheduled, as a host may have stored it.
async fn started(backend: &Backend, journal: &std::sync::Arc<Journal>) -> (World, RunId) {
    let world = backend.world([fan(journal)]);
    let whole = world.start_run("fan", &nothing()).await.unwrap();
    let run = Run { id: RunId::from_uuid(uuid::Uuid::new_v4()), revision: 1, ..whole.clone() };
    world.cancel_run(whole.id).await.unwrap();
    let id = run.id;
    let mut commit = Commit::new(run, Precondition::Absent);
    commit.steps.push(StepWrite::Create(sample::step("root")));
    commit.intents.push(IntentWrite::Add(sample::intent(&commit.run, "root")));
    let answers = backend.store().commit(vec![commit]).await.unwrap();
    assert!(matches!(answers[..], [Ok(CommitOutcome::Committed)]), "{answers:?}");
    world.sink.take();
    world.executor.published();
    (world, id)
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

pub async fn targets_are_dispatched_once_and_in_order(backend: &Backend) {
    let journal = Journal::new();
    let (world, run) = started(backend, &journal).await;
    let options = DispatchOptions::new().schedule_pending();
    let metadata = world.dispatcher().dispatch_steps(run, &names(["later", "late", "later"]), &options).await.unwrap();
    let ids: Vec<_> = metadata.iter().map(|metadata| metadata.job_id.clone()).collect();
    assert_eq!(ids, [format!("{run}/later"), format!("{run}/late")]);
    assert_eq!(dispatched(&world), ["later", "late"], "one event for each, after the commit");
    assert_eq!(world.executor.published(), ["late", "later"], "and workers are woken once");
    assert_eq!(intents(&world.look(run).await), ["late", "later", "root"]);
}

pub async fn scheduling_twice_dispatches_once(backend: &Backend) {
    let journal = Journal::new();
    let (world, run) = started(backend, &journal).await;
    let options = DispatchOptions::new().schedule_pending();
    assert_eq!(world.dispatcher().dispatch_steps(run, &names(["late"]), &options).await.unwrap().len(), 1);
    assert_eq!(world.dispatcher().dispatch_steps(run, &names(["late"]), &options).await.unwrap().len(), 0);
    assert_eq!(dispatched(&world), ["late"]);
    finished(&world, run).await;
    assert_eq!(journal.of("late").len(), 1);
}

pub async fn scheduling_at_once_from_many_places_dispatches_once(backend: &Backend) {
    let journal = Journal::new();
    let (world, run) = started(backend, &journal).await;
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

pub async fn an_unknown_step_fails_the_whole_call(backend: &Backend) {
    let journal = Journal::new();
    let (world, run) = started(backend, &journal).await;
    let before = world.look(run).await;
    let options = DispatchOptions::new().schedule_pending();
    let refused = world.dispatcher().dispatch_steps(run, &names(["late", "nowhere"]), &options).await;
    assert!(
        matches!(refused, Err(DispatchError::Refused(DispatchRefused::InvalidStep(Some(step)))) if step.as_str() == "nowhere")
    );
    assert_eq!(world.look(run).await, before);
    assert!(world.sink.events().is_empty());
}

pub async fn no_targets_dispatch_nothing(backend: &Backend) {
    let journal = Journal::new();
    let (world, run) = started(backend, &journal).await;
    let options = DispatchOptions::new().schedule_pending();
    assert!(world.dispatcher().dispatch_steps(run, &[], &options).await.unwrap().is_empty());
    assert_eq!(intents(&world.look(run).await), ["root"]);
    assert!(world.sink.events().is_empty());
}

pub async fn a_delayed_dispatch_is_delivered_later(backend: &Backend) {
    let journal = Journal::new();
    let (world, run) = started(backend, &journal).await;
    let options = DispatchOptions::new().schedule_pending().schedule_in(ms(200));
    let metadata = world.dispatcher().dispatch_steps(run, &names(["late"]), &options).await.unwrap();
    assert_eq!(metadata[0].schedule_in, Some(ms(200)));
    let pending = step(&world.look(run).await, "late").run.as_ref().unwrap().created_at;
    let details = finished(&world, run).await;
    assert!(step(&details, "late").attempts[0].started_at.since(pending) >= ms(200));
}

pub async fn a_transition_run_has_its_current_step_dispatched(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    world.sink.take();
    let metadata = world.dispatcher().dispatch_run(run.id, &DispatchOptions::new()).await.unwrap();
    assert_eq!(metadata[0].job_id, format!("{}/one", run.id));
    assert_eq!(dispatched(&world), ["one"]);
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["one", "two"], "dispatching again delivers nothing twice");
}

pub async fn runs_that_schedule_no_work_are_refused(backend: &Backend) {
    let journal = Journal::new();
    let (world, run) = started(backend, &journal).await;
    let dispatcher = world.dispatcher();
    let refused = dispatcher.dispatch_compensation(run).await;
    assert!(
        matches!(refused, Err(DispatchError::Refused(DispatchRefused::NotFailed { status: RunStatus::Pending, .. }))),
        "{refused:?}"
    );
    world.cancel_run(run).await.unwrap();
    let refused = dispatcher.dispatch_run(run, &DispatchOptions::new()).await;
    assert!(
        matches!(
            refused,
            Err(DispatchError::Refused(DispatchRefused::NotSchedulable { status: RunStatus::Cancelled, .. }))
        ),
        "{refused:?}"
    );
    let unknown: RunId = "0190c5a2-7b3e-7cc1-8a55-6f0e5d3b2a10".parse().unwrap();
    let refused = dispatcher.dispatch_run(unknown, &DispatchOptions::new()).await;
    assert!(matches!(refused, Err(DispatchError::NotFound(found)) if found.run == unknown), "{refused:?}");
}

pub async fn a_refusal_rolls_everything_back(backend: &Backend) {
    let behaviors =
        [Behavior::Refuses(QueueName::default()), Behavior::Unavailable, Behavior::Panics, Behavior::AnswersForTooFew];
    for behavior in behaviors {
        let journal = Journal::new();
        let (world, run) = started(backend, &journal).await;
        let before = world.look(run).await;
        world.executor.behave(behavior.clone());
        let options = DispatchOptions::new().schedule_pending();
        let refused = world.dispatcher().dispatch_steps(run, &names(["late", "later"]), &options).await;
        assert!(
            matches!(refused, Err(DispatchError::Refused(DispatchRefused::ByExecutor(_)))),
            "{behavior:?}: {refused:?}"
        );
        assert_eq!(world.look(run).await, before, "{behavior:?}");
        assert!(world.sink.events().is_empty(), "{behavior:?}");
        world.executor.behave(Behavior::Fine);
        assert_eq!(finished(&world, run).await.run.status, RunStatus::Completed, "{behavior:?}");
    }
}

pub async fn the_callers_unit_of_work_carries_a_dispatch(backend: &Backend) {
    let journal = Journal::new();
    let (world, run) = started(backend, &journal).await;
    let store = backend.store();
    let state = store.load(run).await.unwrap().unwrap();
    let definition = fan(&journal).definition().clone();
    let moment =
        DecisionInputs { now: state.run.updated_at, random: 0.0, token: CommitToken::from_uuid(uuid::Uuid::new_v4()) };
    let mut work = UnitOfWork::open(definition, state, moment, Limits::default());
    let options = DispatchOptions::new().schedule_pending();
    let dispatcher = world.dispatcher();
    let (metadata, events) = dispatcher.dispatch_steps_with_events(&mut work, &names(["late"]), &options).unwrap();
    let (_, more) = dispatcher.dispatch_steps_with_events(&mut work, &names(["later"]), &options).unwrap();
    assert_eq!((metadata.len(), events.len(), more.len()), (1, 1, 1));
    assert!(events[0].run_id == run && matches!(events[0].kind, EventKind::RunDispatched { .. }));
    assert_eq!(intents(&world.look(run).await), ["root"], "nothing is stored before the caller commits");
    let decision = work.close();
    assert!(decision.events.is_empty(), "the events are the caller's to emit");
    let answers = store.commit(vec![decision.commit]).await.unwrap();
    assert!(matches!(answers[..], [Ok(CommitOutcome::Committed)]));
    assert_eq!(intents(&world.look(run).await), ["late", "later", "root"]);
    assert!(world.sink.events().is_empty() && world.executor.published().is_empty(), "nothing is emitted before");
    dispatcher.emit(events);
    dispatcher.emit(more);
    assert_eq!(dispatched(&world), ["late", "later"]);
    assert_eq!(world.executor.published(), ["late", "later"], "workers are woken, as by the plain form");
}

pub async fn a_start_whose_first_step_is_refused_leaves_no_run(backend: &Backend) {
    for behavior in [Behavior::Refuses(QueueName::default()), Behavior::Panics, Behavior::AnswersForTooFew] {
        let journal = Journal::new();
        let world = backend.world([chain("chain", &journal, &["one"])]);
        world.executor.behave(behavior.clone());
        let refused = world.start_run("chain", &nothing()).await;
        assert!(
            matches!(refused, Err(squidmesh_core::command::StartError::Refused(DispatchRefused::ByExecutor(_)))),
            "{behavior:?}"
        );
        let runs = world.list_runs(&squidmesh_core::RunFilter::new()).await.unwrap().runs;
        assert!(runs.is_empty() && world.sink.events().is_empty(), "{behavior:?}");
    }
}

pub async fn a_refused_successor_fails_the_run_and_keeps_the_output(backend: &Backend) {
    let journal = Journal::new();
    let elsewhere = workflow("elsewhere")
        .step(journal.step("one", |_| Ok(serde_json::json!({"kept": 1}))))
        .step(journal.step("two", done).queue("nowhere"))
        .then("one", "two")
        .then("two", squidmesh_core::COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([elsewhere]);
    world.executor.behave(Behavior::Refuses(QueueName::new("nowhere").unwrap()));
    let run = world.start_run("elsewhere", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(states(&details), [StepState::Completed, StepState::Waiting]);
    assert_eq!(details.context.get("kept"), Some(&serde_json::json!(1)));
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.as_str(), error.step.as_ref().unwrap().as_str()), ("successor_refused", "two"));
    assert!(error.message.contains("there is no queue nowhere"), "{}", error.message);
    assert_eq!(world.explain_run(run.id).await.unwrap().step, error.step, "the explanation names it too");
}

pub async fn of_several_successors_the_refused_one_is_named(backend: &Backend) {
    let journal = Journal::new();
    let spread = workflow("spread")
        .step(journal.step("root", done))
        .step(journal.step("fine", done).after(["root"]))
        .step(journal.step("lost", done).after(["root"]).queue("nowhere"))
        .step(journal.step("good", done).after(["root"]))
        .build()
        .unwrap();
    let world = backend.world([spread]);
    world.executor.behave(Behavior::Refuses(QueueName::new("nowhere").unwrap()));
    let run = world.start_run("spread", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.as_str(), error.step.as_ref().unwrap().as_str()), ("successor_refused", "lost"));
    assert_eq!(world.explain_run(run.id).await.unwrap().step, error.step);
    let states = [StepState::Completed, StepState::Waiting, StepState::Waiting, StepState::Waiting];
    assert_eq!(self::states(&details), states, "all of them or none");
}

pub async fn a_compensation_is_never_refused(backend: &Backend) {
    for behavior in [Behavior::Refuses(QueueName::default()), Behavior::Unavailable, Behavior::Panics] {
        let journal = Journal::new();
        let failing = workflow("failing")
            .step(journal.step("one", done).compensate(|_: Compensation, _: StepContext| async { StepResult::Ok(()) }))
            .step(journal.step("two", |_| Err(StepError::terminal("no"))))
            .then("one", "two")
            .then("two", squidmesh_core::COMPLETE)
            .build()
            .unwrap();
        let world = backend.world([failing]);
        let run = world.start_run("failing", &nothing()).await.unwrap();
        world.settle(run.id).await;
        world.executor.behave(behavior.clone());
        let metadata = world.dispatcher().dispatch_compensation(run.id).await.unwrap();
        assert_eq!(metadata[0].job_id, run.id.to_string(), "{behavior:?}");
        assert_eq!(world.look(run.id).await.intents.len(), 1, "{behavior:?}");
    }
}
