//! The records of cron triggers: read together with the time, and written by compare-and-set.

use squidmesh_core::Timestamp;
use squidmesh_core::definition::WorkflowName;
use squidmesh_core::port::{StoreError, TriggerRecords, UnreadableTrigger};
use squidmesh_core::schedule::TriggerRecord;

use crate::database::Database;
use crate::error::{failed, unanswered};
use crate::rows::{TRIGGER_COLUMNS, trigger_from_row, trigger_to_row};
use crate::sql::Sql;

/// Returns the records of the triggers of these workflows, and the time, in one statement. An unreadable record is
/// listed as such: without it, the last fire time of its trigger is unknown, but the others still fire.
pub(crate) async fn triggers(database: &Database, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
    const DOING: &str = "reading cron triggers";
    let (sql, workflows) = Sql::numbered(database.reader()).keep_texts(workflows.iter().map(ToString::to_string));
    let sql = sql.push("SELECT clock.now, ").push(&TRIGGER_COLUMNS.join(", ")).push(" FROM (SELECT ");
    let sql = database.clock.now(sql).push(" AS now) AS clock LEFT JOIN squidmesh_triggers ON workflow");
    let sql = sql.among(workflows);
    let rows = sql.fetch(database.reader()).await.map_err(failed(DOING))?;
    let mut now = None;
    let mut records = TriggerRecords::new(Timestamp::EPOCH, Vec::with_capacity(rows.len()));
    for row in &rows {
        let time: i64 = row.try_get_by("now").map_err(failed(DOING))?;
        now = Some(Timestamp::from_millis(time));
        // Without a record, the row contains only the time. A value of the wrong type still counts as a record.
        let nothing = matches!(row.try_get_by::<Option<String>, _>("workflow"), Ok(None));
        if nothing {
            continue;
        }
        match trigger_from_row(row) {
            Ok(record) => records.records.push(record),
            Err(unreadable) => {
                // The row was found by the name of its workflow, which is therefore a text.
                let workflow: String = row.try_get_by("workflow").map_err(failed(DOING))?;
                let trigger = row.try_get_by("trigger_name").ok();
                let error = unreadable.of(format!("a cron trigger of workflow {workflow}"));
                records.unreadable.push(UnreadableTrigger { workflow, trigger, error });
            }
        }
    }
    let now = now.ok_or_else(|| StoreError::Corrupt {
        what: "the time".to_owned(),
        reason: "the database returned no row".to_owned(),
    })?;
    Ok(TriggerRecords { now, ..records })
}

/// Writes a record if the stored one has the previous revision.
pub(crate) async fn compare_and_set_trigger(database: &Database, record: &TriggerRecord) -> Result<bool, StoreError> {
    let row = trigger_to_row(record)?;
    let sql = Sql::on(database.writer());
    let sql = if record.revision <= 1 {
        let columns = TRIGGER_COLUMNS.join(", ");
        sql.push(&format!("INSERT INTO squidmesh_triggers ({columns}) VALUES "))
            .push("(")
            .list(row)
            .push(") ON CONFLICT DO NOTHING")
    } else {
        let mut sql = sql.push("UPDATE squidmesh_triggers SET ");
        for (index, (column, value)) in TRIGGER_COLUMNS.iter().zip(row).skip(2).enumerate() {
            sql = sql.push(if index > 0 { ", " } else { "" }).push(column).push(" = ").bind(value);
        }
        sql.push(" WHERE workflow = ")
            .bind(record.workflow.as_str())
            .push(" AND trigger_name = ")
            .bind(record.trigger.as_str())
            .push(" AND revision = ")
            .bind(i64::try_from(record.revision - 1).unwrap_or(i64::MAX))
    };
    let written = sql.execute(database.writer()).await.map_err(unanswered("writing a cron trigger"))?;
    Ok(written == 1)
}
