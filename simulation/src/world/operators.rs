//! People and programs outside: they start runs, decide, cancel, repeat and inspect, through any process.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use squidmesh_checker::{Act, Addressee, Answer, Call, Signal};
use squidmesh_core::command::{CommandError, ReplayError, ResumeError, SignalAnswer, SignalError, StartError};
use squidmesh_core::definition::{SignalName, StepName, WorkflowName};
use squidmesh_core::dispatch::{DeliveryMessage, DispatchOptions, IntentKey};
use squidmesh_core::port::StoreError;
use squidmesh_core::run::{RunSnapshot, StepStatus};
use squidmesh_core::{Run, RunFilter, RunId, RunStatus, Squidmesh, ms};

use super::environment::Environment;
use super::plan::{NOTE, ORDERS, PAID, PROCEED};
use super::processes::Process;

/// The maximum number of runs that clients start.
const RUNS: usize = 8;

/// Sends a random request to a process; of several requests at once, the second one goes to the other process.
pub(crate) fn ask_something(process: &Process, other: &Process, environment: &Arc<Environment>) {
    let scheduler = &environment.scheduler;
    let runs: Vec<RunId> = environment.observer().runs.keys().copied().collect();
    let some = scheduler.pick(&runs).copied();
    let begun = environment.calls().iter().filter(|call| may_start(&call.act)).count();
    let act = match (scheduler.below(22), some) {
        (13..=18, _) => return send([process, other], environment, &signal(environment, some, begun < RUNS)),
        (0..=4, _) | (_, None) if begun < RUNS => {
            let key = scheduler.one_in(2).then(|| some_key(environment));
            Act::Start { workflow: orders(), key }
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

fn may_start(act: &Act) -> bool {
    match act {
        Act::Start { .. } => true,
        Act::Signal(sent) => matches!(sent.to, Addressee::Key { starts: true, .. }),
        _ => false,
    }
}

fn orders() -> WorkflowName {
    WorkflowName::new(ORDERS).expect("a name")
}

fn some_key(environment: &Environment) -> String {
    format!("key {}", environment.scheduler.below(3))
}

/// Returns a signal to a run, regardless of what it waits for: often it comes too early, or too late.
fn signal(environment: &Environment, run: Option<RunId>, may_start: bool) -> Signal {
    let scheduler = &environment.scheduler;
    let to = match run.filter(|_| !scheduler.one_in(3)) {
        Some(run) => Addressee::Run(run),
        None => {
            let starts = may_start && scheduler.one_in(2);
            Addressee::Key { workflow: orders(), key: some_key(environment), starts }
        }
    };
    let name = scheduler.pick(&[PROCEED, PROCEED, PROCEED, PAID, PAID, NOTE, "nothing"]).copied().unwrap_or(PROCEED);
    let dedup_key = scheduler.one_in(2).then(|| format!("event {}", scheduler.below(4)));
    Signal { to, name: name.to_owned(), dedup_key, number: next_number(environment) }
}

/// Returns the number of the next signal: that of the call that sends it.
fn next_number(environment: &Environment) -> u64 {
    environment.calls().len() as u64
}

/// Sends a signal, and now and then another one at the same time: under the same deduplication key, as one does who has
/// seen no answer yet, or without a key, as another sender does.
fn send([process, other]: [&Process; 2], environment: &Arc<Environment>, signal: &Signal) {
    ask(process, environment, Act::Signal(signal.clone()));
    if environment.scheduler.one_in(3) {
        let second = Signal { number: next_number(environment), ..signal.clone() };
        ask(other, environment, Act::Signal(second));
    }
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

/// Returns the step of a run that waits for a signal, the name of that, and whether it has a deadline.
pub(crate) fn awaiting(state: &RunSnapshot) -> Option<(StepName, SignalName, bool)> {
    let mut paused = state.in_status(StepStatus::Paused);
    paused.find_map(|step| {
        let stored = step.continuation.as_ref()?;
        Some((step.step.clone(), stored.signal.clone()?, stored.expired.is_some()))
    })
}

/// Returns whether nobody ever decides about a step, nor sends its signal, so that its run waits for ever.
pub(crate) fn is_left_alone(run: RunId, step: &StepName) -> bool {
    let bytes = run.as_uuid().as_u128() as u64;
    (bytes ^ step.as_str().len() as u64).is_multiple_of(4)
}

/// Decides once about each step that waits for a person, and sends what each other one waits for.
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
    let awaiting: Vec<(RunId, StepName, SignalName)> = {
        let observer = environment.observer();
        let found = observer.runs.values().filter_map(|state| Some((state.run.id, awaiting(state)?)));
        found.map(|(id, (step, signal, _))| (id, step, signal)).collect()
    };
    for (run, step, signal) in awaiting {
        if !is_left_alone(run, &step) && asked.insert((run, step)) {
            let (to, name) = (Addressee::Run(run), signal.to_string());
            let number = next_number(environment);
            ask(process, environment, Act::Signal(Signal { to, name, dedup_key: None, number }));
        }
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
        Act::Signal(sent) => signalled(deliver(mesh, &sent, number).await),
    }
}

/// Returns a payload that every version accepts.
pub(crate) fn payload(signal: &str, number: u64) -> Value {
    if signal == PROCEED { json!({ "number": number, "decision": "approved" }) } else { json!({ "number": number }) }
}

/// Sends a signal. Under a key, which none has that must come, it may be too large for a run that has another one, or
/// lack what a version asks for.
async fn deliver(mesh: &Squidmesh, sent: &Signal, order: u64) -> Result<SignalAnswer, SignalError> {
    let payload = match sent.number % 7 {
        0 if sent.name == PROCEED && sent.dedup_key.is_some() => {
            json!({ "number": sent.number, "decision": "n".repeat(2_100) })
        }
        1 | 2 if sent.dedup_key.is_some() => json!({ "number": sent.number }),
        _ => payload(&sent.name, sent.number),
    };
    match &sent.to {
        Addressee::Run(run) => {
            let signal = mesh.signal_run(*run, &sent.name, &payload);
            match &sent.dedup_key {
                Some(key) => signal.dedup_key(key).await,
                None => signal.await,
            }
        }
        Addressee::Key { workflow, key, starts } => {
            let signal = mesh.signal_key(workflow, key, &sent.name, &payload);
            let signal = if *starts { signal.or_start(&json!({ "number": order })) } else { signal };
            match &sent.dedup_key {
                Some(key) => signal.dedup_key(key).await,
                None => signal.await,
            }
        }
    }
}

fn signalled(answer: Result<SignalAnswer, SignalError>) -> Answer {
    match answer {
        Ok(answer) => Answer::Signalled(answer.run, answer.receipt),
        Err(SignalError::Store(error)) if open(&error) => Answer::Unknown,
        Err(SignalError::Start(error)) if start_open(&error) => Answer::Unknown,
        Err(error) => Answer::Refused(error.to_string()),
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
