//! Detects the commits of other processes to a SQLite database by watching its files: every commit changes one of
//! them.
//!
//! Reading the metadata of two files takes some microseconds, and needs no statement, lock or page of the
//! database.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::notifications::Notifications;
use crate::pool::calls::Calls;

/// The interval between two looks at the files.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The delay before the path is queried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// When a file was last written, and its length.
type Stamp = Option<(SystemTime, u64)>;

/// Reports changes for as long as it is polled.
pub(super) async fn watch(connection: &Calls, notifications: &Notifications) {
    let path = loop {
        match connection.file().await {
            Ok(path) => break path,
            Err(error) => {
                tracing::debug!(target: "squidmesh", %error, "cannot look up the files of the database; retrying")
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    };
    let Some(path) = path.map(PathBuf::from) else {
        // In memory: there are no other processes, and the handles in this one notify each other.
        notifications.listening_started();
        return std::future::pending().await;
    };
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let files = [path, log.into()];
    let mut last = stamps(&files);
    if last == [None, None] {
        return; // the files cannot be watched
    }
    notifications.listening_started();
    let mut just_changed = false;
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let now = stamps(&files);
        let changed = now != last;
        // File timestamps are coarse: a write right after a change may have the same time.
        if changed || just_changed {
            notifications.add();
        }
        (last, just_changed) = (now, changed);
    }
}

fn stamps(files: &[PathBuf; 2]) -> [Stamp; 2] {
    files.each_ref().map(|file| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}
