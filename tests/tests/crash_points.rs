//! Every call of the store and of Redis, made to fail before it or after it, or to kill its process, in every shape
//! of workflow that reaches it.
//!
//! `SQUIDMESH_CELL_HITS=5 cargo xtask test crash_points` tries more of the times that a point is reached.

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

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sea_orm::{ConnectionTrait, Statement};
use squidmesh_checker::{Effect, EffectKind, Evidence, check_at_rest};
use squidmesh_core::crash_point::Deed;
use squidmesh_core::definition::{StepName, WorkflowName};
use squidmesh_core::ms;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::child::ChildProcess;
use squidmesh_tests::crash_matrix::{BOOKING, Cell, Ended, Job, ROWS, SHAPES, carry_out, mesh, workflow};
use squidmesh_tests::ledger::{Ledger, Line};
use squidmesh_tests::{RedisServer, TestDatabase, block_on};

const PROCESS: &str = env!("CARGO_BIN_EXE_crash_cell");
/// The number of workflows that are completed together.
const TOGETHER: usize = 40;
/// Calls that change something, so that the change may be split from its answer: these are tried more often than
/// reads.
const CHANGES: [&str; 7] =
    ["commit", "claim", "claim_keys", "transact", "transact.commit", "joined.commit", "compare_and_set_trigger"];

/// What cells run on.
struct Backend {
    database: TestDatabase,
    redis: Option<RedisServer>,
    store: SeaOrmStore,
    directory: tempfile::TempDir,
    processes: u32,
}

impl Backend {
    async fn on(database: TestDatabase, redis: Option<RedisServer>) -> Self {
        let store = SeaOrmStore::connect(database.url()).await.unwrap();
        store.connection().execute_unprepared(ROWS).await.unwrap();
        Backend { database, redis, store, directory: tempfile::tempdir().unwrap(), processes: 0 }
    }

    fn redis(&self) -> Option<String> {
        self.redis.as_ref().map(|redis| redis.url())
    }

    /// Tries cells in as few processes as possible. Returns the reports of those that ended, and the cells that were
    /// cut short.
    async fn carry_out(&mut self, cells: &[Cell]) -> (Vec<Ended>, BTreeSet<usize>) {
        let (mut all, mut died, mut rest) = (Vec::new(), BTreeSet::new(), cells);
        while !rest.is_empty() {
            self.processes += 1;
            let job = Job {
                process: self.processes,
                store: self.database.url().to_owned(),
                redis: self.redis(),
                ledger: self.directory.path().join("ledger"),
                cells: rest.to_vec(),
            };
            let mut child = ChildProcess::of(PROCESS, &[&serde_json::to_string(&job).unwrap()]);
            let (mut open, mut tried) = (None, 0_usize);
            while let Some(line) = child.next_line().await {
                if let Some(number) = line.strip_prefix("begun ") {
                    open = Some(number.parse::<usize>().unwrap());
                    tried += 1;
                } else if let Some(ended) = line.strip_prefix("ended ") {
                    all.push(serde_json::from_str(ended).unwrap());
                    open = None;
                }
            }
            let status = child.wait().await.unwrap();
            match open {
                // The runtime of a cell that has ended may still make the call at which it dies, as it shuts down.
                None => {
                    let last = tried.checked_sub(1).and_then(|last| rest.get(last));
                    let may_die = last.is_some_and(|cell| matches!(cell.deed(), Deed::AbortBefore | Deed::AbortAfter));
                    let died_late = may_die && status.signal() == Some(6);
                    assert!(status.success() || died_late, "a process ended with {status} after {last:?}");
                }
                Some(number) => {
                    let cell = &rest[tried - 1];
                    assert_eq!(status.signal(), Some(6), "{cell:?} ended its process with {status}");
                    assert!(matches!(cell.deed(), Deed::AbortBefore | Deed::AbortAfter), "{cell:?}");
                    died.insert(number);
                }
            }
            rest = &rest[tried..];
        }
        (all, died)
    }

