//! What an operator's log shows: a service at work at INFO, and at ERROR only what needs a person.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::sync::Arc;

use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::{COMPLETE, Retry, Squidmesh, Step, StepError, StepResult, Trigger, Workflow, ms};
use squidmesh_tests::Log;
use tracing_subscriber::filter::LevelFilter;

async fn declined(_: serde_json::Value) -> StepResult<()> {
    Err(StepError::terminal("a card number").kind("declined"))
}

async fn busy(_: serde_json::Value) -> StepResult<()> {
    Err(StepError::retryable("a card number").kind("busy"))
}

async fn done(_: serde_json::Value) -> StepResult<()> {
    Ok(())
}

/// Executes a run of the workflow and returns its log at INFO.
fn logged(workflow: Workflow) -> Log {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_ansi(false);
    let subscriber = subscriber.with_writer(log.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let clock = Arc::new(ManualClock::default());
        let executor = MemoryExecutor::new(clock.clone());
        let name = workflow.definition().name().to_string();
        let builder = Squidmesh::builder(MemoryStore::new(clock)).executor(executor.clone());
        let mesh = builder.workflow(workflow).build().unwrap();
        block_on(mesh.start_run(&name, &serde_json::json!({}))).unwrap();
        block_on(executor.run_to_rest(&mesh)).unwrap();
    });
    log
}

fn events(log: &Log, level: &str) -> Vec<String> {
    let lines = log.lines(&format!(" {level} "));
    let event =
        |line: &String| line.split("event=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
    lines.iter().filter_map(event).collect()
}

#[test]
fn two_workflows_of_one_name_are_a_warning_that_says_what_to_do() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let build = |second: &[&str]| {
        let clock = Arc::new(ManualClock::default());
        let of = |steps: &[&str]| {
            let empty = Workflow::builder("checkout").trigger(Trigger::manual("go"));
            let all = steps.iter().fold(empty, |workflow, step| workflow.step(Step::new(step, done)));
            all.chain(steps).build().unwrap()
        };
        let builder = Squidmesh::builder(MemoryStore::new(clock.clone())).executor(MemoryExecutor::new(clock));
        builder.workflow(of(&["pay"])).workflow(of(second)).build().unwrap();
    };
    tracing::subscriber::with_default(subscriber, || {
        build(&["pay", "ship"]);
        assert_eq!(log.lines("WARN").len(), 0, "{}", log.text());
        build(&["refund"]);
    });
    let warnings = log.lines("WARN");
    assert_eq!(warnings.len(), 1, "{}", log.text());
    for part in ["two workflows of one name", "give each its own name", "workflow=checkout"] {
        assert!(warnings[0].contains(part), "{part}: {}", warnings[0]);
    }
}

#[test]
fn a_run_that_completes_is_logged_at_its_start_and_its_end() {
    let workflow = Workflow::builder("fine").trigger(Trigger::manual("go")).step(Step::new("work", done));
    let log = logged(workflow.build().unwrap());
    assert_eq!(events(&log, "INFO"), ["run.created", "run.completed"]);
    assert_eq!(log.lines("WARN").len() + log.lines("ERROR").len(), 0, "{}", log.text());
}

#[test]
fn a_failure_that_is_routed_or_retried_is_no_alarm() {
    let workflow = Workflow::builder("routed")
        .trigger(Trigger::manual("go"))
        .step(Step::new("pay", busy).retry(Retry::fixed(2, ms(1))))
        .step(Step::new("apologise", done))
        .then("pay", COMPLETE)
        .on_error("pay", "apologise")
        .then("apologise", COMPLETE);
    let log = logged(workflow.build().unwrap());
    let expected = ["run.created", "step.failed", "step.retry_scheduled", "step.failed", "run.completed"];
    assert_eq!(events(&log, "INFO"), expected);
    assert_eq!(log.lines("WARN").len() + log.lines("ERROR").len(), 0, "{}", log.text());
}

#[test]
fn a_failed_run_is_an_error_with_step_and_kind() {
    let workflow = Workflow::builder("failing").trigger(Trigger::manual("go")).step(Step::new("pay", declined));
    let log = logged(workflow.build().unwrap());
    assert_eq!(events(&log, "WARN"), ["step.failed"]);
    assert_eq!(events(&log, "ERROR"), ["run.failed"]);
    let line = log.lines(" ERROR ").remove(0);
    assert!(line.contains("step=pay") && line.contains("error=\"declined\""), "{line}");
    assert!(!log.text().contains("card number"), "no text of an error is logged");
}
