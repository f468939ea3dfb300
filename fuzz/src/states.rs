//! Runs from damaged rows, which are readable one by one and contradict each other. The engine continues, rejects,
//! or reports that the run snapshot contradicts itself; each of its decisions is a commit that can be written and
//! read back.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::json;
use squidmesh_core::definition::Definition;
use squidmesh_core::dispatch::{DispatchTarget, IntentKey, Job, JobMetadata, Lease, Refusal};
use squidmesh_core::inspect::{Subject, explain, graph};
use squidmesh_core::port::RunHistory;
use squidmesh_core::run::{Failure, InputSnapshot, RunSnapshot, StepRun, StepStatus};
use squidmesh_core::testing::engine::{
    ApprovalDecision, Attribution, BeginCompensation, Continuation, DecisionInputs, Limits, Outcome, SentSignal,
    UnitOfWork, begin, begin_compensation, cancel, decide, differences, record, record_compensation, resumption,
    signal, unblock, unsafe_to_replay,
};
use squidmesh_core::testing::sample;
use squidmesh_core::{RunStatus, Timestamp};
use squidmesh_store::fuzzing::{Decoded, NULL, Table, encode};

use crate::rows::{damaged, full_run, signals};
use crate::source::Source;

static DEFINITIONS: LazyLock<[Arc<Definition>; 3]> = LazyLock::new(|| {
    let of = |text| Arc::new(serde_json::from_str(text).expect("a valid definition"));
    [
        of(include_str!("../corpus/definitions/sequence.json")),
        of(include_str!("../corpus/definitions/fan.json")),
        of(include_str!("../corpus/definitions/waits.json")),
    ]
});

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let definition = source.of(&*DEFINITIONS);
    let Some(state) = state(&definition, &mut source) else { return };
    look(&definition, &state, &mut source);
    let moment = DecisionInputs {
        now: Timestamp::from_millis(source.integer()),
        random: f64::from(source.byte()) / 256.0,
        token: sample::commit_token(9),
    };
    let mut work = UnitOfWork::open(definition.clone(), state, moment, Limits::default());
    let commands = 1 + source.below(3);
    for _ in 0..commands {
        command(&mut work, &definition, &mut source);
    }
    let decision = work.close();
    let run = Decoded::Run(Box::new(decision.state.run.clone()), decision.state.signals.clone());
    let written = encode(decision.state.run.id, &run);
    let read = Table::Runs.decode(&written.expect("a run can be written").expect("it has a row"));
    assert_eq!(read.expect("and read"), run);
    for step in decision.state.steps.values() {
        let step = Decoded::StepRun(Box::new(step.clone()));
        let written = encode(decision.state.run.id, &step).expect("a step run can be written").expect("it has a row");
        assert_eq!(Table::StepRuns.decode(&written).expect("and read"), step);
    }
}

/// Returns a run of the definition with step runs for some of its steps, as read from rows with some columns
/// damaged.
fn state(definition: &Definition, source: &mut Source<'_>) -> Option<RunSnapshot> {
    let mut run = full_run();
    run.fingerprint = *definition.fingerprint();
    run.workflow = definition.name().clone();
    run.status = source.of(&RunStatus::ALL);
    run.current_step = source.maybe(|source| source.of(definition.steps()).name);
    let Decoded::Run(run, signals) = through(Table::Runs, Decoded::Run(Box::new(run), signals()), source)? else {
        return None;
    };
    let mut steps = Vec::new();
    for step in definition.steps() {
        let input = match source.chance() {
            true => InputSnapshot::AsOf(u64::from(source.byte() % 8)),
            false => InputSnapshot::Copy(Arc::new(source.object(&["a", "b"], 1))),
        };
        let mut found = StepRun::pending(step.name.clone(), input, step.recovery.clone(), sample::STARTED);
        found.status = match source.below(7) {
            0 => continue,
            place => StepStatus::ALL[place - 1],
        };
        found.attempt = u32::from(source.byte() % 4);
        found.output = source.maybe(|source| Arc::new(source.object(&["a", "b"], 1)));
        found.sequence = source.maybe(|source| u64::from(source.byte() % 8));
        found.lease = source.maybe(|_| sample::lease_token(1));
        found.attempt_started_at = source.maybe(|_| sample::STARTED);
        let Decoded::StepRun(found) = through(Table::StepRuns, Decoded::StepRun(Box::new(found)), source)? else {
            return None;
        };
        steps.push(*found);
    }
    Some(RunSnapshot::new(*run, steps).with_signals(signals))
}

/// Writes it as a row, damages the row, and reads it.
fn through(table: Table, decoded: Decoded, source: &mut Source<'_>) -> Option<Decoded> {
    let damages = source.byte() % 8;
    if damages < 4 {
        return Some(decoded);
    }
    let mut row = encode(sample::run_id(1), &decoded).expect("it can be written").expect("it has a row");
    for _ in 4..damages {
        let column = source.of(&table.columns());
        let cell = match column {
            // The parts that take JSON of a certain form: most other JSON would not be read at all.
            "compensation" => compensation(source).to_string().into(),
            "resume" => resume(source).to_string().into(),
            "attempt" | "failures" | "crashes" | "sequence" | "revision" => source.integer().into(),
            _ => damaged(row.0.get(column).unwrap_or(&NULL), source),
        };
        row.0.insert(column, cell);
    }
    table.decode(&row).ok()
}

