//! A test harness for one run: the state that its commits made, with every decision checked as a store would
//! check it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::definition::{Definition, Priority};
use crate::dispatch::{DispatchOptions, Intent, IntentKey, Job, JobMetadata, Lease, Refusal};
use crate::engine::{
    Attribution, Begin, BeginCompensation, CommandRefused, CompensationTask, Continuation, Decision, DecisionInputs,
    DescribeJobs, DispatchRefused, Dispatched, Limits, NewRun, Outcome, RecordOutcome, RecordedCompensation, StepTask,
    UnitOfWork, begin, begin_compensation, cancel, dispatch_steps, record, record_compensation, start,
};
use crate::event::EventKind;
use crate::handler::{StepContext, StepResult};
use crate::id::RunId;
use crate::name::{QueueName, StepName, TriggerName};
use crate::port::{CommitToken, IntentWrite, LeaseToken, StepWrite};
use crate::run::{
    Attempt, AttemptStatus, AuditEvent, Failure, InvalidTransition, Run, RunSnapshot, RunStatus, StepRun, StepStatus,
};
use crate::time::Timestamp;
use crate::workflow::{Step, Trigger, Workflow, WorkflowBuilder};

/// The duration of the leases of a worker that continues with a successor.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// One run, all of its stored data, and a manual clock.
pub(super) struct Harness {
    pub(super) definition: Arc<Definition>,
    pub(super) state: RunSnapshot,
    pub(super) intents: BTreeMap<IntentKey, Intent>,
    pub(super) attempts: BTreeMap<(StepName, u32), Attempt>,
    /// The attempts that are stored as ended.
    ended: BTreeSet<(StepName, u32)>,
    pub(super) audit: Vec<AuditEvent>,
    pub(super) now: Timestamp,
    pub(super) limits: Limits,
    pub(super) executor: Executor,
    fresh: u128,
}

/// How the executor answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Executor {
    Accepts,
    RefusesForGood,
    IsDown,
    AnswersForTooFew,
}

impl DescribeJobs for Executor {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        match self {
            Executor::Accepts => Ok(jobs.iter().map(Job::metadata).collect()),
            Executor::RefusesForGood => {
                Err(Refusal::Unroutable { job_id: jobs[0].key.to_string(), reason: "no such queue".to_owned() })
            }
            Executor::IsDown => Err(Refusal::Unavailable { reason: "no connection".to_owned() }),
            Executor::AnswersForTooFew => Ok(Vec::new()),
        }
    }
}

/// A decision that was applied, and its returned value.
#[derive(Debug)]
pub(super) struct Decided<T> {
    pub(super) value: T,
    pub(super) decision: Decision,
}

impl<T> Decided<T> {
    /// Returns the names of the events, in order.
    pub(super) fn events(&self) -> Vec<&'static str> {
        self.decision.events.iter().map(|event| event.kind.name()).collect()
    }

    /// Returns the ids of the dispatched jobs, in order.
    pub(super) fn dispatched(&self) -> Vec<String> {
        dispatched(&self.decision)
    }
}

impl Decided<Begin> {
    /// Returns the task that was begun.
    pub(super) fn task(&self) -> StepTask {
        match &self.value {
            Begin::Execute(task) => task.clone(),
            other => panic!("nothing to execute: {other:?}"),
        }
    }
}

impl Decided<RecordOutcome> {
    /// Returns the successor with which the worker continues.
    pub(super) fn next(&self) -> Option<StepTask> {
        match &self.value {
            RecordOutcome::Recorded { next } => next.clone(),
            RecordOutcome::Superseded => panic!("the outcome was superseded"),
        }
    }
}

/// Returns the job ids, without the run, of the dispatch events.
pub(super) fn dispatched(decision: &Decision) -> Vec<String> {
    let jobs = decision.events.iter().filter_map(|event| match &event.kind {
        EventKind::RunDispatched { metadata } => Some(&metadata.job_id),
        _ => None,
    });
    jobs.map(|job| job.split('/').nth(1).unwrap_or("compensation").to_owned()).collect()
}

impl Harness {
    /// Starts a run with an empty payload.
    pub(super) fn start(definition: &Workflow) -> Harness {
        Harness::start_with(definition, Map::new())
    }

    pub(super) fn start_with(workflow: &Workflow, payload: Map<String, Value>) -> Harness {
        let definition = workflow.definition().clone();
        let now = Timestamp::from_millis(1_767_225_600_000);
        let decision =
            start(definition.clone(), new_run(payload), inputs(now, 1), Limits::default(), &Executor::Accepts)
                .expect("the run starts")
                .close();
        Harness::on(definition, &decision)
    }

    /// Returns the harness of a run that this decision started.
    pub(super) fn on(definition: Arc<Definition>, decision: &Decision) -> Harness {
        let mut harness = Harness {
            state: RunSnapshot::new(Run { revision: 0, ..decision.state.run.clone() }, []),
            definition,
            now: decision.state.run.created_at,
            intents: BTreeMap::new(),
            attempts: BTreeMap::new(),
            ended: BTreeSet::new(),
            audit: Vec::new(),
            limits: Limits::default(),
            executor: Executor::Accepts,
            fresh: 1,
        };
        harness.apply(decision);
        harness
    }

