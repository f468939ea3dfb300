//! Rows of every table with any value in any column: they are read, or return a typed error that shows nothing; a
//! row that is read is written back unchanged.

use std::sync::LazyLock;

use serde_json::{Value, json};
use squidmesh_core::port::StoreError;
use squidmesh_core::run::{Attempt, AuditEvent, AuditKind, Failure, ReceivedSignal, StepRun, StepStatus};
use squidmesh_core::schedule::TriggerRecord;
use squidmesh_core::testing::sample;
use squidmesh_core::{Run, RunStatus};
use squidmesh_store::fuzzing::{Cell, Cellular, Decoded, NULL, Table, encode, intent};

use crate::source::Source;

/// Text that no error may show.
const SECRET: &str = "S3CRET";

/// A valid row of each table, in the order of [`Table::ALL`].
static VALID: LazyLock<Vec<Cellular>> = LazyLock::new(|| {
    let run = full_run();
    let written = |decoded: Decoded| encode(run.id, &decoded).expect("it can be written").expect("it has a row");
    let mut attempt: Attempt = sample::attempt("first", 1);
    attempt.error = run.last_error.clone();
    let mut audit = AuditEvent::new(AuditKind::Approved, 3, sample::STARTED);
    audit.actor = Some("ann".to_owned());
    let mut trigger = TriggerRecord::new(run.workflow.clone(), run.trigger.clone());
    trigger.paused_at = Some(sample::STARTED);
    vec![
        written(Decoded::Run(Box::new(run.clone()), signals())),
        written(Decoded::StepRun(Box::new(full_step()))),
        written(Decoded::Attempt(Box::new(attempt))),
        written(Decoded::Audit(Box::new(audit))),
        intent(&sample::intent(&run, "first")),
        written(Decoded::Definition(Box::new((*sample::definition()).clone()))),
        written(Decoded::Trigger(Box::new(trigger))),
    ]
});

/// Returns signals of a run: one that is kept, and one that a step has taken.
pub(crate) fn signals() -> Vec<ReceivedSignal> {
    let kept = ReceivedSignal {
        id: sample::run(1).token,
        name: sample::signal_name("paid"),
        dedup_key: Some("evt".to_owned()),
        payload: Some(sample::object(json!({ "amount": 1 }))),
        taken_by: None,
        at: sample::STARTED,
    };
    let taken = ReceivedSignal { payload: None, taken_by: Some(sample::step_name("first")), ..kept.clone() };
    vec![kept, taken]
}

/// Returns a run with a value in every column.
pub(crate) fn full_run() -> Run {
    let mut run = sample::run(1);
    run.status = RunStatus::Running;
    run.last_error = Some(Failure::new("terminal", "it broke").at(&sample::step_name("first")));
    run.replayed_from = Some(sample::run_id(2));
    run.resumed_from = Some(sample::run_id(3));
    run.intended_at = Some(sample::STARTED);
    run.idempotency_key = Some("a key".to_owned());
    run.finished_at = Some(sample::STARTED);
    run
}

/// Returns a step run with a value in every column.
pub(crate) fn full_step() -> StepRun {
    let routed =
        json!({ "from": "first", "on": "ok", "guard": { "if": { "exists": { "path": ["a"] } } }, "to": "fail" });
    let valid = json!({
        "step": "first", "status": "running", "input": { "a": 1 }, "recovery": sample::step("first").recovery,
        "output": { "b": [2] }, "last_error": Failure::new("retryable", "it broke"), "attempt": 2, "failures": 1, "crashes": 0,
        "lease": sample::lease_token(1), "sequence": 1,
        "continuation": { "ok": "complete", "error": null, "guarded": [routed], "output_key": null },
        "manual": { "decision": "approved", "actor": "ann", "comment": null, "metadata": null, "at": sample::STARTED },
        "routes": [], "taken": routed, "compensation": null, "created_at": sample::STARTED, "started_at": sample::STARTED,
        "attempt_started_at": sample::STARTED, "finished_at": null,
    });
    serde_json::from_value(valid).unwrap_or_else(|_| {
        let mut step = sample::step("first");
        step.status = StepStatus::Running;
        step.attempt = 2;
        step.lease = Some(sample::lease_token(1));
        step.attempt_started_at = Some(sample::STARTED);
        step
    })
}

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let place = source.below(Table::ALL.len());
    let (table, mut row) = (Table::ALL[place], VALID[place].clone());
    for _ in 0..source.below(4) {
        let column = source.of(&table.columns());
        let cell = damaged(row.0.get(column).unwrap_or(&NULL), &mut source);
        row.0.insert(column, cell);
    }
    match table.decode(&row) {
        Ok(decoded) => {
            let Some(written) = encode(sample::run_id(1), &decoded).expect("what was read can be written") else {
                return;
            };
            let again = table.decode(&written).expect("what was written can be read");
            assert_eq!(again, decoded);
            assert_eq!(encode(sample::run_id(1), &again).expect("and written").as_ref(), Some(&written));
        }
        Err(StoreError::Corrupt { reason, .. }) => {
            assert!(table.columns().iter().any(|column| reason.contains(column)), "{reason} names no column");
            assert!(!reason.contains(SECRET), "{reason}");
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Returns another value for a cell: of any type, or similar to the given one.
pub(crate) fn damaged(cell: &Cell, source: &mut Source<'_>) -> Cell {
    match source.below(9) {
        0 => NULL,
        1 => Cell::BigInt(Some(source.integer())),
        2 => source.text().into(),
        3 => SECRET.into(),
        4 => uuid::Uuid::from_u64_pair(source.number(), source.number()).into(),
        5 => Cell::Bytes(Some(source.bytes(20).to_vec())),
        6 => Cell::SmallInt(Some(i16::from(source.byte()))),
        7 => source
            .json(&["message", "kind", "ok", "error", "decision", "status", "attempt", "type"], 3)
            .to_string()
            .into(),
        _ => match cell {
            Cell::String(Some(text)) => changed(text, source).into(),
            _ => Cell::BigInt(None),
        },
    }
}

/// Replaces a part of JSON, or cuts a part out of any other text.
fn changed(text: &str, source: &mut Source<'_>) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(mut parts)) if !parts.is_empty() => {
            let keys: Vec<String> = parts.keys().cloned().collect();
            let key = source.of(&keys);
            match source.chance() {
                true => parts.remove(&key),
                false => parts.insert(key, source.json(&["a", "b"], 2)),
            };
            Value::Object(parts).to_string()
        }
        _ => text.chars().skip(source.below(4)).take(source.below(40)).collect(),
    }
}
