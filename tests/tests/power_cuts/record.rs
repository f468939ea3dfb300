//! A history over a real database, with the length that the write-ahead log had at each acknowledgement.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, TransactionTrait};
use serde_json::json;
use squidmesh_checker::{Act, Answer, Call, Effect, EffectKind, Evidence};
use squidmesh_core::event::Event;
use squidmesh_core::port::{EventSink, StoreSession};
use squidmesh_core::testing::{ManualClock, MemoryExecutor};
use squidmesh_core::{RunFilter, RunId, RunStatus, Squidmesh, Timestamp};
use squidmesh_store::SeaOrmStore;

use crate::wal::Wal;
use squidmesh_tests::sample_workflows::{BOOKED, BOOKS, Ledger};

/// The recorded history.
pub(crate) struct Recording {
    /// The database without its log.
    pub(crate) database: Vec<u8>,
    pub(crate) wal: Wal,
    /// The events and answers, with the length of the log by then.
    pub(crate) events: Vec<(usize, Event)>,
    pub(crate) calls: Vec<(usize, Call)>,
    effects: Vec<(usize, Effect)>,
    /// The time of its end.
    pub(crate) end: Timestamp,
}

impl Recording {
    /// Returns the effects of handlers while the log was no longer than this. Handlers were called one after the
    /// other.
    pub(crate) fn effects(&self, until: usize) -> Vec<Effect> {
        self.effects.iter().take_while(|(length, _)| *length <= until).map(|(_, effect)| effect.clone()).collect()
    }
}

/// Reads the length of the log.
#[derive(Clone)]
struct Log(PathBuf);

impl Log {
    fn length(&self) -> usize {
        usize::try_from(std::fs::metadata(&self.0).map(|found| found.len()).unwrap_or_default()).unwrap()
    }
}

#[derive(Clone)]
struct Acknowledged {
    log: Log,
    events: Arc<Mutex<Vec<(usize, Event)>>>,
}

impl EventSink for Acknowledged {
    fn emit(&self, event: &Event) {
        self.events.lock().unwrap().push((self.log.length(), event.clone()));
    }
}

/// Returns a directory in memory where there is one: a cut is made by copying, so a disk has no advantage.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("cut.db")
}

pub(crate) fn log_of(file: &Path) -> PathBuf {
    file.with_extension("db-wal")
}

pub(crate) async fn open(file: &Path, clock: &Arc<ManualClock>) -> SeaOrmStore {
    SeaOrmStore::builder(format!("sqlite://{}", file.display()))
        .max_connections(1)
        .clock(clock.clone())
        .connect()
        .await
        .unwrap()
}

/// Creates a runtime over a store with every workflow.
pub(crate) fn mesh(
    store: &SeaOrmStore,
    clock: &Arc<ManualClock>,
    ledger: &Ledger,
    sink: impl EventSink,
) -> (Squidmesh, MemoryExecutor) {
    let executor = MemoryExecutor::new(clock.clone());
    let mut builder = Squidmesh::builder(store.clone()).executor(executor.clone()).event_sink(sink);
    for workflow in ledger.workflows() {
        builder = builder.workflow(workflow);
    }
    (builder.build().unwrap(), executor)
}

pub(crate) async fn record() -> Recording {
    let directory = directory();
    let file = file(directory.path());
    let clock = Arc::new(ManualClock::default());
    let store = open(&file, &clock).await;
    store.connection().execute_unprepared(BOOKS).await.unwrap();
    store.connection().execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    // A reader that holds an old snapshot keeps the log from being written back, and so from restarting.
    let reader = Database::connect(ConnectOptions::new(format!("sqlite://{}", file.display()))).await.unwrap();
    let reading = reader.begin().await.unwrap();
    reading
        .query_all_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "SELECT count(*) FROM books"))
        .await
        .unwrap();
    let database = std::fs::read(&file).unwrap();

    let log = Log(log_of(&file));
    let length = log.clone();
    let ledger = Ledger::beside(move || length.length());
    let acknowledged = Acknowledged { log: log.clone(), events: Arc::default() };
    let (mesh, executor) = mesh(&store, &clock, &ledger, acknowledged.clone());
    let calls = live(&mesh, &executor, &log).await;

    let wal = Wal::new(std::fs::read(log_of(&file)).unwrap());
    assert_eq!(std::fs::read(&file).unwrap(), database, "the log was never written back");
    let events = std::mem::take(&mut *acknowledged.events.lock().unwrap());
    drop(reading);
    Recording {
        database,
        wal,
        events,
        calls,
        effects: ledger.lengths().into_iter().zip(ledger.effects()).collect(),
        end: squidmesh_core::port::Clock::now(&*clock),
    }
}