    pub(super) fn status(&self) -> RunStatus {
        self.state.run.status
    }

    pub(super) fn step(&self, step: &str) -> &StepRun {
        &self.state.steps[&name(step)]
    }

    pub(super) fn input(&self, step: &str) -> Arc<Map<String, Value>> {
        self.state.input_of(self.step(step), &self.definition)
    }

    pub(super) fn step_status(&self, step: &str) -> Option<StepStatus> {
        self.state.steps.get(&name(step)).map(|run| run.status)
    }

    /// Returns the attempts of a step, in the order in which they are stored.
    pub(super) fn tries(&self, step: &str) -> Vec<(u32, AttemptStatus)> {
        let step = name(step);
        self.attempts.values().filter(|found| found.step == step).map(|found| (found.number, found.status)).collect()
    }

    pub(super) fn intent(&self, step: &str) -> Option<&Intent> {
        self.intents.get(&self.key(step))
    }

    /// Returns the steps that have an intent, and whether the compensation has one.
    pub(super) fn outstanding(&self) -> Vec<String> {
        self.intents
            .keys()
            .map(|key| key.target.step().map_or("compensation".to_owned(), ToString::to_string))
            .collect()
    }

    pub(super) fn key(&self, step: &str) -> IntentKey {
        IntentKey::step(self.state.run.id, name(step))
    }

    /// Returns a claim on a step that no other worker has.
    pub(super) fn lease(&mut self, step: &str) -> Lease {
        let key = self.key(step);
        Lease { key, token: self.token() }
    }

    pub(super) fn token(&mut self) -> LeaseToken {
        self.fresh += 1;
        LeaseToken::from_uuid(Uuid::from_u128(self.fresh))
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
    }

    /// Opens a unit of work on the current run.
    pub(super) fn open(&mut self) -> UnitOfWork {
        self.fresh += 1;
        UnitOfWork::open(self.definition.clone(), self.state.clone(), inputs(self.now, self.fresh), self.limits)
    }

    /// Decides and applies; an error leaves the run unchanged.
    pub(super) fn decide<T, E>(
        &mut self,
        command: impl FnOnce(&mut UnitOfWork, &dyn DescribeJobs) -> Result<T, E>,
    ) -> Result<Decided<T>, E> {
        let mut work = self.open();
        let executor = self.executor;
        let value = command(&mut work, &executor)?;
        let decision = work.close();
        self.apply(&decision);
        Ok(Decided { value, decision })
    }

    /// Begins a step under a fresh claim.
    pub(super) fn begin(&mut self, step: &str) -> Decided<Begin> {
        let lease = self.lease(step);
        self.begin_under(&lease)
    }

    pub(super) fn begin_under(&mut self, lease: &Lease) -> Decided<Begin> {
        let step = lease.key.target.step().expect("a claim on a step").clone();
        self.decide(|work, jobs| begin(work, &step, lease, jobs)).expect("the stored state makes sense")
    }

    pub(super) fn record(&mut self, task: &StepTask, outcome: Outcome) -> Decided<RecordOutcome> {
        self.decide(|work, jobs| record(work, task, outcome, None, jobs)).expect("the stored state makes sense")
    }

    /// Records an outcome, and continues with the successor if it is due at once.
    pub(super) fn record_and_continue(&mut self, task: &StepTask, outcome: Outcome) -> Decided<RecordOutcome> {
        let queues = [QueueName::default()];
        let continuation =
            Continuation { token: task.lease.token, lease: LEASE, queues: &queues, lowest: Priority::Low };
        self.decide(|work, jobs| record(work, task, outcome, Some(continuation), jobs))
            .expect("the stored state makes sense")
    }

    /// Executes a step with this output.
    pub(super) fn complete(&mut self, step: &str, output: Value) -> Decided<RecordOutcome> {
        let task = self.begin(step).task();
        self.record(&task, completed(output))
    }

    /// Executes a step, which fails permanently.
    pub(super) fn fail(&mut self, step: &str) -> Decided<RecordOutcome> {
        let task = self.begin(step).task();
        self.record(&task, failed())
    }

    /// Fails the run as the loss of a successor would, even if steps are pending.
    pub(super) fn fail_run(&mut self, kind: &str) {
        let step = self.state.run.current_step.clone().expect("a current step");
        let failure = Failure::new(kind, "it was lost").at(&step);
        self.decide(|work, jobs| crate::engine::settle::fail_run(work, failure, jobs)).expect("a running run");
    }

    pub(super) fn cancel(&mut self) -> Result<Decided<()>, CommandRefused> {
        self.decide(|work, _| cancel(work, Attribution::default()))
    }

    pub(super) fn dispatch(
        &mut self,
        targets: &[&str],
        options: &DispatchOptions,
    ) -> Result<Decided<Dispatched>, DispatchRefused> {
        let targets: Vec<StepName> = targets.iter().map(|step| name(step)).collect();
        self.decide(|work, jobs| dispatch_steps(work, &targets, options, jobs))
    }