    /// Completes the work that died with its process, and judges everything.
    async fn judge(&self, cells: &[Cell], died: &BTreeSet<usize>) {
        let ledger = Arc::new(Ledger::open(&self.directory.path().join("ledger"), 0).unwrap());
        let left: Vec<Cell> = cells.iter().filter(|cell| died.contains(&cell.number)).cloned().collect();
        for left in left.chunks(TOGETHER) {
            let workflows = left.iter().map(|cell| workflow(cell, &ledger));
            carry_out(&mesh(&self.store, self.redis().as_deref(), workflows), &self.store, left).await;
        }
        let mut evidence = Evidence::read(&self.store).await.unwrap();
        let lines = Ledger::read(&self.directory.path().join("ledger")).unwrap();
        evidence.effects = lines.iter().map(Line::effect).collect();
        evidence.effects.extend(rows(&self.store).await);
        for cell in cells.iter().filter(|cell| cell.shape == "booked") {
            let step = StepName::new(BOOKING).unwrap();
            evidence.transactional.insert((WorkflowName::new(cell.name()).unwrap(), step));
        }
        evidence.skew = ms(150);
        evidence.crash_limit = Some(100);
        assert_eq!(evidence.runs.len(), cells.len(), "each cell has its run");
        let violations = check_at_rest(&evidence);
        for violation in violations.iter().take(20) {
            let workflow = violation.run.and_then(|run| evidence.runs.get(&run)).map(|found| &found.state.run.workflow);
            let cell = cells.iter().find(|cell| workflow.is_some_and(|name| name.as_str() == cell.name()));
            eprintln!("{violation}\n  in {cell:?}");
        }
        assert!(violations.is_empty(), "{} rules are broken", violations.len());
    }
}

async fn rows(store: &SeaOrmStore) -> Vec<Effect> {
    let connection = store.connection();
    let sql = "SELECT run_id, step, attempt FROM cell_rows";
    let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await.unwrap();
    let row = |row: &sea_orm::QueryResult| Effect {
        run_id: row.try_get_by::<String, _>("run_id").unwrap().parse().unwrap(),
        step: StepName::new(row.try_get_by::<String, _>("step").unwrap()).unwrap(),
        kind: EffectKind::Row,
        attempt: u32::try_from(row.try_get_by::<i64, _>("attempt").unwrap()).unwrap(),
        input: serde_json::Value::Null,
        retry_after: None,
    };
    rows.iter().map(row).collect()
}

/// Returns which of the times that a point is reached are tried.
fn times(point: &str, reached: u64) -> impl Iterator<Item = u64> + use<> {
    let most = std::env::var("SQUIDMESH_CELL_HITS").ok().map_or(2, |text| text.parse().expect("a number"));
    let most = if CHANGES.contains(&point) { most } else { most.min(1) };
    1..=reached.min(most)
}

/// Finds the points that each shape reaches, and tries each point with every deed, at its first times. The points
/// that no shape reaches must be those in `without`.
async fn every_cell(mut backend: Backend, wanted: impl Fn(&str) -> bool, without: &[&str]) {
    let begun = Instant::now();
    // How often a shape reaches a point depends on which worker is idle when: twice, so that chance shows.
    let mut cells: Vec<Cell> = SHAPES
        .iter()
        .cycle()
        .take(2 * SHAPES.len())
        .enumerate()
        .map(|(number, shape)| Cell::calm(number, shape))
        .collect();
    let (calm, died) = backend.carry_out(&cells).await;
    assert!(died.is_empty() && calm.len() == cells.len());
    let (once, twice) = calm.split_at(SHAPES.len());
    let (mut aborts, mut errors, mut points) = (Vec::new(), Vec::new(), BTreeMap::<String, usize>::new());
    for ((ended, again), shape) in once.iter().zip(twice).zip(SHAPES) {
        assert_eq!((SHAPES[ended.number], SHAPES[again.number - SHAPES.len()]), (shape, shape));
        for (point, reached) in ended.hits.iter().filter(|(point, _)| wanted(point)) {
            let Some(again) = again.hits.get(point) else { continue };
            *points.entry(point.clone()).or_default() += 1;
            for hit in times(point, *reached.min(again)) {
                for deed in Deed::ALL {
                    let list =
                        if matches!(deed, Deed::AbortBefore | Deed::AbortAfter) { &mut aborts } else { &mut errors };
                    list.push((shape, point.clone(), hit, deed));
                }
            }
        }
    }
    let unreached: BTreeSet<String> =
        points_of_the_store().into_iter().filter(|point| wanted(point) && !points.contains_key(point)).collect();
    assert_eq!(unreached.iter().map(String::as_str).collect::<Vec<_>>(), without, "which points no shape comes to");
    let drawn: Vec<Cell> = errors
        .into_iter()
        .chain(aborts)
        .zip(cells.len()..)
        .map(|((shape, point, hit, deed), number)| Cell::of(number, shape, &point, hit, deed))
        .collect();
    let (ended, mut died) = backend.carry_out(&drawn).await;
    let missed: BTreeSet<usize> = ended.iter().filter(|ended| !ended.done).map(|ended| ended.number).collect();
    // How often workers poll depends on timing, so what was missed is tried once more.
    let of_again = drawn.iter().filter(|cell| missed.contains(&cell.number)).cloned();
    let mut again: Vec<Cell> = of_again.collect();
    again.iter_mut().zip(cells.len() + drawn.len()..).for_each(|(cell, number)| cell.number = number);
    let (ended_again, died_again) = backend.carry_out(&again).await;
    died.extend(died_again);
    let missed_again = ended_again.iter().filter(|ended| !ended.done).count();
    eprintln!(
        "{} cells of {} points in {} shapes: {} processes died, {} calls failed, {} points were not reached again, {} of \
         them twice; {:?}",
        drawn.len(),
        points.len(),
        SHAPES.len(),
        died.len(),
        ended.len() - missed.len(),
        missed.len(),
        missed_again,
        begun.elapsed()
    );
    eprintln!("in how many shapes each point was reached: {points:?}");
    let by_chance: Vec<String> =
        drawn.iter().filter(|cell| missed.contains(&cell.number)).map(|cell| format!("{cell:?}")).collect();
    assert!(missed_again * 20 <= drawn.len(), "too many points are reached by chance only: {by_chance:?}");
    cells.extend(drawn);
    cells.extend(again);
    backend.judge(&cells, &died).await;
    eprintln!("all was carried on and judged after {:?}", begun.elapsed());
}