fn compensation(source: &mut Source<'_>) -> serde_json::Value {
    json!({
        "status": source.of(&["retrying", "running", "completed", "failed", "pending"]),
        "output": null, "error": null, "lease": source.maybe(|_| sample::lease_token(1)),
        "attempt": source.integer().unsigned_abs() & 0xffff_ffff, "failures": source.integer().unsigned_abs() & 0xffff_ffff,
        "crashes": source.integer().unsigned_abs() & 0xffff_ffff, "started_at": sample::STARTED, "finished_at": null,
    })
}

fn resume(source: &mut Source<'_>) -> serde_json::Value {
    let mut target = || match source.below(4) {
        0 => json!("complete"),
        1 => json!({ "step": "nowhere" }),
        2 => json!({ "step": "ship" }),
        _ => json!({ "step": "review" }),
    };
    let (ok, error, expired) = (target(), target(), target());
    let signal = source.maybe(|source| source.of(&["paid", "seen"]));
    json!({ "signal": signal, "ok": ok, "error": error, "expired": expired, "output_key": null })
}

/// Runs the queries of operators.
fn look(definition: &Definition, state: &RunSnapshot, source: &mut Source<'_>) {
    let history = RunHistory { attempts: Vec::new(), audit: Vec::new(), intents: Vec::new() };
    let registered = source.chance();
    let subject = Subject {
        state,
        definition: source.chance().then_some(definition),
        registered,
        replayable: registered,
        newest: Some(&DEFINITIONS[0]),
        adoption: source.chance(),
        history: &history,
        now: Timestamp::from_millis(source.integer()),
    };
    let explanation = explain(&subject);
    assert_eq!(explanation.run_id, state.run.id);
    assert_eq!(graph(state, definition).nodes.len(), definition.steps().len());
    let _ = (unsafe_to_replay(state), resumption(state, definition), differences(state, definition, &DEFINITIONS[1]));
    for step in definition.steps() {
        let _ = state.visible_to(step.name.as_str(), definition);
    }
}

fn describe(jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
    Ok(jobs.iter().map(Job::metadata).collect())
}

fn command(work: &mut UnitOfWork, definition: &Definition, source: &mut Source<'_>) {
    let step = source.of(definition.steps()).name;
    let token = sample::lease_token(u64::from(source.byte() % 2));
    let lease = Lease { key: IntentKey::step(work.run().id, step.clone()), token };
    let decided = Attribution { step: source.maybe(|_| step.to_string()), ..Attribution::default() };
    let jobs: &dyn squidmesh_core::command::DescribeJobs = &describe;
    match source.below(7) {
        0 => {
            let Ok(squidmesh_core::testing::engine::Begin::Execute(task)) = begin(work, &step, &lease, jobs) else {
                return;
            };
            assert!(task.attempt > 0, "attempts count from 1");
            let queues = [squidmesh_core::definition::QueueName::default()];
            let continuation = source.chance().then_some(Continuation {
                token: sample::lease_token(3),
                lease: Duration::from_secs(1),
                queues: &queues,
                lowest: squidmesh_core::definition::Priority::Low,
            });
            let _ = record(work, &task, outcome(source), continuation, jobs);
        }
        1 => drop(cancel(work, decided)),
        6 => {
            let (name, payload) = (source.of(&["paid", "seen", "odd"]), source.object(&["amount", "b"], 1));
            let dedup_key = source.maybe(|source| source.of(&["evt", "other"]).to_owned());
            let (name, payload) = (name.to_owned(), payload.into());
            let sent = SentSignal { name, payload, dedup_key, attribution: decided };
            drop(signal(work, &sent, jobs));
        }
        2 => drop(unblock(work, decided, jobs)),
        3 => drop(decide(work, ApprovalDecision::Approve, decided, jobs)),
        4 => drop(decide(work, ApprovalDecision::Reject, decided, jobs)),
        _ => {
            let lease = Lease { key: IntentKey { run_id: work.run().id, target: DispatchTarget::Compensation }, token };
            let BeginCompensation::Execute(task) = begin_compensation(work, &lease) else { return };
            assert!(task.attempt > 0, "attempts count from 1");
            let _ = record_compensation(work, &task, outcome(source));
        }
    }
}

fn outcome(source: &mut Source<'_>) -> Outcome {
    let long = |source: &mut Source<'_>| source.maybe(|source| Duration::from_millis(source.number()));
    match source.below(3) {
        0 => Outcome::Completed {
            value: source.json(&["a"], 2),
            schedule_in: long(source),
            route: source.maybe(|source| source.text()),
        },
        1 => Outcome::Failed {
            failure: Failure::new("retryable", source.text()),
            retryable: source.chance(),
            retry_after: long(source),
        },
        _ => Outcome::Interrupted,
    }
}
