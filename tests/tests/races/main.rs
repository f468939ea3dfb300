//! Two processes that act on one run at once: thousands of races for each pair of acts, on Postgres. One wins; the
//! other's act is refused with a typed error, or is a legal successor; and the stored data matches.
//!
//! `SQUIDMESH_RACES=10000 cargo xtask test -p squidmesh-tests races` is the long form.
//!
//! The two are runtimes on separate stores, so that only the database stands between them. Runs are inserted into the
//! database in batches, in the state that the race is about, and the results are read back in bulk.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

mod signals;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::{Map, Value};
use squidmesh_core::command::{
    CommandError, CommandRefused, DecideApproval, DeliveryOutcome, HeldClaim, SquidmeshBuilder,
};
use squidmesh_core::definition::TriggerName;
use squidmesh_core::dispatch::{IntentKey, Job, JobMetadata, Lease, Refusal};
use squidmesh_core::port::{Clock, Commit, CommitOutcome, IntentWrite, Precondition, StepWrite, StoreSession};
use squidmesh_core::run::{AuditEvent, InvalidTransition};
use squidmesh_core::testing::engine::{self, DecisionInputs, Limits, NewRun, UnitOfWork};
use squidmesh_core::testing::sample;
use squidmesh_core::{
    COMPLETE, Run, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, approval,
};
use squidmesh_executor_tokio::{SystemClock, TokioExecutor};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{TestDatabase, block_on};

/// The number of races of each pair of acts: the gate has little time.
static RACES: LazyLock<u64> =
    LazyLock::new(|| std::env::var("SQUIDMESH_RACES").map_or(2_000, |text| text.parse().expect("a number")));
/// The number of concurrent races.
const OPEN: usize = 48;
/// The number of runs inserted at once.
const BATCH: u64 = 500;

/// The parts of the story of a run, in SQL.
const STORY: &str = "status, \
    (SELECT string_agg(concat(step, ' ', status, ' ', attempt), ', ' ORDER BY created_at, step) FROM squidmesh_step_runs \
        WHERE run_id = id), \
    (SELECT string_agg(concat(step, ' ', number, ' ', status), ', ' ORDER BY step, number) FROM squidmesh_attempts \
        WHERE run_id = id), \
    (SELECT string_agg(concat(kind, ' ', actor), ', ' ORDER BY revision, ordinal) FROM squidmesh_audit \
        WHERE run_id = id), \
    (SELECT string_agg(step, ', ' ORDER BY step) FROM squidmesh_intents WHERE run_id = id)";

/// Two processes on one database, and a connection to inspect it.
struct Arena {
    _database: TestDatabase,
    stores: [SeaOrmStore; 2],
    processes: [Squidmesh; 2],
    eye: DatabaseConnection,
    began: Instant,
}

/// The state of the runs of a race.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// The first step is due.
    Due,
    /// The first step waits, for a decision or for a signal.
    Asked,
    /// It has ended.
    Ended,
}

fn asking() -> Workflow {
    Workflow::builder("asking")
        .trigger(Trigger::manual("manual"))
        .step(Step::new("ask", approval()))
        .step(Step::new("yes", nothing))
        .step(Step::new("no", nothing))
        .then("ask", "yes")
        .on_error("ask", "no")
        .then("yes", COMPLETE)
        .then("no", COMPLETE)
        .build()
        .unwrap()
}

fn working() -> Workflow {
    Workflow::builder("working")
        .trigger(Trigger::manual("manual"))
        .step(Step::new("work", nothing))
        .then("work", COMPLETE)
        .build()
        .unwrap()
}

