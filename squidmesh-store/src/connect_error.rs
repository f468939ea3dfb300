//! Why a store cannot be opened.

use std::fmt;
use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::port::fmt_with_causes;

use crate::pool::cause;
use crate::redact_url::redact_url;

/// The error returned when a store cannot be opened. Its URLs are redacted by [`redact_url`]. `Debug` shows the text with
/// its causes, since `main` prints that.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL names no database.
    #[error(
        "{url:?} is not the URL of a database: expected such as \"sqlite://shop.db\", \"sqlite::memory:\" or \
         \"postgres://user:password@host/database\", with a percent sign and its code for each special character in a password"
    )]
    InvalidUrl {
        /// The URL.
        url: String,
    },
    /// The URL has a parameter that would be ignored.
    #[error(
        "{url:?} has a parameter {parameter:?} that is not supported: correct it, leave it out, or set it on the server"
    )]
    UnsupportedParameter {
        /// The URL.
        url: String,
        /// The name of the parameter.
        parameter: String,
    },
    /// A pooler between the store and Postgres assigns a server connection per transaction.
    #[error("cannot work with {url}: {cause}", cause = cause::POOLER)]
    TransactionPooler {
        /// The URL.
        url: String,
    },
    /// This build has no driver for the database.
    #[error("{url:?} has no driver in this build: {remedy}")]
    UnsupportedDatabase {
        /// The URL.
        url: String,
        /// What to do: enable a feature, or use a database that is supported.
        remedy: &'static str,
    },
    /// The database cannot be opened or reached, or rejects the login.
    #[error("cannot connect to {url}: {cause}")]
    Unreachable {
        /// The URL.
        url: String,
        /// The reason, and what to do about it.
        cause: String,
        /// The driver's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tables could not be created or brought up to date.
    #[error("cannot migrate {url}: {source}; check that the user may create tables, or run the migrations yourself")]
    Migration {
        /// The URL.
        url: String,
        /// The driver's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version changed the tables in a way that this version does not support.
    #[error(
        "{url} was migrated by a newer version, whose {migration} this version cannot work with: deploy that version"
    )]
    NewerDatabase {
        /// The URL.
        url: String,
        /// The migration that is unknown to this version.
        migration: String,
    },
    /// A timeout is too short for a busy database.
    #[error("a timeout of {timeout:?} is too short for calls of a database: give it at least {least:?}")]
    TimeoutTooShort {
        /// The requested timeout.
        timeout: Duration,
        /// The minimum.
        least: Duration,
    },
    /// A schema was named where the store cannot choose one.
    #[error("a schema can be set only for a Postgres database that the store connects to by URL, and {url} is not one")]
    NoSchemas {
        /// The URL.
        url: String,
    },
    /// All tables of the store are missing and migrations are disabled, or only some of the tables are missing.
    #[error(
        "{url} has no table {}: run all migrations of squidmesh_store::migration::Migrator, or connect with migrations enabled; if \
         some tables were lost, restore them first",
        .tables.join(", ")
    )]
    MissingTables {
        /// The URL.
        url: String,
        /// The names of the missing tables.
        tables: Vec<String>,
    },
    /// Several schemas of the search path contain tables of Squidmesh.
    #[error(
        "{url} has tables of Squidmesh in several schemas of its search path ({}): name the right one, with `?schema=`, or drop the others",
        .schemas.join(", ")
    )]
    SeveralSchemas {
        /// The URL.
        url: String,
        /// The schemas, in the order of the search path.
        schemas: Vec<String>,
    },
    /// There is no tokio runtime to work on.
    #[error("a store cannot be opened outside a tokio runtime: call connect within one, such as under #[tokio::main]")]
    OutsideRuntime,
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_causes(self, f)
    }
}

impl ConnectError {
    /// Builds the error for a database that cannot be reached.
    pub(crate) fn unreachable(url: &str, error: DbErr) -> Self {
        let cause = cause::cause(&error).replace(url, &redact_url(url));
        ConnectError::Unreachable { url: redact_url(url), cause, source: without_url(error, url) }
    }
}

/// Returns the driver's error, or only its text, redacted, if it shows the URL with its password.
fn without_url(error: DbErr, url: &str) -> Box<dyn std::error::Error + Send + Sync> {
    if format!("{error:?}").contains(url) {
        Box::from(error.to_string().replace(url, &redact_url(url)))
    } else {
        Box::new(error)
    }
}