    /// Begins a compensation callback under a fresh claim.
    pub(super) fn begin_compensation(&mut self) -> Decided<BeginCompensation> {
        let lease = Lease { key: IntentKey::compensation(self.state.run.id), token: self.token() };
        self.decide(|work, _| Ok::<_, InvalidTransition>(begin_compensation(work, &lease))).unwrap()
    }

    pub(super) fn record_compensation(
        &mut self,
        task: &CompensationTask,
        outcome: Outcome,
    ) -> Decided<RecordedCompensation> {
        self.decide(|work, _| record_compensation(work, task, outcome)).unwrap()
    }

    /// Applies a decision, with the checks of a strict store.
    pub(super) fn apply(&mut self, decision: &Decision) {
        let commit = &decision.commit;
        assert_eq!(commit.run.revision, self.state.run.revision + 1, "every commit is the next revision");
        assert_eq!(commit.run, decision.state.run);
        self.state.run = commit.run.clone();
        for write in &commit.steps {
            let (step, created) = match write {
                StepWrite::Create(step) => (step, true),
                StepWrite::Update(step) | StepWrite::CopyInput(step) => (step, false),
            };
            let before = self.state.steps.insert(step.step.clone(), step.clone());
            assert_eq!(before.is_none(), created, "step {} is created once and updated afterwards", step.step);
            if let Some(before) = before {
                assert_eq!(before.recovery, step.recovery, "a recovery policy is final");
                let copied = matches!(write, StepWrite::CopyInput(_));
                assert_eq!(before.input != step.input, copied, "an input is final, and copied only where that is said");
            }
        }
        if let Some(signals) = &commit.signals {
            self.state.signals.clone_from(signals);
        }
        assert_eq!(self.state, decision.state, "the commit holds all that the decision changed");
        // The last attempt of a step run may change; a stored attempt stays as it is.
        self.attempts.retain(|key, _| self.ended.contains(key));
        for attempt in &commit.attempts {
            let key = (attempt.step.clone(), attempt.number);
            assert!(self.ended.insert(key.clone()), "attempt {key:?} ends once");
            self.attempts.insert(key, attempt.clone());
        }
        for decided in self.state.steps.values().filter_map(StepRun::last_attempt) {
            let key = (decided.step.clone(), decided.number);
            assert!(self.attempts.insert(key, decided).is_none(), "nothing is decided twice");
        }
        for write in &commit.intents {
            match write {
                IntentWrite::Add(intent) => {
                    self.intents.entry(intent.key.clone()).or_insert_with(|| intent.clone());
                }
                IntentWrite::Replace(intent) => {
                    self.intents.insert(intent.key.clone(), intent.clone());
                }
                IntentWrite::Remove(key) => {
                    self.intents.remove(key);
                }
                IntentWrite::Repin { key, fingerprint, queue, priority } => {
                    if let Some(intent) = self.intents.get_mut(key) {
                        (intent.fingerprint, intent.queue, intent.priority) = (*fingerprint, queue.clone(), *priority);
                    }
                }
            }
        }
        self.audit.extend(commit.audit.iter().cloned());
    }
}

pub(super) fn inputs(now: Timestamp, token: u128) -> DecisionInputs {
    DecisionInputs { now, random: 0.5, token: CommitToken::from_uuid(Uuid::from_u128(token)) }
}

pub(super) fn new_run(payload: Map<String, Value>) -> NewRun {
    NewRun {
        id: RunId::from_uuid(Uuid::from_u128(7)),
        trigger: TriggerName::new("manual").unwrap(),
        payload,
        intended_at: None,
        idempotency_key: None,
        replay: None,
    }
}

pub(super) fn name(step: &str) -> StepName {
    StepName::new(step).unwrap()
}

async fn nothing(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

/// Returns a step of which only the declaration matters here.
pub(super) fn step(name: &str) -> Step {
    Step::new(name, nothing)
}

pub(super) fn workflow() -> WorkflowBuilder {
    Workflow::builder("tested").trigger(Trigger::manual("manual"))
}

/// Returns a chain of steps, by transitions.
pub(super) fn chain<const N: usize>(steps: [&str; N]) -> WorkflowBuilder {
    let declared = steps.iter().fold(workflow(), |builder, name| builder.step(step(name)));
    let followed = steps.windows(2).fold(declared, |builder, pair| builder.then(pair[0], pair[1]));
    followed.then(steps[N - 1], crate::workflow::COMPLETE)
}

pub(super) fn completed(value: Value) -> Outcome {
    Outcome::Completed { value, schedule_in: None, route: None }
}

pub(super) fn failed() -> Outcome {
    Outcome::Failed { failure: Failure::new("declined", "no"), retryable: false, retry_after: None }
}

pub(super) fn failed_for_now() -> Outcome {
    Outcome::Failed { failure: Failure::new("busy", "later"), retryable: true, retry_after: None }
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}
