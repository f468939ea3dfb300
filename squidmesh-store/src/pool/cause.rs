//! Explains why a database cannot be used and what to do about it, for the first error that a person sees on
//! starting a process.
//!
//! Knows the messages of databases and of the operating system. Knows no URL, since URLs contain secrets.

use std::io;

use sea_orm::DbErr;
use sea_orm::sqlx::Error as SqlxError;

use crate::error::{code_of, driver_error, sqlite_code};

/// Returns why a connection could not be opened.
pub(crate) fn cause(error: &DbErr) -> String {
    let Some(driver) = driver_error(error) else { return error.to_string() };
    match driver {
        SqlxError::Io(error) => of_io(error),
        SqlxError::Tls(error) => of_tls(&error.to_string()),
        SqlxError::PoolTimedOut => {
            "no connection was available in time: the server does not answer, or all connections are in use".to_owned()
        }
        SqlxError::Database(message) => {
            let code = code_of(error).unwrap_or_default();
            of_code(&code, message.message())
        }
        other => other.to_string(),
    }
}

fn of_io(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there: check host and port, and that the server runs",
        io::ErrorKind::TimedOut => "the server does not answer: check host and port, and the network",
        io::ErrorKind::NotFound => "the socket does not exist: check the path, and that the server runs",
        io::ErrorKind::PermissionDenied => "the system does not allow it: check the rights on the socket or file",
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            "the connection was closed while it was opened: check that a Postgres server listens there, and its limits"
        }
        _ => "check the name of the host, and the network",
    };
    format!("{error}: {advice}")
}

fn of_tls(message: &str) -> String {
    let advice = if cfg!(feature = "tls") {
        "check `sslmode`, `sslrootcert`, and the certificate of the server"
    } else {
        "enable the feature `tls` of squidmesh-store"
    };
    format!("{message}: {advice}")
}

/// Explains a SQLSTATE, or a result code of SQLite.
fn of_code(code: &str, message: &str) -> String {
    let unencrypted = message.contains("no encryption") || message.contains("SSL off");
    let advice = match code {
        "28000" if unencrypted && cfg!(feature = "tls") => {
            "the server requires TLS, or does not know this address: set `sslmode=require`, and see its pg_hba.conf"
        }
        "28000" if unencrypted => "the server requires TLS: enable the feature `tls` of squidmesh-store",
        "28P01" | "28000" => "check the user and the password, and what the server's pg_hba.conf allows",
        "3D000" => "create the database, or check its name",
        "3F000" | "42501" => {
            "grant the user the rights that the guide on databases lists, or name a schema that it may use"
        }
        "42704" => "the server is too old: Postgres 14 or newer is needed",
        "53300" => "the server has no free connection: raise its max_connections, or lower the numbers of this process",
        "57P03" => "the server is starting or stopping: try again soon",
        "42P05" | "26000" => POOLER,
        "08P01" if message.contains("unsupported startup parameter") => {
            "a pooler does not pass this parameter on: set it for the role or the database instead"
        }
        _ => match sqlite_code(code) {
            Some(5 | 6) => {
                "another process kept the file locked for longer than a call may take: close other programs that use it"
            }
            Some(8) => "the file, or its directory, is read-only",
            Some(10) => "the file cannot be read or written: check the disk",
            Some(14) => "the file cannot be opened: check that its directory exists, and the rights on both",
            Some(26) => "the file is not an SQLite database: check the path",
            _ => "",
        },
    };
    if advice.is_empty() { message.to_owned() } else { format!("{message} ({code}): {advice}") }
}

/// What to do about a pooler that assigns a server connection per transaction.
pub(crate) const POOLER: &str = "the connection goes through a pooler in transaction mode, and the store needs sessions: use session mode, or \
    connect to the server directly";
