//! Classifies database errors by what a caller can do about them.
//!
//! Knows SQLSTATE and SQLite result codes. The driver's error stays the source; no driver type leaves the crate.

use std::borrow::Cow;

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::{DbErr, RuntimeErr};
use squidmesh_core::port::StoreError;

use crate::epoch;

/// The class of a database error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is gone: the request may or may not have been executed.
    Connection,
    /// The database is busy, full or restarting, or a lock timed out: a retry may succeed.
    Contention,
    /// The database rejects the statement: a retry does not help.
    Refusal,
}

impl Fault {
    /// Classifies an error.
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

    /// A SQLSTATE has five characters. SQLite's extended codes have fewer digits; the low byte is the primary
    /// code.
    fn of_code(code: &str) -> Fault {
        match code {
            "40001" | "40P01" | "55P03" | "57014" | "25006" => Fault::Contention,
            state if state.len() == 5 => match state.get(..2) {
                Some("08" | "57") => Fault::Connection,
                Some("53" | "58") => Fault::Contention,
                _ => Fault::Refusal,
            },
            number => match sqlite_code(number) {
                // BUSY, LOCKED, FULL, CANTOPEN. After IOERR, it is unknown whether the data was written.
                Some(5 | 6 | 13 | 14) => Fault::Contention,
                Some(10) => Fault::Connection,
                _ => Fault::Refusal,
            },
        }
    }
}

/// The code of a statement that aborted itself because a condition that it checks did not hold.
pub(crate) const DIVISION_BY_ZERO: &str = "22012";
/// The code of a statement that timed out waiting for a lock.
pub(crate) const LOCK_TIMEOUT: &str = "55P03";
/// The code of a statement that the server ended because it took too long.
pub(crate) const STATEMENT_TIMEOUT: &str = "57014";

/// Returns whether the database's error has a code.
pub(crate) fn has_code(error: &DbErr, code: &str) -> bool {
    code_of(error).as_deref() == Some(code)
}

/// Returns whether another connection uses the SQLite file (`SQLITE_BUSY`, with any extended code).
#[cfg(feature = "sqlite")]
pub(crate) fn is_busy(error: &DbErr) -> bool {
    code_of(error).and_then(|code| sqlite_code(&code)) == Some(5)
}

/// The error of a call that the database did not answer in time.
pub(crate) fn silent() -> SqlxError {
    SqlxError::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database did not answer in time"))
}

/// Returns the database's error code.
pub(crate) fn code_of(error: &DbErr) -> Option<Cow<'_, str>> {
    driver_error(error)?.as_database_error()?.code()
}

fn database_message(error: &DbErr) -> Option<&str> {
    Some(driver_error(error)?.as_database_error()?.message())
}

/// Returns the driver's own error.
pub(crate) fn driver_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// The database's message, in one line, with its code.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Described {
    text: String,
    #[source]
    error: DbErr,
}

pub(crate) fn described(error: DbErr) -> Box<dyn std::error::Error + Send + Sync> {
    Box::new(Described { text: text(&error), error })
}

/// Returns the primary code of SQLite in an extended one.
pub(crate) fn sqlite_code(code: &str) -> Option<u32> {
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

fn text(error: &DbErr) -> String {
    let of_epoch = |message| epoch::explain(code_of(error).as_deref(), message);
    if let Some(explained) = database_message(error).and_then(of_epoch) {
        return explained;
    }
    match (error, driver_error(error)) {
        (DbErr::Conn(RuntimeErr::Internal(why)), _) => why.clone(),
        (DbErr::ConnectionAcquire(_), _) | (_, Some(SqlxError::PoolTimedOut)) => {
            "no connection was available in time".to_owned()
        }
        (_, Some(SqlxError::Database(database))) => match database.code() {
            Some(code) if code.len() == 5 => format!("{} (SQLSTATE {code})", database.message()),
            Some(code) if sqlite_code(&code) == Some(14) => {
                format!(
                    "the file of the database cannot be opened: it was moved or deleted, or may not be read (SQLite code {code})"
                )
            }
            Some(code) => format!("{} (SQLite code {code})", database.message()),
            None => database.message().to_owned(),
        },
        (_, Some(SqlxError::Io(error))) => error.to_string(),
        (_, Some(other)) => other.to_string(),
        (other, None) => other.to_string(),
    }
}

/// Maps the error of any statement but a COMMIT: nothing was changed.
pub(crate) fn failed(doing: &'static str) -> impl Fn(DbErr) -> StoreError {
    move |error| match Fault::of(&error) {
        Fault::Connection | Fault::Contention => StoreError::Unavailable { doing, source: described(error) },
        Fault::Refusal => StoreError::Refused { doing, source: described(error) },
    }
}

/// Maps the error of a COMMIT.
pub(crate) fn commit_failed(error: DbErr) -> StoreError {
    unanswered("committing")(error)
}

/// Maps the error of a statement that makes a change outside of a transaction.
pub(crate) fn unanswered(doing: &'static str) -> impl Fn(DbErr) -> StoreError {
    move |error| match Fault::of(&error) {
        // No connection could be opened: nothing was sent.
        Fault::Connection if matches!(error, DbErr::Conn(_)) => failed(doing)(error),
        Fault::Connection => StoreError::OutcomeUnknown { source: described(error) },
        Fault::Contention | Fault::Refusal => failed(doing)(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_why_in_its_own_line() {
        let none = DbErr::Conn(RuntimeErr::Internal("all 8 connections were in use for 3s".to_owned()));
        let error = failed("loading a run")(none).to_string();
        assert!(error.contains("loading a run") && error.contains("all 8 connections were in use"), "{error}");
        let silent = DbErr::Query(RuntimeErr::SqlxError(std::sync::Arc::new(silent())));
        let error = commit_failed(silent).to_string();
        assert!(error.contains("may have been applied") && error.contains("did not answer in time"), "{error}");
    }

    #[test]
    fn codes_of_both_databases_are_distinguished() {
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
