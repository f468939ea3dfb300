//! What other processes commit to an SQLite database, seen by its files: every commit changes one of them.
//!
//! To ask the system about two files takes some microseconds, and no statement, lock or page of the database.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sea_orm::{DatabaseConnection, DbErr};

use super::Told;
use crate::sql::Sql;

/// How often they are looked at.
const EVERY: Duration = Duration::from_millis(250);
/// Before the path is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// When a file was last written, and how long it is.
type Stamp = Option<(SystemTime, u64)>;

/// Tells of changes for as long as it is polled.
pub(super) async fn watch(connection: &DatabaseConnection, told: &Told) {
    let path = loop {
        match path(connection).await {
            Ok(path) => break path,
            Err(error) => tracing::debug!(target: "squidmesh", %error, "the files of the database are not known yet"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    let Some(path) = path else {
        // In memory: there is no other process, and the handles in this one tell each other.
        told.begin_to_hear();
        return std::future::pending().await;
    };
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let files = [path, log.into()];
    let mut last = stamps(&files);
    if last == [None, None] {
        return; // not to be seen from here
    }
    told.begin_to_hear();
    let mut unsettled = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let now = stamps(&files);
        let changed = now != last;
        // The system's clock for files ticks slowly: what was written right after a change may carry the same time.
        if changed || unsettled {
            told.say();
        }
        (last, unsettled) = (now, changed);
    }
}

/// Where the database is; nowhere if it is in memory.
async fn path(connection: &DatabaseConnection) -> Result<Option<PathBuf>, DbErr> {
    let sql = Sql::on(connection).push("SELECT file FROM pragma_database_list WHERE name = 'main'");
    let rows = sql.fetch(connection).await?;
    let file: Option<String> = rows.first().map(|row| row.try_get_by("file")).transpose()?.flatten();
    Ok(file.filter(|file| !file.is_empty()).map(PathBuf::from))
}

fn stamps(files: &[PathBuf; 2]) -> [Stamp; 2] {
    files.each_ref().map(|file| {
        let about = fs::metadata(file).ok()?;
        Some((about.modified().ok()?, about.len()))
    })
}
