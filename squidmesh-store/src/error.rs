//! Tells the errors of the database apart by what a caller can do about them.
//!
//! Knows SQLSTATE and SQLite result codes. The driver's error stays the source; no driver type leaves the crate.

use std::borrow::Cow;

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::{DbErr, RuntimeErr};
use squidmesh_core::StoreError;

/// What a database error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is gone: what was asked may or may not have been done.
    Connection,
    /// The database is busy, full or restarting, or lost patience with a lock: trying again may succeed.
    Contention,
    /// The statement itself is refused: trying again will not help.
    Refusal,
}

impl Fault {
    /// What an error means.
    pub(crate) fn of(error: &DbErr) -> Fault {
        match error {
            DbErr::ConnectionAcquire(_) => Fault::Contention,
            DbErr::Conn(RuntimeErr::SqlxError(error))
            | DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error)) => Fault::of_driver(error),
            DbErr::Conn(_) => Fault::Connection,
            _ => Fault::Refusal,
        }
    }

    fn of_driver(error: &SqlxError) -> Fault {
        match error {
            SqlxError::Io(_) | SqlxError::Tls(_) | SqlxError::Protocol(_) | SqlxError::WorkerCrashed => {
                Fault::Connection
            }
            SqlxError::PoolTimedOut | SqlxError::PoolClosed | SqlxError::BeginFailed => Fault::Contention,
            SqlxError::Database(error) => error.code().map_or(Fault::Refusal, |code| Fault::of_code(&code)),
            _ => Fault::Refusal,
        }
    }

    /// A SQLSTATE has five characters; SQLite's extended codes have fewer digits, the low byte says the sort.
    fn of_code(code: &str) -> Fault {
        match code {
            "40001" | "40P01" | "55P03" | "57014" | "25006" => Fault::Contention,
            state if state.len() == 5 => match state.get(..2) {
                Some("08" | "57") => Fault::Connection,
                Some("53" | "58") => Fault::Contention,
                _ => Fault::Refusal,
            },
            number => match number.parse::<u32>().map(|number| number & 0xff) {
                // BUSY, LOCKED, FULL, CANTOPEN; IOERR leaves open whether it was written.
                Ok(5 | 6 | 13 | 14) => Fault::Contention,
                Ok(10) => Fault::Connection,
                _ => Fault::Refusal,
            },
        }
    }
}

/// Whether a statement undid itself because what it found was not what it had to find.
pub(crate) fn is_division_by_zero(error: &DbErr) -> bool {
    code_of(error).as_deref() == Some("22012")
}

/// Whether a statement gave up waiting for a lock.
pub(crate) fn is_lock_timeout(error: &DbErr) -> bool {
    code_of(error).as_deref() == Some("55P03")
}

/// Whether a SQLite file is in use by somebody else (`SQLITE_BUSY`, with whatever it is extended by).
#[cfg(feature = "sqlite")]
pub(crate) fn is_busy(error: &DbErr) -> bool {
    code_of(error).and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

/// The code that the database gave.
fn code_of(error: &DbErr) -> Option<Cow<'_, str>> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    error.as_database_error()?.code()
}

/// The error of anything but a COMMIT: nothing was changed.
pub(crate) fn failed(doing: &'static str) -> impl Fn(DbErr) -> StoreError {
    move |error| match Fault::of(&error) {
        Fault::Connection | Fault::Contention => StoreError::Unavailable { doing, source: Box::new(error) },
        Fault::Refusal => StoreError::Refused { doing, source: Box::new(error) },
    }
}

/// The error of a COMMIT.
pub(crate) fn commit_failed(error: DbErr) -> StoreError {
    match Fault::of(&error) {
        Fault::Connection => StoreError::OutcomeUnknown { source: Box::new(error) },
        Fault::Contention | Fault::Refusal => failed("committing")(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        for (code, fault) in [
            ("40001", Fault::Contention), // serialization failure
            ("40P01", Fault::Contention), // deadlock
            ("55P03", Fault::Contention), // lock timeout
            ("53300", Fault::Contention), // too many connections
            ("57P01", Fault::Connection), // administrator shut the server down
            ("08006", Fault::Connection), // connection failure
            ("42P01", Fault::Refusal),    // undefined table
            ("42501", Fault::Refusal),    // insufficient privilege
            ("23505", Fault::Refusal),    // unique violation
            ("5", Fault::Contention),     // SQLITE_BUSY
            ("517", Fault::Contention),   // SQLITE_BUSY_SNAPSHOT
            ("2067", Fault::Refusal),     // SQLITE_CONSTRAINT_UNIQUE
            ("1", Fault::Refusal),        // SQLITE_ERROR, such as a missing table
        ] {
            assert_eq!(Fault::of_code(code), fault, "{code}");
        }
    }

    #[test]
    fn a_lost_answer_to_a_commit_is_unknown_and_elsewhere_only_unavailable() {
        let lost = || {
            let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            DbErr::Exec(RuntimeErr::SqlxError(std::sync::Arc::new(SqlxError::Io(error))))
        };
        assert!(matches!(commit_failed(lost()), StoreError::OutcomeUnknown { .. }));
        assert!(matches!(failed("claiming")(lost()), StoreError::Unavailable { doing: "claiming", .. }));
    }
}
