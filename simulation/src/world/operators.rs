//! People and programs outside: they start runs, decide, cancel, repeat and inspect, through any process.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use squidmesh_checker::{Act, Answer, Call};
use squidmesh_core::command::{CommandError, ReplayError, ResumeError, StartError};
use squidmesh_core::definition::{StepName, WorkflowName};
use squidmesh_core::dispatch::{DeliveryMessage, DispatchOptions, IntentKey};
use squidmesh_core::port::StoreError;
use squidmesh_core::run::RunSnapshot;
use squidmesh_core::{Run, RunFilter, RunId, RunStatus, Squidmesh, ms};

use super::environment::Environment;
use super::plan::ORDERS;
use super::processes::Process;

/// The maximum number of runs that clients start.
const RUNS: usize = 8;

/// Sends a random request to a process.
pub(crate) fn ask_something(process: &Process, environment: &Arc<Environment>) {
    let scheduler = &environment.scheduler;
    let runs: Vec<RunId> = environment.observer().runs.keys().copied().collect();
    let some = scheduler.pick(&runs).copied();
    let begun = environment.calls().iter().filter(|call| matches!(call.act, Act::Start { .. })).count();
    let act = match (scheduler.below(16), some) {
        (0..=4, _) | (_, None) if begun < RUNS => {
            let key = scheduler.one_in(2).then(|| format!("key {}", scheduler.below(3)));
            Act::Start { workflow: WorkflowName::new(ORDERS).expect("a name"), key }
        }
        (5..=7, Some(run)) => decision(environment, run),
        (8, Some(run)) => Act::Cancel(run),
        (9, Some(run)) => Act::Replay(run),
        (10 | 11, Some(run)) => Act::Resume(run),
        (12, Some(run)) => return dispatch(process, environment, run),
        (_, run) => return look(process, environment, run),
    };
    ask(process, environment, act);
}

/// Returns a decision about a run; if the run does not wait for a person, it will be refused.
fn decision(environment: &Environment, run: RunId) -> Act {
    let approval = {
        let observer = environment.observer();
        observer.runs.get(&run).and_then(waiting).is_some_and(|(_, approval, _)| approval)
    };
    match environment.scheduler.below(4) {
        0 => Act::Reject(run),
        1 if approval => Act::Approve(run),
        2 => Act::Approve(run),
        _ => Act::Unblock(run),
    }
}

/// Returns the step that a paused run waits at, whether it is an approval, and whether it has a deadline.
pub(crate) fn waiting(state: &RunSnapshot) -> Option<(StepName, bool, bool)> {
    let step = state.run.current_step.as_ref().filter(|_| state.run.status == RunStatus::Paused)?;
    let resume = state.steps.get(step)?.continuation.as_ref()?;
    Some((step.clone(), resume.error.is_some(), resume.expired.is_some()))
}

/// Returns whether a step is never decided, so that its run stays paused.
pub(crate) fn is_left_alone(run: RunId, step: &StepName) -> bool {
    let bytes = run.as_uuid().as_u128() as u64;
    (bytes ^ step.as_str().len() as u64).is_multiple_of(4)
}

/// Decides once about each step that waits for a person.
pub(crate) fn decide_what_waits(
    process: &Process,
    environment: &Arc<Environment>,
    asked: &mut BTreeSet<(RunId, StepName)>,
) {
    let waiting: Vec<(RunId, StepName, bool)> = {
        let observer = environment.observer();
        let found = observer.runs.values().filter_map(|state| Some((state.run.id, waiting(state)?)));
        found.map(|(id, (step, approval, _))| (id, step, approval)).collect()
    };
    for (run, step, approval) in waiting {
        if is_left_alone(run, &step) || !asked.insert((run, step)) {
            continue;
        }
        let act = match (approval, environment.scheduler.one_in(3)) {
            (false, _) => Act::Unblock(run),
            (true, true) => Act::Reject(run),
            (true, false) => Act::Approve(run),
        };
        ask(process, environment, act);
    }
}

fn ask(process: &Process, environment: &Arc<Environment>, act: Act) {
    // The answer counts as unknown until it arrives; it stays unknown if the process dies.
    let call = environment.note_call(Call { act: act.clone(), answer: Answer::Unknown });
    let (environment, scheduler) = (Arc::clone(environment), Arc::clone(&environment.scheduler));
    let number = scheduler.below(1_000);
    // Some requests time out sooner than a call of the store may take.
    let mesh = if number.is_multiple_of(4) { process.mesh.timeout(ms(1 + number)) } else { process.mesh.clone() };
    scheduler.spawn(process.id, async move {
        let answer = carry_out(&mesh, act, number, stage_actor(number)).await;
        environment.answer(call, answer);
    });
}

