//! Reads runs with their step runs and signals.
//!
//! One statement reads the run and all its step runs, so that they are consistent regardless of concurrent
//! commits.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::port::StoreError;
use squidmesh_core::run::{ReceivedSignal, RunSnapshot, StepRun};
use squidmesh_core::{Run, RunId};

use crate::error::failed;
use crate::rows::{RUN_COLUMNS, STEP_RUN_COLUMNS, run_from_row, run_id_from_row, signals_from_row, step_run_from_row};
use crate::sql::{Column, Sql, portions};

/// A run as it was read: an unreadable row affects no other run.
pub(crate) type Loaded = Result<RunSnapshot, StoreError>;

/// Reads one run.
pub(crate) async fn load<C: ConnectionTrait>(connection: &C, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
    load_all(connection, &[id]).await.map_err(failed("loading a run"))?.remove(&id).transpose()
}

/// Reads runs. Those that do not exist are missing from the result.
pub(crate) async fn load_all<C: ConnectionTrait>(
    connection: &C,
    ids: &[RunId],
) -> Result<HashMap<RunId, Loaded>, DbErr> {
    let mut found: HashMap<RunId, Parts> = HashMap::new();
    for ids in portions(connection, ids) {
        let ids = || ids.iter().map(RunId::as_uuid);
        let sql = Sql::on(connection).push(&SELECT_RUNS).one_of(ids()).push(&SELECT_STEP_RUNS).one_of(ids());
        for row in sql.fetch(connection).await? {
            sort_in(&row, &mut found)?;
        }
    }
    Ok(found.into_iter().filter_map(|(id, parts)| Some((id, parts.joined()?))).collect())
}

/// The rows of one run, decoded as far as possible.
#[derive(Default)]
struct Parts {
    run: Option<Result<(Run, Vec<ReceivedSignal>), StoreError>>,
    steps: BTreeMap<String, Result<StepRun, StoreError>>,
}

impl Parts {
    /// Returns `None` for step runs without their run: the run does not exist.
    fn joined(self) -> Option<Loaded> {
        Some(self.run?.and_then(|(run, signals)| {
            let steps: Result<Vec<StepRun>, StoreError> = self.steps.into_values().collect();
            Ok(RunSnapshot::new(run, steps?).with_signals(signals))
        }))
    }
}

fn sort_in(row: &QueryResult, found: &mut HashMap<RunId, Parts>) -> Result<(), DbErr> {
    let part: i32 = row.try_get_by("part")?;
    let column = if part == RUN { "id" } else { "run_id" };
    let Ok(id) = run_id_from_row(row, column) else { return Ok(()) };
    let parts = found.entry(id).or_default();
    if part == RUN {
        let run = run_from_row(row).and_then(|run| Ok((run, signals_from_row(row)?)));
        parts.run = Some(run.map_err(|unreadable| unreadable.of(format!("run {id}"))));
    } else {
        let step: String = row.try_get_by("step").unwrap_or_default();
        let decoded = step_run_from_row(row).map_err(|unreadable| unreadable.of(format!("step run {id}/{step}")));
        parts.steps.insert(step, decoded);
    }
    Ok(())
}

const RUN: i32 = 0;

/// Selects from both tables by `UNION`: every column of either, NULL where a table does not have it.
static SELECT_RUNS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {RUN} AS part, {} FROM squidmesh_runs WHERE id", columns_of(RUN_COLUMNS)));

static SELECT_STEP_RUNS: LazyLock<String> = LazyLock::new(|| {
    let columns = columns_of(STEP_RUN_COLUMNS);
    format!(" UNION ALL SELECT 1 AS part, {columns} FROM squidmesh_step_runs WHERE run_id")
});

fn columns_of(table: &[Column]) -> String {
    let has = |columns: &[Column], name: &str| columns.iter().any(|column| column.name() == name);
    let only_steps = STEP_RUN_COLUMNS.iter().filter(|column| !has(RUN_COLUMNS, column.name()));
    let all: Vec<String> = RUN_COLUMNS
        .iter()
        .chain(only_steps)
        .map(Column::name)
        .map(|name| if has(table, name) { name.to_owned() } else { format!("NULL AS {name}") })
        .collect();
    all.join(", ")
}
