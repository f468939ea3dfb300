//! Every entry point of the dispatcher × every state of a run × every shape: what is dispatched, or which error is
//! returned, as in SPEC 5; and a refusal changes nothing and notifies no worker.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use squidmesh_core::command::{DispatchError, DispatchRefused};
use squidmesh_core::definition::{Shape, StepName};
use squidmesh_core::dispatch::{DispatchOptions, JobMetadata};
use squidmesh_core::event::EventKind;
use squidmesh_core::inspect::{RunDetails, StepState};
use squidmesh_core::port::{Commit, CommitOutcome, IntentWrite, Precondition, StepWrite};
use squidmesh_core::run::StepStatus;
use squidmesh_core::testing::sample;
use squidmesh_core::{Run, RunId, RunStatus, ms};

use super::{chain, done, nothing, workflow};
use crate::{Backend, Journal, World};

/// The state of a run: its shape, its status, its current step, and the statuses of its steps.
#[derive(Clone, Debug)]
struct Stand {
    shape: Shape,
    status: RunStatus,
    current: Option<&'static str>,
    steps: Vec<(&'static str, StepStatus)>,
}

/// One call of the dispatcher.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Run,
    Steps { targets: &'static [&'static str], schedule_pending: bool },
    Compensation,
}

/// The expected result.
#[derive(Clone, Debug, PartialEq)]
enum Expectation {
    Dispatched(Vec<&'static str>),
    NotSchedulable,
    NotFailed,
    InvalidStep(Option<&'static str>),
    NotRunnable(&'static str),
}

impl Stand {
    fn status_of(&self, step: &str) -> Option<StepStatus> {
        self.steps.iter().find(|(name, _)| *name == step).map(|(_, status)| *status)
    }

    fn expected(&self, entry: Entry) -> Expectation {
        match entry {
            Entry::Compensation if self.status == RunStatus::Failed => Expectation::Dispatched(vec!["compensation"]),
            Entry::Compensation => Expectation::NotFailed,
            Entry::Steps { targets, schedule_pending } => self.expected_steps(targets, schedule_pending),
            Entry::Run => match (self.current, self.shape) {
                (Some(current), _) => self.expected_steps(&[current], false),
                (None, Shape::Transitions) => Expectation::InvalidStep(None),
                (None, Shape::Dependencies) if !schedules(self.status) => Expectation::NotSchedulable,
                (None, Shape::Dependencies) => {
                    let entries = ["left", "right"].into_iter().filter(|step| self.status_of(step).is_none());
                    Expectation::Dispatched(entries.collect())
                }
            },
        }
    }

    fn expected_steps(&self, targets: &[&'static str], schedule_pending: bool) -> Expectation {
        if targets.is_empty() {
            return Expectation::Dispatched(Vec::new());
        }
        if !schedules(self.status) {
            return Expectation::NotSchedulable;
        }
        if let Some(unknown) = targets.iter().find(|step| **step == "nowhere") {
            return Expectation::InvalidStep(Some(unknown));
        }
        if let Some(step) = targets.iter().find(|step| !self.can_run(step, schedule_pending)) {
            return Expectation::NotRunnable(step);
        }
        let mut dispatched: Vec<&'static str> = Vec::new();
        for step in targets {
            let exists = schedule_pending && self.status_of(step).is_some();
            if !exists && !dispatched.contains(step) {
                dispatched.push(step);
            }
        }
        Expectation::Dispatched(dispatched)
    }

    fn can_run(&self, step: &str, schedule_pending: bool) -> bool {
        let turn = match self.shape {
            Shape::Transitions => self.current == Some(step),
            Shape::Dependencies => {
                step != "join"
                    || ["left", "right"].iter().all(|root| self.status_of(root) == Some(StepStatus::Completed))
            }
        };
        let open = match self.status_of(step) {
            None | Some(StepStatus::Pending) => true,
            Some(StepStatus::Completed) => !schedule_pending,
            Some(_) => false,
        };
        turn && open
    }
}

fn schedules(status: RunStatus) -> bool {
    matches!(status, RunStatus::Pending | RunStatus::Running | RunStatus::Retrying)
}

fn stands() -> Vec<Stand> {
    let mut stands = Vec::new();
    for status in RunStatus::ALL {
        let line = |current, steps| Stand { shape: Shape::Transitions, status, current, steps };
        let join = |steps| Stand { shape: Shape::Dependencies, status, current: None, steps };
        stands.push(line(None, vec![("first", StepStatus::Completed)]));
        stands.push(line(Some("first"), vec![]));
        stands.push(line(Some("second"), vec![("first", StepStatus::Completed)]));
        stands.push(join(vec![]));
        stands.push(join(vec![("left", StepStatus::Completed), ("right", StepStatus::Completed)]));
        // Statuses of steps need not vary where no step is checked.
        for of in StepStatus::ALL.into_iter().filter(|_| schedules(status)) {
            stands.push(line(Some("first"), vec![("first", of)]));
            stands.push(join(vec![("left", StepStatus::Completed), ("right", of)]));
            stands.push(join(vec![("left", StepStatus::Completed), ("right", StepStatus::Completed), ("join", of)]));
        }
    }
    stands
}

fn entries(shape: Shape) -> Vec<Entry> {
    let targets: &[&[&str]] = match shape {
        Shape::Transitions => &[&[], &["first"], &["second"], &["first", "first"], &["second", "nowhere"]],
        Shape::Dependencies => {
            &[&[], &["left"], &["join"], &["right", "left", "right"], &["left", "join"], &["join", "nowhere"]]
        }
    };
    let steps = targets
        .iter()
        .flat_map(|targets| [false, true].map(|schedule_pending| Entry::Steps { targets, schedule_pending }));
    [Entry::Run, Entry::Compensation].into_iter().chain(steps).collect()
}

/// The templates from which runs are planted: one run of each shape that the runtime has started.
struct Field {
    line: Run,
    join: Run,
}

impl Field {
    async fn plant(&self, backend: &Backend, stand: &Stand) -> RunId {
        let like = match stand.shape {
            Shape::Transitions => &self.line,
            Shape::Dependencies => &self.join,
        };
        let run = Run {
            id: RunId::from_uuid(uuid::Uuid::new_v4()),
            revision: 1,
            status: stand.status,
            current_step: stand.current.map(sample::step_name),
            ..like.clone()
        };
        let id = run.id;
        let mut commit = Commit::new(run, Precondition::Absent);
        for (place, (name, status)) in (1..).zip(&stand.steps) {
            let mut step = sample::step(name);
            step.status = *status;
            if *status != StepStatus::Pending {
                (step.attempt, step.started_at, step.attempt_started_at) =
                    (1, Some(sample::STARTED), Some(sample::STARTED));
            }
            let mut intent = sample::intent(&commit.run, name);
            match status {
                StepStatus::Pending => commit.intents.push(IntentWrite::Add(intent)),
                StepStatus::Running => {
                    step.lease = Some(sample::lease_token(place));
                    (intent.lease, intent.delay) = (step.lease, Duration::from_secs(3_600));
                    commit.intents.push(IntentWrite::Add(intent));
                }
                StepStatus::Completed => {
                    (step.output, step.sequence) = (Some(sample::object(json!({}))), Some(place));
                    step.finished_at = Some(sample::STARTED);
                }
                _ => step.finished_at = Some(sample::STARTED),
            }
            commit.steps.push(StepWrite::Create(step));
        }
        let answers = backend.store().commit(vec![commit]).await.unwrap();
        assert!(matches!(answers[..], [Ok(CommitOutcome::Committed)]), "{answers:?}");
        id
    }
}

/// Calls an entry point, plainly or in the caller's own unit of work.
async fn call(
    world: &World,
    backend: &Backend,
    run: RunId,
    entry: Entry,
    delay: Option<Duration>,
    plainly: bool,
) -> Result<Vec<JobMetadata>, DispatchError> {
    let (dispatcher, mut options) = (world.dispatcher(), DispatchOptions::new());
    options.schedule_in = delay;
    let targets: Vec<StepName> = match entry {
        Entry::Steps { targets, schedule_pending } => {
            options.schedule_pending = schedule_pending;
            targets.iter().map(|step| sample::step_name(step)).collect()
        }
        Entry::Run | Entry::Compensation => Vec::new(),
    };
    if plainly {
        return match entry {
            Entry::Run => dispatcher.dispatch_run(run, &options).await,
            Entry::Steps { .. } => dispatcher.dispatch_steps(run, &targets, &options).await,
            Entry::Compensation => dispatcher.dispatch_compensation(run).await,
        };
    }
    let store = backend.store();
    let mut work = dispatcher.open(&*store, run).await?;
    let (metadata, events) = match entry {
        Entry::Run => dispatcher.dispatch_run_with_events(&mut work, &options)?,
        Entry::Steps { .. } => dispatcher.dispatch_steps_with_events(&mut work, &targets, &options)?,
        Entry::Compensation => dispatcher.dispatch_compensation_with_events(&mut work)?,
    };
    if work.is_changed() {
        let answers = store.commit(vec![work.close().commit]).await?;
        assert!(matches!(answers[..], [Ok(CommitOutcome::Committed)]), "{answers:?}");
    }
    dispatcher.emit(events);
    Ok(metadata)
}

fn came_to(answer: &Result<Vec<JobMetadata>, DispatchError>, all: &[&'static str]) -> Expectation {
    let known = |step: &StepName| all.iter().find(|name| **name == step.as_str()).copied().unwrap();
    match answer {
        Ok(metadata) => {
            let last = |id: &str| id.split_once('/').map_or("compensation".to_owned(), |(_, step)| step.to_owned());
            let steps = metadata.iter().map(|job| last(&job.job_id));
            Expectation::Dispatched(steps.map(|step| known(&sample::step_name(&step))).collect())
        }
        Err(DispatchError::Refused(DispatchRefused::NotSchedulable { .. })) => Expectation::NotSchedulable,
        Err(DispatchError::Refused(DispatchRefused::NotFailed { .. })) => Expectation::NotFailed,
        Err(DispatchError::Refused(DispatchRefused::InvalidStep(step))) => {
            Expectation::InvalidStep(step.as_ref().map(known))
        }
        Err(DispatchError::Refused(DispatchRefused::NotRunnable { step, .. })) => Expectation::NotRunnable(known(step)),
        Err(other) => panic!("{other}"),
    }
}

const NAMES: [&str; 7] = ["first", "second", "left", "right", "join", "nowhere", "compensation"];

/// Checks the effects of a call: a refusal has none; a dispatch leaves intents, step runs where it creates them, and
/// events and notifications.
fn check(
    case: &str,
    world: &World,
    (before, after): (&RunDetails, &RunDetails),
    expected: &Expectation,
    (entry, delay): (Entry, Option<Duration>),
    answer: &[JobMetadata],
) {
    let Expectation::Dispatched(dispatched) = expected else {
        assert_eq!(after, before, "{case}");
        assert!(world.sink.take().is_empty() && world.executor.published().is_empty(), "{case}");
        return;
    };
    let mut published = world.executor.published();
    published.sort();
    let mut sorted = dispatched.clone();
    sorted.sort();
    assert_eq!(published, sorted, "{case}");
    let events = world.sink.take();
    let metadata = events.iter().map(|event| match &event.kind {
        EventKind::RunDispatched { metadata } => metadata.clone(),
        other => panic!("{case}: {other:?}"),
    });
    assert_eq!(metadata.collect::<Vec<_>>(), answer, "one event for each target: {case}");
    let creates = match entry {
        Entry::Steps { schedule_pending, .. } => schedule_pending,
        Entry::Run => after.run.current_step.is_none(),
        Entry::Compensation => false,
    };
    for step in dispatched {
        let is_there = |details: &RunDetails| {
            let of = |intent: &&squidmesh_core::port::IntentRecord| {
                intent.key.target.step().map_or("compensation", |step| step.as_str()) == *step
            };
            details.intents.iter().find(of).cloned()
        };
        let intent = is_there(after).unwrap_or_else(|| panic!("{step} has an intent: {case}"));
        if let (Some(delay), None, Entry::Run | Entry::Steps { .. }) = (delay, is_there(before), entry) {
            assert!(intent.available_at.since(after.run.updated_at) + ms(900) >= delay, "{case}");
        }
        if let Some(found) = after.steps.iter().find(|found| found.name.as_str() == *step) {
            let was = before.steps.iter().find(|found| found.name.as_str() == *step).unwrap();
            let created = creates && was.state == StepState::Waiting;
            assert_eq!(found.state, if created { StepState::Pending } else { was.state }, "{step}: {case}");
        }
    }
    let delays = answer.iter().map(|job| job.schedule_in);
    let expected = if matches!(entry, Entry::Compensation) { None } else { delay };
    assert!(delays.into_iter().all(|found| found == expected), "{case}");
}

pub async fn every_entry_point_in_every_state_of_a_run(backend: &Backend) {
    let journal: Arc<Journal> = Journal::new();
    let join = workflow("join")
        .step(journal.step("left", done))
        .step(journal.step("right", done))
        .step(journal.step("join", done).after(["left", "right"]))
        .build()
        .unwrap();
    let world = backend.world([chain("line", &journal, &["first", "second"]), join]);
    let field = Field {
        line: world.start_run("line", &nothing()).await.unwrap(),
        join: world.start_run("join", &nothing()).await.unwrap(),
    };
    world.sink.take();
    world.executor.published();
    let mut number = 0_u32;
    for stand in stands() {
        let mut planted = None;
        for entry in entries(stand.shape) {
            // Both forms and both delays are tried with every state, in turns.
            number += 1;
            let (plainly, delay) = (number.is_multiple_of(2), number.is_multiple_of(3).then_some(ms(1_500)));
            let run = match planted {
                Some(run) => run,
                None => field.plant(backend, &stand).await,
            };
            let case = format!("{stand:?} {entry:?} {}", if plainly { "plainly" } else { "with events" });
            let (before, expected) = (world.look(run).await, stand.expected(entry));
            let answer = call(&world, backend, run, entry, delay, plainly).await;
            assert_eq!(came_to(&answer, &NAMES), expected, "{case}: {answer:?}");
            let after = world.look(run).await;
            check(&case, &world, (&before, &after), &expected, (entry, delay), &answer.unwrap_or_default());
            planted = (after == before).then_some(run);
        }
    }
    assert!(number > 800, "only {number} calls");
}