fn stage_actor(number: u64) -> String {
    format!("actor {number}")
}

async fn carry_out(mesh: &Squidmesh, act: Act, number: u64, actor: String) -> Answer {
    match act {
        Act::Start { workflow, key } => {
            let start = mesh.start_run(workflow.as_str(), &json!({ "number": number }));
            let start = match key {
                Some(key) => start.idempotency_key(key),
                None => start,
            };
            answer(start.await, start_open)
        }
        Act::Cancel(run) => answer(mesh.cancel_run(run).actor(actor).await, command_open),
        Act::Unblock(run) => answer(mesh.unblock_run(run).actor(actor).await, command_open),
        Act::Approve(run) => answer(mesh.approve_run(run).actor(actor).await, command_open),
        Act::Reject(run) => answer(mesh.reject_run(run).actor(actor).await, command_open),
        Act::Replay(run) => {
            let replay = mesh.replay_run(run).actor(actor);
            let replay = if number.is_multiple_of(2) { replay.allow_irreversible() } else { replay };
            answer(replay.await, |error| match error {
                ReplayError::Store(error) => open(error),
                ReplayError::Start(error) => start_open(error),
                _ => false,
            })
        }
        Act::Resume(run) => {
            let resume = mesh.resume_run(run).actor(actor);
            let resume = if number.is_multiple_of(2) { resume.allow_irreversible() } else { resume };
            answer(resume.await, |error| match error {
                ResumeError::Store(error) => open(error),
                ResumeError::Start(error) => start_open(error),
                _ => false,
            })
        }
    }
}

fn command_open(error: &CommandError) -> bool {
    matches!(error, CommandError::Store(error) if open(error))
}

fn start_open(error: &StartError) -> bool {
    matches!(error, StartError::Store(error) if open(error))
}

/// Returns whether the request may have been executed, or may yet be. Every other error means that it was not, which
/// is checked.
fn open(error: &StoreError) -> bool {
    matches!(error, StoreError::OutcomeUnknown { .. })
}

fn answer<E: std::fmt::Display>(answer: Result<Run, E>, open: impl Fn(&E) -> bool) -> Answer {
    match answer {
        Ok(run) => Answer::Ok(run.id),
        Err(error) if open(&error) => Answer::Unknown,
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// Dispatches, as a host, what the runtime dispatches itself; a step that cannot run now is refused.
fn dispatch(process: &Process, environment: &Arc<Environment>, run: RunId) {
    let scheduler = &environment.scheduler;
    let dispatcher = process.mesh.dispatcher();
    let (way, steps) = (scheduler.below(6), [some_step(environment), some_step(environment)]);
    let options = DispatchOptions::new();
    let options = if scheduler.one_in(2) { options.schedule_pending() } else { options };
    scheduler.spawn(process.id, async move {
        match way {
            0 => drop(dispatcher.dispatch_compensation(run).await),
            1 => drop(dispatcher.dispatch_run(run, &options).await),
            2 => drop(dispatcher.dispatch_steps(run, &steps, &options).await),
            _ => drop(dispatcher.dispatch_steps(run, &steps[..1], &options).await),
        }
    });
}

/// Returns a step that a run may have.
fn some_step(environment: &Environment) -> StepName {
    StepName::new(format!("s{}", environment.scheduler.below(7))).expect("a name")
}

/// Returns a forged delivery: of nonsense, or of work that a run may lack, may have done, or may be executing.
pub(crate) fn forge(environment: &Environment) -> Vec<u8> {
    let runs: Vec<RunId> = environment.observer().runs.keys().copied().collect();
    let Some(run) = environment.scheduler.pick(&runs).copied().filter(|_| !environment.scheduler.one_in(4)) else {
        return b"{\"kind\":\"nonsense\"".to_vec();
    };
    let key = match environment.scheduler.one_in(4) {
        true => IntentKey::compensation(run),
        false => IntentKey::step(run, some_step(environment)),
    };
    environment.scheduler.note(format_args!("a delivery of {key} is forged"));
    serde_json::to_vec(&DeliveryMessage::from(&key)).expect("a payload is JSON")
}

/// Reads data, which must never do harm.
fn look(process: &Process, environment: &Arc<Environment>, run: Option<RunId>) {
    let (mesh, way) = (process.mesh.clone(), environment.scheduler.below(4));
    environment.scheduler.spawn(process.id, async move {
        match (way, run) {
            (0, Some(run)) => drop(mesh.explain_run(run).await),
            (1, Some(run)) => drop(mesh.graph(run).await),
            (2, Some(run)) => drop(mesh.inspect_run(run).await),
            _ => drop(mesh.list_runs(&RunFilter::new()).await),
        }
    });
}