/// Lives a history of every shape, and records the answers.
async fn live(mesh: &Squidmesh, executor: &MemoryExecutor, log: &Log) -> Vec<(usize, Call)> {
    let mut calls = Vec::new();
    let mut note = |act: Act, id: RunId| calls.push((log.length(), Call { act, answer: Answer::Ok(id) }));
    let names = [
        "chain", "retried", "undone", "stuck", "routed", "paused", "asked", "waiting", "fanned", BOOKED, "mended",
        "asked", "paused", "hung",
    ];
    let mut runs = Vec::new();
    for (number, name) in (0..).zip(names) {
        let key = format!("order {number}");
        let run = mesh.start_run(name, &json!({})).idempotency_key(key.clone()).await.unwrap();
        note(Act::Start { workflow: run.workflow.clone(), key: Some(key) }, run.id);
        runs.push(run.id);
    }
    executor.run_to_rest(mesh).await.unwrap();
    mesh.approve_run(runs[6]).actor("ann").await.unwrap();
    note(Act::Approve(runs[6]), runs[6]);
    mesh.reject_run(runs[11]).actor("bob").await.unwrap();
    note(Act::Reject(runs[11]), runs[11]);
    mesh.unblock_run(runs[5]).await.unwrap();
    note(Act::Unblock(runs[5]), runs[5]);
    mesh.cancel_run(runs[12]).await.unwrap();
    note(Act::Cancel(runs[12]), runs[12]);
    let replay = mesh.replay_run(runs[0]).await.unwrap();
    note(Act::Replay(runs[0]), replay.id);
    let resumed = mesh.resume_run(runs[10]).await.unwrap();
    note(Act::Resume(runs[10]), resumed.id);
    executor.run_to_rest(mesh).await.unwrap();
    // Many at once, so that transactions with more than one commit in them are cut too.
    let payload = json!({});
    let many = mesh.start_runs((0..6).map(|_| mesh.start_run("chain", &payload))).await;
    for run in many {
        let run = run.unwrap();
        note(Act::Start { workflow: run.workflow.clone(), key: None }, run.id);
    }
    executor.run_to_rest(mesh).await.unwrap();
    calls
}

/// Unblocks every run that waits for a person, and works until all have ended.
pub(crate) async fn finish(mesh: &Squidmesh, executor: &MemoryExecutor) {
    executor.manual_clock().advance(Duration::from_secs(3_600));
    for _ in 0..4 {
        executor.run_to_rest(mesh).await.unwrap();
        let waiting = mesh.list_runs(&RunFilter::new().status(RunStatus::Paused).limit(1_000)).await.unwrap().runs;
        for run in &waiting {
            if mesh.unblock_run(run.id).await.is_err() {
                mesh.approve_run(run.id).actor("ann").await.unwrap();
            }
        }
    }
}

/// Returns what a store holds, with what was acknowledged while the log was no longer than this.
pub(crate) async fn evidence(
    store: &SeaOrmStore,
    recording: &Recording,
    until: usize,
    effects: Vec<Effect>,
) -> Evidence {
    let session: &dyn StoreSession = store;
    let mut evidence = Evidence::read(session).await.unwrap();
    evidence.events =
        recording.events.iter().filter(|(length, _)| *length <= until).map(|(_, event)| event.clone()).collect();
    evidence.calls =
        recording.calls.iter().filter(|(length, _)| *length <= until).map(|(_, call)| call.clone()).collect();
    evidence.effects = effects;
    let booked = |step: &str| (BOOKED.parse().unwrap(), step.parse().unwrap());
    evidence.transactional = BTreeSet::from([booked("one"), booked("two")]);
    let rows = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "SELECT run_id, step, attempt FROM books");
    for row in store.connection().query_all_raw(rows).await.unwrap() {
        let text = |column: &str| row.try_get_by::<String, _>(column).unwrap();
        let attempt: i64 = row.try_get_by("attempt").unwrap();
        evidence.effects.push(Effect {
            run_id: text("run_id").parse().unwrap(),
            step: text("step").parse().unwrap(),
            kind: EffectKind::Row,
            attempt: u32::try_from(attempt).unwrap(),
            input: serde_json::Value::Null,
            retry_after: None,
        });
    }
    evidence
}
