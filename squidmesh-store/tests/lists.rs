//! Lists of runs: each filter finds all matching runs, and rare ones are found by an index, however long the
//! history is.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod databases;
mod work;

use std::sync::Arc;

use databases::TestDatabase;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use squidmesh_core::port::StoreSession;
use squidmesh_core::run::RunSummary;
use squidmesh_core::testing::{ManualClock, sample};
use squidmesh_core::{RunFilter, RunStatus, Timestamp};
use squidmesh_store::SeaOrmStore;
use work::Work;

const BEGAN: i64 = 1_700_000_000_000;

/// Inserts runs into the table; `n` in an expression is the number of the run, from 1. One is started each second.
struct Runs<'a> {
    count: usize,
    workflow: &'a str,
    status: &'a str,
    /// How much later than the time in its id a run was started.
    later: &'a str,
}

impl Runs<'_> {
    async fn put(&self, connection: &DatabaseConnection) {
        let postgres = connection.get_database_backend() == DbBackend::Postgres;
        let (id, number) = if postgres {
            (
                format!("(lpad(to_hex({BEGAN} + n * 1000), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid"),
                "generate_series(1::bigint, ",
            )
        } else {
            (format!("unhex(printf('%012x70008000%012x', {BEGAN} + n * 1000, n))"), "")
        };
        let numbers = if postgres {
            format!("{number}{}) AS number(n)", self.count)
        } else {
            format!(
                "(WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {}) SELECT n FROM number)",
                self.count
            )
        };
        let at = format!("{BEGAN} + n * 1000 + {}", self.later);
        let fingerprint = sample::definition().fingerprint().to_string();
        let statement = format!(
            "INSERT INTO squidmesh_runs (id, workflow, fingerprint, trigger_name, status, payload, revision, token, created_at, \
             updated_at) SELECT {id}, {}, '{fingerprint}', 'manual', {}, '{{}}', 1, {id}, {at}, {at} FROM {numbers}",
            self.workflow, self.status
        );
        connection.execute_unprepared(&statement).await.unwrap();
    }
}

fn at(number: i64) -> Timestamp {
    Timestamp::from_millis(BEGAN + number * 1_000)
}

async fn pages(store: &SeaOrmStore, filter: &RunFilter) -> Vec<RunSummary> {
    let (mut filter, mut runs) = (filter.clone(), Vec::new());
    loop {
        let page = store.list(&filter).await.unwrap();
        assert!(page.runs.len() <= filter.page_size());
        runs.extend(page.runs);
        let Some(next) = page.next else { return runs };
        filter = filter.after(next);
    }
}

fn matches(filter: &RunFilter, run: &RunSummary) -> bool {
    filter.workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow)
        && (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
        && filter.created_from.is_none_or(|from| run.created_at >= from)
        && filter.created_before.is_none_or(|before| run.created_at < before)
}

fn filters() -> Vec<RunFilter> {
    let any = RunFilter::new;
    let flow = |number: usize| sample::workflow(&format!("flow-{number}"));
    let kinds = [
        any(),
        any().workflow(flow(3)),
        any().workflow(flow(900)),
        any().status(RunStatus::Failed),
        any().status(RunStatus::Failed).status(RunStatus::Completed).status(RunStatus::Failed),
        any().status(RunStatus::Cancelled),
        any().workflow(flow(4)).status(RunStatus::Paused).status(RunStatus::Failed),
    ];
    let in_time = |filter: &RunFilter| {
        let spans = [
            (0, 10_000),
            (100, 120),
            (1, 1_000),
            (2_900, 9_999),
            (500, 500),
            (-1_700_000_000, 50),
            (2_000, i64::MAX / 10_000),
        ];
        spans.map(|(from, before)| filter.clone().created_between(at(from), at(before)))
    };
    kinds.iter().flat_map(|kind| in_time(kind).into_iter().chain([kind.clone()])).collect()
}

