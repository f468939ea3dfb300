//! A hundred processes killed in the middle of each operation that must not be half done: the outcome is as if none
//! had been killed.

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

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use squidmesh_core::inspect::{RunDetails, StepState};
use squidmesh_core::run::{AuditKind, CompensationStatus, FailureKind};
use squidmesh_core::{RunId, RunStatus, Squidmesh, ms, secs};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::crash::{self, CrashingProcess, LEDGER, Phase, Progress, WORKFLOW, is_approved};
use squidmesh_tests::world::{attempts, states, step};
use squidmesh_tests::{TestDatabase, block_on};

const WORKER: &str = env!("CARGO_BIN_EXE_crash_worker");
/// The number of killed processes.
const KILLS: u64 = 100;
/// The number of runs started for each of them.
const RUNS: usize = 3;
/// The minimum number of kills that must have interrupted work, or nothing was shown.
const INTERRUPTED: usize = 20;

/// What is left when all are dead and all work was completed.
struct Aftermath {
    store: SeaOrmStore,
    runs: Vec<RunDetails>,
    journal: BTreeMap<RunId, Vec<String>>,
    _database: TestDatabase,
    _directory: tempfile::TempDir,
}

/// Kills one process after another in the middle of the phase, and then lets the last one finish.
async fn kill_them_all(database: TestDatabase, phase: Phase) -> Aftermath {
    let directory = tempfile::tempdir().unwrap();
    let journal: PathBuf = directory.path().join("journal");
    let store = SeaOrmStore::connect(database.url()).await.unwrap();
    store.connection().execute_unprepared(LEDGER).await.unwrap();
    let progress = Progress::new(&journal, false);
    let mesh = crash::mesh(store.clone(), phase, &progress);
    let mut ids = Vec::new();
    let mut again = None;
    let begun = Instant::now();
    for kill in 0..KILLS {
        for _ in 0..RUNS {
            ids.push(mesh.start_run(WORKFLOW, &json!({})).await.unwrap().id);
        }
        let name = format!("process-{kill}");
        let mut process = CrashingProcess::start(WORKER, database.url(), phase, &journal, &name, again);
        again = Some(process.in_the_middle().await);
        // From the beginning of the phase to beyond its end, in uneven steps. A decision is over sooner than a timer
        // can measure, so half of the processes are killed at its very beginning.
        let moment = Duration::from_micros(kill * 617 % 9_000);
        if phase != Phase::Approval {
            tokio::time::sleep(moment).await;
        } else if kill % 2 == 1 {
            tokio::time::sleep(moment / 4).await;
        }
        process.kill().await;
    }
    eprintln!("{KILLS} processes were killed in {:?}", begun.elapsed());
    finish(&mesh, phase, &progress, &ids, again).await;
    let mut runs = Vec::new();
    for id in &ids {
        runs.push(mesh.inspect_run(*id).await.unwrap());
    }
    let mut lines: BTreeMap<RunId, Vec<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(&journal).unwrap().lines() {
        let (run, what) = line.split_once(' ').unwrap();
        lines.entry(run.parse().unwrap()).or_default().push(what.to_owned());
    }
    eprintln!("everything was at its end after {:?}", begun.elapsed());
    Aftermath { store, runs, journal: lines, _database: database, _directory: directory }
}

