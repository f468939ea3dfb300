//! What is kept of cron triggers: read together with the time, and written by compare-and-set.

use squidmesh_core::{StoreError, Timestamp, TriggerRecord, TriggerRecords, WorkflowName};

use crate::database::Database;
use crate::error::failed;
use crate::rows::{TRIGGER_COLUMNS, trigger_from_row, trigger_to_row};
use crate::sql::Sql;

/// What is kept of the triggers of these workflows, and the time, in one statement. A record that cannot be read is an error:
/// without it nobody knows what was fired.
pub(crate) async fn triggers(database: &Database, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
    const DOING: &str = "reading cron triggers";
    let sql = database.clock().now(
        Sql::on(database.reader()).push("SELECT clock.now, ").push(&TRIGGER_COLUMNS.join(", ")).push(" FROM (SELECT "),
    );
    let sql = sql.push(" AS now) AS clock LEFT JOIN squidmesh_triggers ON ");
    let sql = if workflows.is_empty() {
        sql.push("false")
    } else {
        sql.push("workflow").one_of(workflows.iter().map(WorkflowName::as_str))
    };
    let rows = sql.fetch(database.reader()).await.map_err(failed(DOING))?;
    let mut now = None;
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        let time: i64 = row.try_get_by("now").map_err(failed(DOING))?;
        now = Some(Timestamp::from_millis(time));
        // Where nothing is kept, the time comes alone. What is of another type than it must be is kept all the same.
        let nothing = matches!(row.try_get_by::<Option<String>, _>("workflow"), Ok(None));
        if !nothing {
            records.push(trigger_from_row(row).map_err(|unreadable| unreadable.of("a cron trigger"))?);
        }
    }
    let now =
        now.ok_or_else(|| StoreError::Corrupt { what: "the time".to_owned(), reason: "was not told".to_owned() })?;
    Ok(TriggerRecords::new(now, records))
}

/// Writes a record if what is stored is at the revision before it.
pub(crate) async fn put_trigger(database: &Database, record: &TriggerRecord) -> Result<bool, StoreError> {
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
        for (place, (column, value)) in TRIGGER_COLUMNS.iter().zip(row).skip(2).enumerate() {
            sql = sql.push(if place > 0 { ", " } else { "" }).push(column).push(" = ").bind(value);
        }
        sql.push(" WHERE workflow = ")
            .bind(record.workflow.as_str())
            .push(" AND trigger_name = ")
            .bind(record.trigger.as_str())
            .push(" AND revision = ")
            .bind(i64::try_from(record.revision - 1).unwrap_or(i64::MAX))
    };
    let written = sql.execute(database.writer()).await.map_err(failed("writing a cron trigger"))?;
    Ok(written == 1)
}