#[tokio::test]
async fn every_filter_finds_all_that_matches_newest_first() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        let status = "CASE WHEN n % 700 = 3 THEN 'failed' WHEN n % 13 = 5 THEN 'paused' WHEN n % 7 = 0 THEN 'running' ELSE 'completed' END";
        let later = "CASE WHEN n % 50 = 7 THEN (n % 11 - 5) * 100000 ELSE 0 END";
        let workflow = if database.url.starts_with("sqlite") { "printf('flow-%d', n % 9)" } else { "'flow-' || n % 9" };
        Runs { count: 3_000, workflow, status, later }.put(store.connection()).await;
        let all = pages(&store, &RunFilter::new().limit(1_000)).await;
        assert_eq!(all.len(), 3_000);
        assert!(all.is_sorted_by_key(|run| std::cmp::Reverse(run.id)));
        for filter in filters() {
            let expected: Vec<_> = all.iter().filter(|run| matches(&filter, run)).map(|run| run.id).collect();
            for size in [7, 250] {
                // Long lists behave alike in long pages.
                if expected.len() > 40 * size {
                    continue;
                }
                let found: Vec<_> = pages(&store, &filter.clone().limit(size)).await.iter().map(|run| run.id).collect();
                assert!(found == expected, "{database:?}: {filter:?} finds {} of {}", found.len(), expected.len());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rare_is_found_without_reading_all_history() {
    for database in TestDatabase::each().await {
        let any = || RunFilter::new().limit(10);
        let filters = [
            (any().status(RunStatus::Failed), 2),
            (any().status(RunStatus::Cancelled).status(RunStatus::Failed), 3),
            (any().status(RunStatus::Running), 0),
            (any().workflow(sample::workflow("rare")), 1),
            (any().workflow(sample::workflow("third")).status(RunStatus::Failed), 0),
            (any().workflow(sample::workflow("third")).status(RunStatus::Paused), 10),
            (any().workflow(sample::workflow("nobody-s")), 0),
            (any().created_between(at(500), at(505)), 5),
            (any().created_between(at(100), at(50_000)), 10),
            (any().created_between(at(-50), at(3)), 2),
            (any().status(RunStatus::Paused).created_between(at(100), at(50_000)), 10),
            (any().status(RunStatus::Failed).created_between(at(60), at(50_000)), 1),
            (
                any().after(squidmesh_core::RunId::from_uuid(uuid::Uuid::from_u128(((BEGAN as u128) + 90_000) << 80))),
                10,
            ),
        ];
        // Plans are made while the tables are empty.
        let work = Work::on(&database, Arc::new(ManualClock::default())).await;
        for _ in 0..20 {
            for (filter, _) in &filters {
                assert_eq!(work.store().list(filter).await.unwrap().runs, []);
            }
        }
        let filling = database.connection().await;
        let status = "CASE WHEN n IN (5, 77) THEN 'failed' WHEN n = 9000 THEN 'cancelled' WHEN n % 2 = 0 THEN 'paused' ELSE 'completed' END";
        let workflow = "CASE WHEN n = 50 THEN 'rare' WHEN n % 3 = 0 THEN 'third' ELSE 'common' END";
        Runs { count: 100_000, workflow, status, later: "0" }.put(&filling).await;
        if !database.url.starts_with("sqlite") {
            filling.execute_unprepared("VACUUM ANALYZE squidmesh_runs").await.unwrap();
        }
        let before = work.after(filling).await;
        let mut costs = Vec::new();
        for (filter, found) in &filters {
            let before = work.so_far().await;
            assert_eq!(work.store().list(filter).await.unwrap().runs.len(), *found, "{database:?}: {filter:?}");
            costs.push(work.so_far().await - before);
        }
        let cost = work.end().await - before;
        assert!(cost < 10_000, "{database:?}: {cost}, {costs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_large_is_not_read_for_a_list() {
    for database in TestDatabase::each().await {
        let work = Work::on(&database, Arc::new(ManualClock::default())).await;
        let filling = database.connection().await;
        let status = "CASE n % 200 WHEN 0 THEN 'failed' WHEN 1 THEN 'cancelled' ELSE 'completed' END";
        Runs { count: 100_000, workflow: "'flow'", status, later: "0" }.put(&filling).await;
        let noise = match filling.get_database_backend() {
            DbBackend::Postgres => {
                "(SELECT string_agg(md5(id::text || i), '') FROM generate_series(1, 2048) AS noise(i))"
            }
            _ => "hex(randomblob(32768))",
        };
        let failure = r#"{"kind":"odd","message":"it went wrong""#;
        let statements = [
            format!(r#"UPDATE squidmesh_runs SET payload = '{{"text":"{}"}}'"#, "x".repeat(190)),
            format!(
                r#"UPDATE squidmesh_runs SET payload = '{{"text":"' || {noise} || '"}}', failure = '{failure}}}',
                   last_error = '{failure},"details":"' || {noise} || '"}}' WHERE status = 'failed'"#
            ),
        ];
        for statement in statements {
            filling.execute_unprepared(&statement).await.unwrap();
        }
        if filling.get_database_backend() == DbBackend::Postgres {
            filling.execute_unprepared("VACUUM ANALYZE squidmesh_runs").await.unwrap();
        }
        work.after(filling).await;
        work.end().await;
        let mut costs = Vec::new();
        for status in [RunStatus::Cancelled, RunStatus::Failed] {
            let work = Work::on(&database, Arc::new(ManualClock::default())).await;
            let before = work.so_far().await;
            let begun = std::time::Instant::now();
            let page = work.store().list(&RunFilter::new().status(status).limit(50)).await.unwrap();
            println!("{database:?}: 50 {status} runs in {:?}", begun.elapsed());
            assert_eq!((page.runs.len(), page.next.is_some()), (50, true));
            let failed = status == RunStatus::Failed;
            assert!(page.runs.iter().all(|run| run.failure.as_ref().is_some_and(|it| it.kind == "odd") == failed));
            costs.push(work.end().await - before);
        }
        let [small, large] = *costs else { unreachable!("two lists") };
        println!("{database:?}: small runs cost {small}, large ones {large}");
        assert!(large < small + 50, "{database:?}: small runs cost {small}, large ones {large}");
    }
}