fn is_of_the_store(point: &str) -> bool {
    point.chars().all(|letter| letter.is_lowercase() || "._".contains(letter))
}

/// Only the executor over Redis calls these, or only a host in its own transaction for what it could as well read
/// outside.
const UNREACHED: [&str; 5] =
    ["claim_keys", "identity", "joined.find_by_idempotency_key", "joined.history", "joined.list"];

mod sqlite {
    use super::*;

    #[test]
    fn crash_cells_all_end_as_if_nothing_had_happened() {
        block_on(async { every_cell(Backend::on(TestDatabase::sqlite(), None).await, |_| true, &UNREACHED).await });
    }
}

mod postgres {
    use super::*;

    #[test]
    fn crash_cells_all_end_as_if_nothing_had_happened() {
        block_on(async {
            every_cell(Backend::on(TestDatabase::postgres().await, None).await, |_| true, &UNREACHED).await
        });
    }

    /// Tries the calls of the executor over Redis; the rest is the same with any executor.
    #[test]
    fn crash_cells_over_redis_all_end_as_if_nothing_had_happened() {
        let over_redis =
            |point: &str| !is_of_the_store(point) || ["claim_keys", "list_due", "release_leases"].contains(&point);
        block_on(async {
            let redis = RedisServer::start().await;
            every_cell(Backend::on(TestDatabase::postgres().await, Some(redis)).await, over_redis, &[]).await;
        });
    }
}

/// Returns the body of each function of an implementation, by name.
fn calls(source: &str, implementation: &str) -> Vec<(String, String)> {
    let start = source.find(implementation).unwrap_or_else(|| panic!("there is `{implementation}`"));
    let end = source[start..].find("\n}\n").map_or(source.len(), |end| start + end);
    let functions = source[start..end].split("\n    async fn ").skip(1);
    functions.map(|text| (text.split('(').next().unwrap().to_owned(), text.to_owned())).collect()
}

/// Returns the points of the store, by name.
fn points_of_the_store() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut points = Vec::new();
    for (file, implementation, prefix) in IMPLEMENTATIONS {
        let source = std::fs::read_to_string(root.join("squidmesh-store/src").join(file)).unwrap();
        for (name, body) in calls(&source, implementation) {
            let point = format!("{prefix}{name}");
            let plain: String = body.split_whitespace().collect();
            if !WITHOUT.contains(&name.as_str()) {
                assert!(
                    plain.contains(&format!("at(\"{point}\"")),
                    "{implementation}: `{name}` has no crash point: wrap what it calls in `at(\"{point}\", …)`"
                );
                points.push(point);
            }
        }
    }
    points
}

const IMPLEMENTATIONS: [(&str, &str, &str); 3] = [
    ("store.rs", "impl StoreSession for SeaOrmStore", ""),
    ("store.rs", "impl Store for SeaOrmStore", ""),
    ("join.rs", "impl StoreSession for JoinedStore", "joined."),
];

/// It waits for ever, and cannot fail.
const WITHOUT: [&str; 1] = ["work_notified"];

#[test]
fn every_call_of_the_store_and_of_redis_has_a_crash_point() {
    let points = points_of_the_store();
    assert!(points.len() >= 20, "the port has more calls than {points:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let connection = std::fs::read_to_string(root.join("squidmesh-executor-redis/src/connection.rs")).unwrap();
    for name in ["send_within", "call"] {
        let body = connection.split(&format!("pub(crate) async fn {name}(")).nth(1).expect("the call is there");
        let body = body.split("\n    }\n").next().unwrap();
        assert!(body.contains("at!("), "Connection::{name} has no crash point");
    }
    // Nothing else in the executor talks to Redis.
    for entry in std::fs::read_dir(root.join("squidmesh-executor-redis/src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && !["connection.rs", "server.rs"].contains(&name.as_str()) {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("query_async"), "{name} calls Redis without a crash point");
        }
    }
}
