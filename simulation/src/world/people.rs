//! People and programs outside: they start runs, decide, cancel, repeat and look, through whatever process answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use squidmesh_core::{
    CommandError, ReplayError, ResumeError, Run, RunFilter, RunId, RunState, RunStatus, Squidmesh, StartError,
    StepName, WorkflowName,
};

use super::cast::Process;
use super::plan::ORDERS;
use super::props::Props;
use crate::check::{Act, Answer, Call};

/// How many runs clients start at most.
const RUNS: usize = 8;

/// Asks a process for something.
pub(crate) fn ask_something(process: &Process, props: &Arc<Props>) {
    let stage = &props.stage;
    let runs: Vec<RunId> = props.watch().runs.keys().copied().collect();
    let some = stage.pick(&runs).copied();
    let begun = props.calls().iter().filter(|call| matches!(call.act, Act::Start { .. })).count();
    let act = match (stage.below(16), some) {
        (0..=4, _) | (_, None) if begun < RUNS => {
            let key = stage.one_in(2).then(|| format!("key {}", stage.below(3)));
            Act::Start { workflow: WorkflowName::new(ORDERS).expect("a name"), key }
        }
        (5..=7, Some(run)) => decision(props, run),
        (8, Some(run)) => Act::Cancel(run),
        (9, Some(run)) => Act::Replay(run),
        (10 | 11, Some(run)) => Act::Resume(run),
        (_, run) => return look(process, props, run),
    };
    ask(process, props, act);
}

/// What may be asked of a run that waits for a person; of any other, something that will be refused.
fn decision(props: &Props, run: RunId) -> Act {
    let approval = {
        let watch = props.watch();
        watch.runs.get(&run).and_then(waiting).is_some_and(|(_, approval, _)| approval)
    };
    match props.stage.below(4) {
        0 => Act::Reject(run),
        1 if approval => Act::Approve(run),
        2 => Act::Approve(run),
        _ => Act::Unblock(run),
    }
}

/// The step for which a paused run waits, whether it is an approval, and whether it has a deadline.
pub(crate) fn waiting(state: &RunState) -> Option<(StepName, bool, bool)> {
    let step = state.run.current_step.as_ref().filter(|_| state.run.status == RunStatus::Paused)?;
    let resume = state.steps.get(step)?.resume.as_ref()?;
    Some((step.clone(), resume.error.is_some(), resume.expired.is_some()))
}

/// Whether nobody ever decides about a step, so that its run stays paused.
pub(crate) fn is_left_alone(run: RunId, step: &StepName) -> bool {
    let bytes = run.as_uuid().as_u128() as u64;
    (bytes ^ step.as_str().len() as u64).is_multiple_of(4)
}

/// Decides about whatever waits for a person, once each.
pub(crate) fn decide_what_waits(process: &Process, props: &Arc<Props>, asked: &mut BTreeSet<(RunId, StepName)>) {
    let waiting: Vec<(RunId, StepName, bool)> = {
        let watch = props.watch();
        let found = watch.runs.values().filter_map(|state| Some((state.run.id, waiting(state)?)));
        found.map(|(id, (step, approval, _))| (id, step, approval)).collect()
    };
    for (run, step, approval) in waiting {
        if is_left_alone(run, &step) || !asked.insert((run, step)) {
            continue;
        }
        let act = match (approval, props.stage.one_in(3)) {
            (false, _) => Act::Unblock(run),
            (true, true) => Act::Reject(run),
            (true, false) => Act::Approve(run),
        };
        ask(process, props, act);
    }
}

fn ask(process: &Process, props: &Arc<Props>, act: Act) {
    // Until it is answered, the answer is unknown; and it stays so if the process dies.
    let call = props.note_call(Call { act: act.clone(), answer: Answer::Unknown });
    let (mesh, props, stage) = (process.mesh.clone(), Arc::clone(props), Arc::clone(&props.stage));
    let number = stage.below(1_000);
    stage.spawn(process.id, async move {
        let answer = carry_out(&mesh, act, number, stage_actor(number)).await;
        props.answer(call, answer);
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
            answer(start.await, |error| matches!(error, StartError::Store(_)))
        }
        Act::Cancel(run) => answer(mesh.cancel_run(run).actor(actor).await, command_open),
        Act::Unblock(run) => answer(mesh.unblock_run(run).actor(actor).await, command_open),
        Act::Approve(run) => answer(mesh.approve_run(run).actor(actor).await, command_open),
        Act::Reject(run) => answer(mesh.reject_run(run).actor(actor).await, command_open),
        Act::Replay(run) => {
            let replay = mesh.replay_run(run).actor(actor);
            let replay = if number.is_multiple_of(2) { replay.allow_irreversible() } else { replay };
            answer(replay.await, |error| {
                matches!(error, ReplayError::Store(_) | ReplayError::Start(StartError::Store(_)))
            })
        }
        Act::Resume(run) => {
            let resume = mesh.resume_run(run).actor(actor);
            let resume = if number.is_multiple_of(2) { resume.allow_irreversible() } else { resume };
            answer(resume.await, |error| {
                matches!(error, ResumeError::Store(_) | ResumeError::Start(StartError::Store(_)))
            })
        }
    }
}

fn command_open(error: &CommandError) -> bool {
    matches!(error, CommandError::Store(_))
}

fn answer<E: std::fmt::Display>(answer: Result<Run, E>, open: impl Fn(&E) -> bool) -> Answer {
    match answer {
        Ok(run) => Answer::Ok(run.id),
        Err(error) if open(&error) => Answer::Unknown,
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// Looks at things, which must never harm.
fn look(process: &Process, props: &Arc<Props>, run: Option<RunId>) {
    let (mesh, way) = (process.mesh.clone(), props.stage.below(4));
    props.stage.spawn(process.id, async move {
        match (way, run) {
            (0, Some(run)) => drop(mesh.explain_run(run).await),
            (1, Some(run)) => drop(mesh.graph(run).await),
            (2, Some(run)) => drop(mesh.inspect_run(run).await),
            _ => drop(mesh.list_runs(&RunFilter::new()).await),
        }
    });
}