async fn nothing(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn accept(jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
    Ok(jobs.iter().map(Job::metadata).collect())
}

/// Returns the commit that stores a run as it is at a stage, all in one.
fn placed(workflow: &Workflow, stage: Stage, number: u64) -> Commit {
    let definition = workflow.definition();
    let moment = DecisionInputs { now: SystemClock.now(), random: 0.5, token: sample::commit_token(number) };
    let new = NewRun {
        id: sample::run_id(number),
        trigger: TriggerName::new("manual").unwrap(),
        payload: Map::new(),
        idempotency_key: None,
        intended_at: None,
        replay: None,
    };
    let started = engine::start(definition.clone(), new, moment, Limits::default(), &accept).unwrap().close();
    let mut commit = started.commit;
    commit.definition = Some(definition.clone());
    if stage == Stage::Due {
        return commit;
    }
    let step = definition.steps()[0].name.clone();
    let lease = Lease { key: IntentKey::step(started.state.run.id, step.clone()), token: sample::lease_token(number) };
    let mut work = UnitOfWork::open(definition.clone(), started.state, moment, Limits::default());
    let begun = engine::begin(&mut work, &step, &lease, &accept).unwrap();
    let mut decision = work.close();
    if let (Stage::Ended, engine::Begin::Execute(task)) = (stage, begun) {
        let mut work = UnitOfWork::open(definition.clone(), decision.state, moment, Limits::default());
        let outcome = engine::Outcome::Completed { value: Value::Null, schedule_in: None, route: None };
        engine::record(&mut work, &task, outcome, None, &accept).unwrap();
        decision = work.close();
        assert_eq!(decision.state.run.status, RunStatus::Completed);
    }
    let first = |event: AuditEvent| AuditEvent { revision: 1, ..event };
    let is_left = |intent: &IntentWrite| !matches!(intent, IntentWrite::Remove(_));
    Commit {
        run: Run { revision: 1, ..decision.state.run },
        precondition: Precondition::Absent,
        fences: Vec::new(),
        steps: decision.state.steps.into_values().map(StepWrite::Create).collect(),
        attempts: decision.commit.attempts,
        intents: decision.commit.intents.into_iter().filter(is_left).collect(),
        signals: None,
        audit: decision.commit.audit.into_iter().map(first).collect(),
        definition: commit.definition,
    }
}

impl Arena {
    async fn new() -> Self {
        let database = TestDatabase::postgres().await;
        let eye = Database::connect(database.url()).await.unwrap();
        let stores =
            [SeaOrmStore::connect(database.url()).await.unwrap(), SeaOrmStore::connect(database.url()).await.unwrap()];
        let process = |store: &SeaOrmStore| {
            let builder = Squidmesh::builder(store.clone()).executor(TokioExecutor::new());
            let builder = builder.workflow(asking()).workflow(working());
            signals::workflows().into_iter().fold(builder, SquidmeshBuilder::workflow).build().unwrap()
        };
        let processes = [process(&stores[0]), process(&stores[1])];
        Arena { _database: database, stores, processes, eye, began: Instant::now() }
    }

    /// Inserts all the runs of a race into the database.
    async fn place(&mut self, workflow: &Workflow, stage: Stage) -> Vec<RunId> {
        for from in (0..*RACES).step_by(BATCH as usize) {
            let batch = (from..from + BATCH).map(|number| placed(workflow, stage, number)).collect();
            for answer in self.stores[0].commit(batch).await.unwrap() {
                assert_eq!(answer.unwrap(), CommitOutcome::Committed);
            }
        }
        self.began = Instant::now();
        (0..*RACES).map(sample::run_id).collect()
    }

    /// Runs every race, some concurrently, and returns the results by run.
    async fn race<T, F: Future<Output = T>>(
        &self,
        runs: &[RunId],
        race: impl Fn(RunId, usize) -> F,
    ) -> BTreeMap<RunId, T> {
        let races = stream::iter(runs.iter().enumerate())
            .map(|(number, run)| {
                let race = race(*run, number);
                async move { (*run, race.await) }
            })
            .buffer_unordered(OPEN);
        let results: BTreeMap<RunId, T> = races.collect().await;
        let held = self.processes.each_ref().map(Squidmesh::held_states);
        assert_eq!(held, [0, 0], "what no worker holds is not kept");
        println!("{} races in {:?}", results.len(), self.began.elapsed());
        results
    }

    /// Returns what a query finds for each run, as text.
    async fn by_run(&self, query: &str) -> BTreeMap<RunId, String> {
        let statement = Statement::from_string(DbBackend::Postgres, query);
        let rows = self.eye.query_all_raw(statement).await.unwrap();
        rows.iter()
            .map(|row| (RunId::from_uuid(row.try_get_by("run").unwrap()), row.try_get_by("found").unwrap()))
            .collect()
    }

    /// Returns the story of each run as it is stored: its status; its steps with their status and number of attempts;
    /// the attempts that did not complete them; the audit trail with its actors; the intents.
    async fn stories(&self) -> BTreeMap<RunId, String> {
        self.by_run(&format!("SELECT id AS run, concat_ws(' | ', {STORY}) AS found FROM squidmesh_runs")).await
    }

    /// Checks that every run has the story that its result requires, and that every kind of result was seen.
    async fn compare<T: std::fmt::Debug>(
        &self,
        results: &BTreeMap<RunId, T>,
        kinds: usize,
        story: impl Fn(&T) -> String,
    ) {
        compare(&self.stories().await, results, kinds, story);
    }

    /// Claims the intent of every run, as one of the processes, and returns the claims by run.
    async fn claim(&self, runs: &[RunId]) -> Mutex<BTreeMap<RunId, HeldClaim>> {
        let mut claims = BTreeMap::new();
        while claims.len() < runs.len() {
            for claim in self.processes[0].runner().claim(1_000).await.unwrap().claims {
                claims.insert(claim.lease.key.run_id, claim);
            }
        }
        Mutex::new(claims)
    }
}

/// Checks that every run has the story that its result requires, and that every kind of result was seen.
fn compare<T: std::fmt::Debug>(
    stories: &BTreeMap<RunId, String>,
    results: &BTreeMap<RunId, T>,
    kinds: usize,
    story: impl Fn(&T) -> String,
) {
    assert_eq!(results.len() as u64, *RACES);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (run, result) in results {
        let expected = story(result);
        assert_eq!(stories[run], expected, "run {run}: {result:?}");
        *seen.entry(expected).or_default() += 1;
    }
    println!("{seen:#?}");
    assert!(seen.len() >= kinds, "every order of events was seen: {seen:#?}");
}

/// Does both, in an order that changes from race to race. In a few of them one waits for the other, so that however
/// busy the machine is, each comes first at times.
async fn both<A, B>(number: usize, one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    match number % 16 {
        0 => {
            let first = one.await;
            (first, other.await)
        }
        1 => {
            let first = other.await;
            (one.await, first)
        }
        even if even % 2 == 0 => tokio::join!(one, other),
        _ => {
            let (other, one) = tokio::join!(other, one);
            (one, other)
        }
    }
}

/// Returns whether a command was executed; it may only be refused for the status that the winner left.
fn carried_out(answer: &Result<Run, CommandError>) -> bool {
    match answer {
        Ok(_) => true,
        Err(CommandError::Refused(CommandRefused::InvalidTransition(InvalidTransition { .. }))) => false,
        Err(other) => panic!("refused for another reason: {other:?}"),
    }
}

/// Returns the name of the one that decided; exactly one of the two may.
fn one_of(first: bool, second: bool, names: [&str; 2]) -> &str {
    match (first, second) {
        (true, false) => names[0],
        (false, true) => names[1],
        both => panic!("exactly one wins: {both:?}"),
    }
}

#[test]
fn of_an_approval_and_a_rejection_one_is_taken() {
    one_decision_is_taken(["approved ann", "rejected rob"], |arena, run| {
        let approve = arena.processes[0].approve_run(run).actor("ann");
        (approve, arena.processes[1].reject_run(run).actor("rob"))
    });
}

#[test]
fn of_two_approvals_one_is_taken() {
    one_decision_is_taken(["approved ann", "approved bob"], |arena, run| {
        let approve = arena.processes[0].approve_run(run).actor("ann");
        (approve, arena.processes[1].approve_run(run).actor("bob"))
    });
}

/// Races two decisions, of which exactly one is taken; the stored data shows which.
fn one_decision_is_taken(
    names: [&'static str; 2],
    decisions: impl Fn(&Arena, RunId) -> (DecideApproval<'static>, DecideApproval<'static>),
) {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&asking(), Stage::Asked).await;
        let results = arena
            .race(&runs, |run, number| {
                let (one, other) = decisions(&arena, run);
                async move {
                    let (one, other) = both(number, one.into_future(), other.into_future()).await;
                    one_of(carried_out(&one), carried_out(&other), names)
                }
            })
            .await;
        arena.compare(&results, 2, |decision| decided(decision)).await;
    });
}