/// Works until every run has ended and nothing is left to deliver.
async fn finish(mesh: &Squidmesh, phase: Phase, progress: &Progress, ids: &[RunId], again: Option<RunId>) {
    let ended = async {
        let begun = Instant::now();
        for id in ids {
            loop {
                let details = mesh.inspect_run(*id).await.unwrap();
                if details.run.status.is_terminal() && details.intents.is_empty() {
                    break;
                }
                assert!(begun.elapsed() < secs(90), "run {id} does not end: {:?}", details.run);
                tokio::time::sleep(ms(20)).await;
            }
        }
    };
    let deciding = async {
        match phase {
            Phase::Approval => crash::decide(mesh, progress, "the last", again).await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ended => {}
        () = deciding => unreachable!("it continues for as long as it is polled"),
        worked = mesh.run_workers(std::future::pending()) => panic!("the workers ended: {worked:?}"),
    }
}

/// Checks for attempts without gaps, of which the last completed and the others ended with their process. Returns how
/// many ended with their process.
fn completed_in_the_end(details: &RunDetails, name: &str) -> usize {
    let kinds = attempts(details, name);
    let (last, others) = kinds.split_last().expect("an attempt");
    assert_eq!(*last, "completed", "{name} of {}: {kinds:?}", details.run.id);
    for attempt in step(details, name).attempts.iter().take(others.len()) {
        let error = attempt.error.as_ref().expect("a reason");
        assert_eq!(error.kind, FailureKind::STALE_RUNNING_STEP, "{name} of {}: {kinds:?}", details.run.id);
    }
    others.len()
}

async fn in_compensation(database: TestDatabase) {
    let aftermath = kill_them_all(database, Phase::Compensation).await;
    let mut interrupted = 0;
    for details in &aftermath.runs {
        let run = &details.run;
        assert_eq!(run.status, RunStatus::Failed);
        let error = run.last_error.as_ref().unwrap();
        assert_eq!((error.message.as_str(), error.chain.len()), ("no more", 0), "no compensation failed");
        let lines = &aftermath.journal[&run.id];
        let mut before = None;
        for name in ["three", "two", "one"] {
            completed_in_the_end(details, name);
            let callback = step(details, name).run.as_ref().unwrap().compensation.clone().expect("a compensation");
            assert_eq!(callback.status, CompensationStatus::Completed);
            assert_eq!(callback.output, Some(json!({ "undone": name })));
            assert_eq!((callback.failures, callback.error), (0, None), "an interrupted callback is no failed one");
            assert!(before <= callback.finished_at, "in reverse of the order in which the steps completed");
            before = callback.finished_at;
            let called = lines.iter().filter(|line| *line == name).count();
            assert!((1..=callback.attempt as usize).contains(&called), "{called} calls, {} attempts", callback.attempt);
            interrupted += callback.attempt as usize - 1;
        }
        let mut order = lines.clone();
        order.dedup();
        assert_eq!(order, ["three", "two", "one"], "none is called again once the next has begun: {lines:?}");
    }
    eprintln!("{interrupted} callbacks were interrupted");
    assert!(interrupted >= INTERRUPTED, "only {interrupted} callbacks were interrupted");
}

async fn in_approval(database: TestDatabase) {
    let aftermath = kill_them_all(database, Phase::Approval).await;
    let mut decided_twice = 0;
    for details in &aftermath.runs {
        let (run, approved) = (&details.run, is_approved(details.run.id));
        assert_eq!(run.status, RunStatus::Completed);
        let kinds: Vec<AuditKind> = details.audit.iter().map(|event| event.kind).collect();
        let decision = if approved { AuditKind::Approved } else { AuditKind::Rejected };
        assert_eq!(kinds, [AuditKind::Paused, decision], "one decision");
        let review = &details.context["review"];
        assert_eq!(review["decision"], json!(if approved { "approved" } else { "rejected" }));
        assert_eq!(Some(&review["actor"]), details.audit[1].actor.as_ref().map(|actor| json!(actor)).as_ref());
        let (taken, left) = if approved { ("yes", "no") } else { ("no", "yes") };
        completed_in_the_end(details, "ask");
        completed_in_the_end(details, taken);
        assert!(step(details, left).attempts.is_empty(), "one way is taken: {:?}", states(details));
        assert_eq!(step(details, left).state, StepState::Waiting);
        decided_twice += aftermath.journal[&run.id].len() - 1;
    }
    eprintln!("{decided_twice} decisions were begun anew");
    assert!(decided_twice > 0, "no decision was interrupted");
}

async fn in_a_transaction(database: TestDatabase) {
    let aftermath = kill_them_all(database, Phase::Transaction).await;
    let connection = aftermath.store.connection();
    let sql = "SELECT run_id, step, side, count(*) AS n FROM host_ledger GROUP BY run_id, step, side";
    let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await.unwrap();
    let mut booked: BTreeMap<(String, String), Vec<(String, i64)>> = BTreeMap::new();
    for row in &rows {
        let of = (row.try_get_by("run_id").unwrap(), row.try_get_by("step").unwrap());
        booked.entry(of).or_default().push((row.try_get_by("side").unwrap(), row.try_get_by("n").unwrap()));
    }
    let mut interrupted = 0;
    for details in &aftermath.runs {
        assert_eq!(details.run.status, RunStatus::Completed);
        for name in ["one", "two", "three"] {
            interrupted += completed_in_the_end(details, name);
            let mut sides = booked.remove(&(details.run.id.to_string(), name.to_owned())).expect("its rows");
            sides.sort();
            assert_eq!(sides, [("credit".to_owned(), 1), ("debit".to_owned(), 1)], "both rows of {name}, once");
        }
    }
    assert!(booked.is_empty(), "rows of no step: {booked:?}");
    eprintln!("{interrupted} transactions were interrupted");
    assert!(interrupted >= INTERRUPTED, "only {interrupted} transactions were interrupted");
}

mod sqlite {
    use super::*;

    #[test]
    fn crash_during_compensation_is_as_if_it_had_not_happened() {
        block_on(async { in_compensation(TestDatabase::sqlite()).await });
    }

    #[test]
    fn crash_during_an_approval_is_as_if_it_had_not_happened() {
        block_on(async { in_approval(TestDatabase::sqlite()).await });
    }

    #[test]
    fn crash_during_a_transactional_step_leaves_no_trace() {
        block_on(async { in_a_transaction(TestDatabase::sqlite()).await });
    }
}

mod postgres {
    use super::*;

    #[test]
    fn crash_during_compensation_is_as_if_it_had_not_happened() {
        block_on(async { in_compensation(TestDatabase::postgres().await).await });
    }

    #[test]
    fn crash_during_an_approval_is_as_if_it_had_not_happened() {
        block_on(async { in_approval(TestDatabase::postgres().await).await });
    }

    #[test]
    fn crash_during_a_transactional_step_leaves_no_trace() {
        block_on(async { in_a_transaction(TestDatabase::postgres().await).await });
    }
}
