//! The clock that decides what is due: the database's own, or a given one in tests.
//!
//! The only place that writes the current time into a statement. Nothing else in this crate reads a clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use squidmesh_core::Timestamp;
use squidmesh_core::port::Clock;

use crate::sql::Sql;

/// The clock by which intents become due and leases expire.
#[derive(Clone)]
pub(crate) enum StoreClock {
    /// The clock of the database, shared by every process that uses it.
    Database,
    /// A clock that a test controls.
    Given(Arc<dyn Clock>),
}

impl StoreClock {
    /// Adds the current time, in milliseconds since the epoch, to a statement. It has one value throughout the
    /// statement: a subquery is evaluated once, and the index on due times can be searched by it.
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

/// Converts a duration to milliseconds, capped so that the sum with any timestamp fits.
pub(crate) fn millis(duration: Duration) -> i64 {
    Timestamp::EPOCH.after(duration).as_millis()
}