/// One decision, and the step that follows it.
fn decided(decision: &str) -> String {
    let next = if decision.starts_with("approved") { "yes" } else { "no" };
    format!("running | ask completed 1, {next} pending 0 | paused , {decision} | {next}")
}

#[test]
fn approval_and_cancellation_follow_or_exclude_each_other() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&asking(), Stage::Asked).await;
        let results = arena
            .race(&runs, |run, number| {
                let approve = arena.processes[0].approve_run(run).actor("ann").into_future();
                let cancel = arena.processes[1].cancel_run(run).actor("cat").into_future();
                async move {
                    let (approved, cancelled) = both(number, approve, cancel).await;
                    assert!(carried_out(&cancelled), "an approved run can still be cancelled");
                    carried_out(&approved)
                }
            })
            .await;
        arena
            .compare(&results, 2, |approved| match approved {
                true => "cancelled | ask completed 1, yes cancelled 0 | \
                         paused , approved ann, cancelled cat"
                    .to_owned(),
                false => "cancelled | ask cancelled 1 | ask 1 failed | paused , cancelled cat".to_owned(),
            })
            .await;
    });
}

#[test]
fn a_cancellation_comes_before_a_run_completes_or_too_late() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&working(), Stage::Due).await;
        let results = deliver_and_cancel(&arena, &runs).await;
        arena
            .compare(&results, 2, |(delivered, cancelled)| match (delivered, cancelled) {
                (_, false) => "completed | work completed 1".to_owned(),
                (true, true) => "cancelled | work completed 1 | cancelled cat".to_owned(),
                (false, true) => "cancelled | work cancelled 0 | cancelled cat".to_owned(),
            })
            .await;
    });
}

