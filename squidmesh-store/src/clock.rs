//! Whose clock decides what is due: the database's own, or in tests one that is given.
//!
//! The one place that writes "now" into a statement. Nothing else in this crate asks for the time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use squidmesh_core::{Clock, Timestamp};

use crate::sql::Sql;

/// The clock by which intents fall due and leases run out.
#[derive(Clone)]
pub(crate) enum StoreClock {
    /// The database's: the same for every process that uses it.
    Database,
    /// One that a test moves.
    Given(Arc<dyn Clock>),
}

impl StoreClock {
    /// Adds the time now, in milliseconds since the epoch, to a statement. It has one value throughout the statement: a
    /// subquery is evaluated once, and the index on due times can be searched by it.
    pub(crate) fn now(&self, sql: Sql) -> Sql {
        match self {
            StoreClock::Given(clock) => sql.bind(clock.now().as_millis()),
            StoreClock::Database if sql.is_postgres() => {
                sql.push("(SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)")
            }
            StoreClock::Database => sql.push("(SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))"),
        }
    }
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreClock::Database => "Database",
            StoreClock::Given(_) => "Given",
        })
    }
}

/// A duration as the database counts it, cut to the length of the calendar so that a sum with any time fits.
pub(crate) fn millis(duration: Duration) -> i64 {
    Timestamp::EPOCH.after(duration).as_millis()
}
