//! Tests of explanations and graphs.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::*;
use crate::definition::{Condition, Definition, Guard, Retry, not, secs, when};
use crate::dispatch::{IntentKey, Job, JobMetadata, Lease, Refusal};
use crate::engine::{self, Begin, DecisionInputs, Limits, NewRun, Outcome, UnitOfWork};
use crate::handler::{StepContext, StepResult};
use crate::id::RunId;
use crate::name::StepName;
use crate::port::{Commit, CommitToken, IntentRecord, IntentWrite, LeaseToken, RunHistory};
use crate::run::{Failure, RunSnapshot, RunStatus};
use crate::time::Timestamp;
use crate::workflow::{COMPLETE, Step, Trigger, Workflow, approval, pause, wait};

/// A run driven through the engine, with the intents of its commits.
struct Driven {
    definition: Arc<Definition>,
    state: RunSnapshot,
    intents: Vec<IntentRecord>,
    now: Timestamp,
}

fn accept(jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
    Ok(jobs.iter().map(Job::metadata).collect())
}

async fn nothing(_: Map<String, Value>, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn name(step: &str) -> StepName {
    StepName::new(step).unwrap()
}

impl Driven {
    fn start(workflow: crate::workflow::WorkflowBuilder) -> Self {
        let definition = workflow.trigger(Trigger::manual("go")).build().unwrap().definition().clone();
        let now = Timestamp::from_millis(1_000_000);
        let new = NewRun {
            id: RunId::from_uuid(Uuid::from_u128(7)),
            trigger: definition.triggers()[0].name().clone(),
            payload: Map::new(),
            intended_at: None,
            idempotency_key: None,
            replay: None,
        };
        let moment = DecisionInputs { now, random: 0.5, token: CommitToken::from_uuid(Uuid::nil()) };
        let decision = engine::start(definition.clone(), new, moment, Limits::default(), &accept).unwrap().close();
        let mut driven = Driven { definition, state: decision.state, intents: Vec::new(), now };
        driven.apply(decision.commit);
        driven
    }

    fn apply(&mut self, commit: Commit) {
        for write in commit.intents {
            if matches!(write, IntentWrite::Repin { .. }) {
                continue; // nothing that an explanation looks at
            }
            self.intents.retain(|found| found.key != *write.key());
            if let IntentWrite::Add(intent) | IntentWrite::Replace(intent) = write {
                let at = self.now.after(intent.delay);
                self.intents.push(IntentRecord::new(intent.key, intent.queue, intent.priority, at, intent.lease));
            }
        }
    }

    fn decide<T>(&mut self, decide: impl FnOnce(&mut UnitOfWork) -> T) -> T {
        let moment = DecisionInputs { now: self.now, random: 0.5, token: CommitToken::from_uuid(Uuid::nil()) };
        let mut work = UnitOfWork::open(self.definition.clone(), self.state.clone(), moment, Limits::default());
        let value = decide(&mut work);
        let decision = work.close();
        self.state = decision.state;
        self.apply(decision.commit);
        value
    }

    fn begin(&mut self, step: &str) -> Begin {
        let key = IntentKey::step(self.state.run.id, name(step));
        let lease = Lease { key, token: LeaseToken::from_uuid(Uuid::from_u128(1)) };
        self.decide(|work| engine::begin(work, &name(step), &lease, &accept).unwrap())
    }

    fn end(&mut self, step: &str, outcome: Outcome) {
        let Begin::Execute(task) = self.begin(step) else { panic!("{step} does not begin") };
        self.decide(|work| engine::record(work, &task, outcome, None, &accept).unwrap());
    }

    fn succeed(&mut self, step: &str) {
        self.end(step, Outcome::Completed { value: Value::Null, schedule_in: None, route: None });
    }

    fn fail(&mut self, step: &str, retryable: bool) {
        self.end(step, Outcome::Failed { failure: Failure::new("boom", "no"), retryable, retry_after: None });
    }

    fn explain(&self) -> Explanation {
        self.explain_with(true, Some(&self.definition))
    }

    fn explain_with(&self, registered: bool, definition: Option<&Definition>) -> Explanation {
        let history = RunHistory { attempts: Vec::new(), audit: Vec::new(), intents: self.intents.clone() };
        let state = &self.state;
        let newest = Some(&*self.definition);
        let (replayable, adoption) = (true, false);
        let (history, now) = (&history, self.now);
        explain(&Subject { state, definition, registered, replayable, newest, adoption, history, now })
    }
}

fn two_steps() -> crate::workflow::WorkflowBuilder {
    Workflow::builder("two")
        .step(Step::new("first", nothing).retry(Retry::fixed(2, secs(60))))
        .step(Step::new("second", wait(secs(90))))
        .then("first", "second")
        .then("second", COMPLETE)
}

fn with_approval() -> crate::workflow::WorkflowBuilder {
    Workflow::builder("approved")
        .step(Step::new("ask", approval()))
        .step(Step::new("hold", pause()))
        .step(Step::new("undo", nothing))
        .then("ask", "hold")
        .on_error("ask", "undo")
        .then("hold", COMPLETE)
        .then("undo", COMPLETE)
}

#[test]
fn a_fresh_run_waits_to_be_taken_up() {
    let explanation = Driven::start(two_steps()).explain();
    assert_eq!((explanation.reason, explanation.attempt), (Reason::PendingDispatch, Some(1)));
    assert_eq!(explanation.step, Some(name("first")));
    assert_eq!(explanation.actions, [NextAction::Cancel]);
    assert!(explanation.evidence.iter().any(|evidence| matches!(evidence, Evidence::Intent(_))));
}

#[test]
fn a_running_step_is_named_with_its_attempt() {
    let mut run = Driven::start(two_steps());
    run.begin("first");
    let explanation = run.explain();
    assert_eq!((explanation.reason, explanation.attempt), (Reason::StepRunning, Some(1)));
    assert!(explanation.evidence.contains(&Evidence::Attempt { step: name("first"), number: 1 }));
}

#[test]
fn a_retry_says_when_and_why() {
    let mut run = Driven::start(two_steps());
    run.fail("first", true);
    let explanation = run.explain();
    assert_eq!((explanation.reason, explanation.attempt), (Reason::WaitingForRetry, Some(2)));
    assert_eq!(explanation.at, Some(run.now.after(secs(60))));
    assert_eq!(explanation.failure.map(|failure| failure.kind), Some("boom".into()));
    run.now = run.now.after(secs(61));
    assert_eq!(run.explain().reason, Reason::StepScheduled);
}

#[test]
fn a_timer_says_when_it_is_due() {
    let mut run = Driven::start(two_steps());
    run.succeed("first");
    let explanation = run.explain();
    assert_eq!((explanation.reason, explanation.at), (Reason::WaitingForTimer, Some(run.now.after(secs(90)))));
}

#[test]
fn exhausted_retries_differ_from_a_terminal_failure() {
    let mut exhausted = Driven::start(two_steps());
    exhausted.fail("first", true);
    exhausted.fail("first", true);
    assert_eq!(exhausted.explain().reason, Reason::RetryExhausted);
    assert_eq!(exhausted.explain().actions, [NextAction::Replay, NextAction::Resume]);
    let mut failed = Driven::start(two_steps());
    failed.fail("first", false);
    assert_eq!(failed.explain().reason, Reason::StepFailed);
}

#[test]
fn a_paused_run_offers_what_it_waits_for() {
    let mut run = Driven::start(with_approval());
    run.begin("ask");
    let explanation = run.explain();
    assert_eq!(explanation.reason, Reason::PausedForApproval);
    assert_eq!(explanation.actions, [NextAction::Approve, NextAction::Reject, NextAction::Cancel]);
    let decided = engine::Attribution { actor: Some("ann".to_owned()), ..Default::default() };
    run.decide(|work| engine::decide(work, engine::ApprovalDecision::Approve, decided, &accept).unwrap());
    run.begin("hold");
    let explanation = run.explain();
    assert_eq!(explanation.reason, Reason::PausedForManualAction);
    assert_eq!(explanation.actions, [NextAction::Unblock, NextAction::Cancel]);
}

#[test]
fn a_paused_run_that_cannot_continue_says_so() {
    let mut run = Driven::start(with_approval());
    run.begin("ask");
    assert_eq!(run.explain_with(false, None).reason, Reason::PausedWithUnavailableWorkflow);
    let ask = run.state.steps.get_mut("ask").unwrap();
    ask.continuation.as_mut().unwrap().ok = crate::definition::Target::Step(name("gone"));
    assert_eq!(run.explain().reason, Reason::PausedWithInvalidResumeTarget);
    assert_eq!(run.explain().actions, [NextAction::Reject, NextAction::Cancel]);
    run.state.steps.get_mut("ask").unwrap().continuation = None;
    assert_eq!(run.explain().reason, Reason::PausedWithMissingResumeMetadata);
    assert_eq!(run.explain().actions, [NextAction::Cancel]);
}

#[test]
fn a_run_of_an_unknown_version_waits_for_it() {
    let mut run = Driven::start(two_steps());
    assert_eq!(run.explain().definition, None);
    let other = Workflow::builder("two").trigger(Trigger::manual("go")).step(Step::new("first", wait(secs(1))));
    let other = other.step(Step::new("end", nothing)).then("first", "end").then("end", COMPLETE).build().unwrap();
    let pinned = std::mem::replace(&mut run.definition, other.definition().clone());
    let explanation = run.explain_with(false, Some(&pinned));
    assert_eq!(explanation.reason, Reason::WaitingForDefinition);
    let missing = explanation.definition.unwrap();
    assert_eq!((missing.version, missing.newest), (*pinned.fingerprint(), Some(*run.definition.fingerprint())));
    assert!(!missing.adoption);
    let kind = engine::Difference::OtherKind { step: name("first"), from: "handler".into(), to: "wait".into() };
    assert_eq!(missing.differences, [kind]);
}

#[test]
fn a_step_whose_worker_died_waits_for_its_version() {
    let mut run = Driven::start(two_steps());
    run.begin("first");
    let intent = IntentRecord { available_at: run.now.after(secs(30)), ..run.intents[0].clone() };
    run.intents = vec![intent];
    assert_eq!(run.explain_with(false, Some(&run.definition)).reason, Reason::StepRunning, "elsewhere, it seems");
    run.now = run.now.after(secs(30));
    assert_eq!(run.explain_with(false, Some(&run.definition)).reason, Reason::WaitingForDefinition);
}

#[test]
fn a_step_that_is_claimed_and_not_yet_begun_waits_for_no_time() {
    let mut run = Driven::start(two_steps());
    let token = LeaseToken::from_uuid(Uuid::from_u128(1));
    let until = run.now.after(secs(30));
    run.intents = vec![IntentRecord { available_at: until, lease: Some(token), ..run.intents[0].clone() }];
    let explanation = run.explain();
    assert_eq!((explanation.reason, explanation.at), (Reason::PendingDispatch, Some(until)));
}

#[test]
fn the_ends_of_a_run_are_distinguished() {
    let mut cancelling = Driven::start(two_steps());
    let Begin::Execute(task) = cancelling.begin("first") else { panic!("it begins") };
    cancelling.decide(|work| engine::cancel(work, engine::Attribution::default()).unwrap());
    assert_eq!(cancelling.explain().reason, Reason::Cancelling);
    assert_eq!(cancelling.explain().actions, []);
    let done = Outcome::Completed { value: Value::Null, schedule_in: None, route: None };
    cancelling.decide(|work| engine::record(work, &task, done, None, &accept).unwrap());
    assert_eq!(cancelling.explain().reason, Reason::Cancelled);

    let mut completed = Driven::start(two_steps());
    completed.succeed("first");
    completed.begin("second");
    assert_eq!(completed.state.run.status, RunStatus::Completed);
    assert_eq!(completed.explain().reason, Reason::Completed);
}

#[test]
fn what_cannot_be_undone_has_to_be_allowed_in_a_replay() {
    let mut run = Driven::start(
        Workflow::builder("once")
            .step(Step::new("pay", nothing).irreversible())
            .step(Step::new("ship", nothing))
            .then("pay", "ship")
            .then("ship", COMPLETE),
    );
    run.succeed("pay");
    run.succeed("ship");
    assert_eq!(run.explain().actions, [NextAction::ReplayAllowingIrreversible]);
    assert_eq!(engine::unsafe_to_replay(&run.state), [name("pay")]);
}

#[test]
fn a_graph_shows_the_path_that_was_taken() {
    let mut run = Driven::start(with_approval());
    run.begin("ask");
    let decided = engine::Attribution { actor: Some("ann".to_owned()), ..Default::default() };
    run.decide(|work| engine::decide(work, engine::ApprovalDecision::Reject, decided, &accept).unwrap());
    run.succeed("undo");
    let drawn = graph(&run.state, &run.definition);
    let taken: Vec<String> = drawn
        .edges
        .iter()
        .filter(|edge| edge.taken)
        .map(|edge| format!("{}→{}", edge.from, edge.to.as_ref().map_or("end", |to| to.as_str())))
        .collect();
    assert_eq!(taken, ["ask→undo", "undo→end"]);
    assert!(drawn.to_mermaid().contains("s0 ==>|error| s2"), "{}", drawn.to_mermaid());
    assert!(drawn.to_dot().contains("s0 -> s1 [label=\"ok\", style=dashed];"), "{}", drawn.to_dot());
}

#[test]
fn a_graph_shows_which_of_several_edges_was_taken() {
    let declared = |condition: Condition| {
        let steps = Workflow::builder("w").step(Step::new("a", nothing).output("a")).step(Step::new("b", nothing));
        let steps = steps.then_if("a", not(when("a").exists()), "b").then_if("a", condition, "b").then("a", "b");
        steps.then("b", COMPLETE)
    };
    let mut run = Driven::start(declared(when("a").exists()));
    run.succeed("a");
    let taken = |version: &Definition| {
        let drawn = graph(&run.state, version);
        let taken = drawn.edges.iter().filter(|edge| edge.taken).map(|edge| edge.guard.as_ref().map(Guard::to_string));
        taken.collect::<Vec<_>>()
    };
    assert_eq!(taken(&run.definition), [Some("if a exists".to_owned())]);
    // A version that adopts the run, and has another condition there: each edge to that step stands for it.
    let other = declared(when("a").is(1)).trigger(Trigger::manual("go")).build().unwrap();
    assert_eq!(taken(other.definition()).len(), 3);
}

#[test]
fn names_cannot_break_out_of_a_drawing() {
    let run = Driven::start(
        Workflow::builder("odd").step(Step::new("a\"] --> b", nothing)).step(Step::new("c\\", nothing)).parallel(),
    );
    let drawn = graph(&run.state, &run.definition);
    assert!(!drawn.to_mermaid().contains("\"] -->"));
    assert!(drawn.to_dot().contains("a\\\"] --> b"));
    assert!(drawn.to_dot().contains("c\\\\\\n"));
}

#[test]
fn a_join_names_what_it_waits_for() {
    let mut run = Driven::start(
        Workflow::builder("join")
            .step(Step::new("a", nothing))
            .step(Step::new("b", nothing))
            .step(Step::new("join", nothing).after(["a", "b"])),
    );
    run.succeed("a");
    run.state.steps.remove("b");
    run.intents.clear();
    let explanation = run.explain();
    assert_eq!(explanation.reason, Reason::WaitingForDependencies);
    assert_eq!(explanation.waits_for, [WaitsFor { step: name("b"), state: StepState::Waiting }]);
}

#[test]
fn what_still_runs_beside_a_failure_may_not_be_repeated_unasked() {
    let mut run = Driven::start(
        Workflow::builder("fan")
            .step(Step::new("mail", nothing).irreversible())
            .step(Step::new("check", nothing))
            .parallel(),
    );
    run.begin("mail");
    run.fail("check", false);
    assert_eq!(run.state.run.status, RunStatus::Failed);
    assert_eq!(engine::unsafe_to_replay(&run.state), [name("mail")]);
    assert_eq!(run.explain().actions, [NextAction::ReplayAllowingIrreversible]);
}

#[test]
fn a_cancelled_run_did_not_go_to_the_end() {
    let mut run = Driven::start(Workflow::builder("one").step(Step::new("only", nothing)).then("only", COMPLETE));
    let Begin::Execute(task) = run.begin("only") else { panic!("it begins") };
    run.decide(|work| engine::cancel(work, engine::Attribution::default()).unwrap());
    let done = Outcome::Completed { value: Value::Null, schedule_in: None, route: None };
    run.decide(|work| engine::record(work, &task, done, None, &accept).unwrap());
    assert_eq!(run.state.run.status, RunStatus::Cancelled);
    assert!(graph(&run.state, &run.definition).edges.iter().all(|edge| !edge.taken));
}

#[test]
fn a_step_that_does_not_wait_cannot_say_how_a_paused_run_continues() {
    let mut run = Driven::start(with_approval());
    run.begin("ask");
    run.state.steps.get_mut("ask").unwrap().status = crate::run::StepStatus::Failed;
    assert_eq!(run.explain().reason, Reason::PausedWithMissingResumeMetadata);
    assert_eq!(run.explain().actions, [NextAction::Cancel]);
}