#[test]
fn a_cancellation_comes_before_a_run_pauses_or_ends_the_pause() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&asking(), Stage::Due).await;
        let results = deliver_and_cancel(&arena, &runs).await;
        arena
            .compare(&results, 2, |(delivered, cancelled)| {
                assert!(cancelled, "a paused run can still be cancelled");
                match delivered {
                    true => "cancelled | ask cancelled 1 | ask 1 failed | paused , cancelled cat".to_owned(),
                    false => "cancelled | ask cancelled 0 | cancelled cat".to_owned(),
                }
            })
            .await;
    });
}

/// One process delivers the first step, the other cancels. Returns whether the step was executed, and whether the run
/// was cancelled.
async fn deliver_and_cancel(arena: &Arena, runs: &[RunId]) -> BTreeMap<RunId, (bool, bool)> {
    let (runner, claims) = (arena.processes[0].runner(), arena.claim(runs).await);
    arena
        .race(runs, |run, number| {
            let claim = claims.lock().unwrap().remove(&run).expect("every run is claimed once");
            let deliver = runner.deliver(claim);
            let cancel = arena.processes[1].cancel_run(run).actor("cat").into_future();
            async move {
                let (delivery, cancelled) = both(number, deliver, cancel).await;
                let delivered = match delivery {
                    DeliveryOutcome::Done { steps } => steps == 1,
                    DeliveryOutcome::Ignored(_) => false,
                    other => panic!("{other:?}"),
                };
                (delivered, carried_out(&cancelled))
            }
        })
        .await
}

#[test]
fn two_replays_under_one_key_are_one_run() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&working(), Stage::Ended).await;
        let results = arena
            .race(&runs, |run, number| {
                let replay = |process: usize, actor: &str| {
                    let replay = arena.processes[process].replay_run(run).actor(actor);
                    replay.idempotency_key(run.to_string()).into_future()
                };
                let (ann, bob) = (replay(0, "ann"), replay(1, "bob"));
                async move {
                    let (ann, bob) = both(number, ann, bob).await;
                    let (ann, bob) = (ann.unwrap(), bob.unwrap());
                    assert_eq!((ann.id, ann.replayed_from), (bob.id, Some(run)));
                    ann.id
                }
            })
            .await;
        let replays = arena
            .by_run(
                "SELECT replayed_from AS run, string_agg(id::text, ', ') AS found FROM squidmesh_runs \
                     WHERE replayed_from IS NOT NULL GROUP BY replayed_from",
            )
            .await;
        assert_eq!(replays.len() as u64, *RACES);
        let stories = arena.stories().await;
        assert_eq!(stories.len() as u64, 2 * *RACES);
        let mut winners: BTreeMap<&str, usize> = BTreeMap::new();
        for (run, replay) in &results {
            assert_eq!(replays[run], replay.to_string(), "one run each");
            assert_eq!(stories[run], "completed | work completed 1");
            let story = stories[replay].as_str();
            *winners.entry(story).or_default() += 1;
        }
        let stories: Vec<&str> = winners.keys().copied().collect();
        let expected = ["ann", "bob"].map(|actor| format!("pending | work pending 0 | replayed {actor} | work"));
        assert_eq!(stories, expected, "each of them won sometimes: {winners:#?}");
    });
}
