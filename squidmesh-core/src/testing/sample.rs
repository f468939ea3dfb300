//! Sample data for tests of stores and executors: small, valid, and the same every time.
//!
//! Numbers stand for identities: the same number always makes the same id, and greater numbers make newer runs.

#![allow(clippy::expect_used, reason = "sample data is fixed: that it is valid is part of the test")]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::definition::{Definition, Fingerprint, Priority, RecoveryPolicy};
use crate::dispatch::{Intent, IntentKey, Lease};
use crate::id::RunId;
use crate::name::{QueueName, SignalName, StepName, TriggerName, WorkflowName};
use crate::port::{Commit, CommitToken, IntentWrite, LeaseToken, Precondition, StepWrite};
use crate::run::{Attempt, InputSnapshot, Run, RunStatus, StepRun};
use crate::time::Timestamp;

/// The name of the workflow of [`definition`].
pub const WORKFLOW: &str = "sample";

/// The start time of sample runs: the first instant of the year 2026.
pub const STARTED: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Returns the id of the run with this number. Greater numbers have greater ids.
pub fn run_id(number: u64) -> RunId {
    let millis = STARTED.as_millis().unsigned_abs().saturating_add(number);
    RunId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid())
}

/// Returns the lease token with this number.
pub fn lease_token(number: u64) -> LeaseToken {
    LeaseToken::from_uuid(Uuid::from_u128(u128::from(number) | 0x1ea5_e000 << 96))
}

/// Returns the commit token with this number.
pub fn commit_token(number: u64) -> CommitToken {
    CommitToken::from_uuid(Uuid::from_u128(u128::from(number) | 0xc033_1700 << 96))
}

/// Returns the name of a workflow.
pub fn workflow(name: &str) -> WorkflowName {
    WorkflowName::new(name).expect("a valid workflow name")
}

/// Returns the name of a step.
pub fn step_name(name: &str) -> StepName {
    StepName::new(name).expect("a valid step name")
}

/// Returns the name of a signal.
pub fn signal_name(name: &str) -> SignalName {
    SignalName::new(name).expect("a valid signal name")
}

/// Returns the name of a queue.
pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a valid queue name")
}

/// Returns a JSON object as payloads, inputs and outputs are kept.
pub fn object(value: Value) -> Arc<Map<String, Value>> {
    match value {
        Value::Object(map) => Arc::new(map),
        other => Arc::new(Map::from_iter([("value".to_owned(), other)])),
    }
}

/// Returns the definition of the workflow of sample runs: the step `first`, then `second`.
pub fn definition() -> Arc<Definition> {
    static SAMPLE: LazyLock<Arc<Definition>> = LazyLock::new(|| definition_of(WORKFLOW, &["first", "second"]));
    Arc::clone(&SAMPLE)
}

/// Returns a workflow of these steps, each after the one before it. Another list of steps has another fingerprint.
pub fn definition_of(name: &str, steps: &[&str]) -> Arc<Definition> {
    let after = |position: usize| position.checked_sub(1).and_then(|before| steps.get(before)).copied();
    let steps: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(position, step)| {
            let mut declared = json!({ "name": step, "kind": { "type": "handler" } });
            if let (Some(before), Some(fields)) = (after(position), declared.as_object_mut()) {
                fields.insert("after".to_owned(), json!([before]));
            }
            declared
        })
        .collect();
    let stored = json!({
        "name": name,
        "triggers": [{ "name": "manual", "kind": { "type": "manual" } }],
        "steps": steps,
    });
    Arc::new(serde_json::from_value(stored).expect("a valid definition"))
}

/// Returns a run of [`definition`] that has just been started, at revision 1.
pub fn run(number: u64) -> Run {
    run_of(&definition(), number)
}

/// Returns a run of this workflow that has just been started, at revision 1.
pub fn run_of(definition: &Definition, number: u64) -> Run {
    Run {
        id: run_id(number),
        workflow: definition.name().clone(),
        fingerprint: *definition.fingerprint(),
        trigger: TriggerName::new("manual").expect("a valid trigger name"),
        status: RunStatus::Pending,
        payload: object(json!({ "number": number })),
        current_step: Some(step_name("first")),
        last_error: None,
        replayed_from: None,
        resumed_from: None,
        intended_at: None,
        idempotency_key: None,
        revision: 1,
        token: commit_token(number),
        created_at: STARTED.after(Duration::from_millis(number)),
        updated_at: STARTED.after(Duration::from_millis(number)),
        finished_at: None,
    }
}

/// Returns a step run that has just been scheduled.
pub fn step(name: &str) -> StepRun {
    StepRun::pending(step_name(name), InputSnapshot::AsOf(0), RecoveryPolicy::default(), STARTED)
}

/// Returns an attempt that has just begun.
pub fn attempt(step: &str, number: u32) -> Attempt {
    Attempt::begin(step_name(step), number, STARTED.after(Duration::from_secs(u64::from(number))))
}

/// Returns the intent of a step of a run, due at once, in the default queue.
pub fn intent(run: &Run, step: &str) -> Intent {
    Intent {
        key: IntentKey::step(run.id, step_name(step)),
        fingerprint: run.fingerprint,
        queue: QueueName::default(),
        priority: Priority::Normal,
        delay: Duration::ZERO,
        lease: None,
    }
}

/// Returns the commit that starts the run with this number: its step `first` is pending and due at once.
pub fn start(number: u64) -> Commit {
    start_of(&definition(), number)
}

/// Returns the commit that starts a run of this workflow: its step `first` is pending and due at once.
pub fn start_of(definition: &Arc<Definition>, number: u64) -> Commit {
    let run = run_of(definition, number);
    let intent = intent(&run, "first");
    let mut commit = Commit::new(run, Precondition::Absent);
    commit.definition = Some(Arc::clone(definition));
    commit.steps.push(StepWrite::Create(step("first")));
    commit.intents.push(IntentWrite::Add(intent));
    commit
}

/// Returns the commit that follows `run` and changes nothing yet but its revision, token and time.
pub fn next(run: &Run) -> Commit {
    let mut after = run.clone();
    after.revision += 1;
    after.token = CommitToken::from_uuid(Uuid::from_u128(run.token.as_uuid().as_u128().wrapping_add(1 << 64)));
    after.updated_at = run.updated_at.after(Duration::from_millis(1));
    Commit::new(after, Precondition::Revision(run.revision))
}

/// Returns a lease on a step of a run.
pub fn lease(run: RunId, step: &str, token: LeaseToken) -> Lease {
    Lease { key: IntentKey::step(run, step_name(step)), token }
}

/// Returns a fingerprint that no sample definition has.
pub fn unknown_fingerprint() -> Fingerprint {
    "00000000000000000000000000000000".parse().expect("a valid fingerprint")
}
