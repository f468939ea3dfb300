//! The file of a SQLite database, and whether it is still the one on which connections were opened.
//!
//! A connection continues to write to a file that was moved or deleted, and those writes are lost; a connection
//! that is opened afterwards would create a new file and empty the log of the old one. Therefore only the first
//! connection may create a file, and every connection is compared with the current file before it is used.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A file, identified by its path. Clones share what was seen.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

/// The file that was seen last.
#[derive(Debug)]
struct Seen {
    which: Option<Which>,
    since: Instant,
}

type Which = (u64, u64);

impl DatabaseFile {
    pub(super) fn at(path: &Path) -> Self {
        let seen = Seen { which: which(path), since: Instant::now() };
        DatabaseFile { path: path.to_owned(), seen: Arc::new(Mutex::new(seen)) }
    }

    /// Returns whether a connection of this age was opened on the current file.
    pub(super) fn is_that_of(&self, age: Duration) -> bool {
        let Some(now) = which(&self.path) else { return false };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.which != Some(now) {
            *seen = Seen { which: Some(now), since: Instant::now() };
        }
        seen.since.elapsed() >= age
    }
}

/// Returns whether only the log of a database is left because the file itself was moved or deleted.
pub(super) fn only_log_is_left(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    !path.exists() && fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

fn which(path: &Path) -> Option<Which> {
    fs::metadata(path).ok().map(|metadata| identity(&metadata))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Which {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(metadata: &Metadata) -> Which {
    let created = metadata.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let created = created.unwrap_or_default();
    (created.as_secs(), u64::from(created.subsec_nanos()))
}
