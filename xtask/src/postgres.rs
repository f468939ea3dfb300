//! A private Postgres server: fresh data, a free port, reachable from this machine only, with the default
//! durability.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::failure::{Failure, While};
use crate::guardian::{Guarded, Server, on_a_free_port};
use crate::process;

/// The variable in which tests find the server.
pub(crate) const VARIABLE: &str = "SQUIDMESH_TEST_POSTGRES";

/// The server's own account in the database, which may create databases.
const USER: &str = "squidmesh";

/// A running throw-away Postgres.
pub(crate) struct Postgres {
    pub(crate) server: Guarded,
    pub(crate) url: String,
}

impl Postgres {
    /// Installs Postgres if it is missing, and starts a private server.
    pub(crate) fn start() -> Result<Self, Failure> {
        // For many concurrent tests, each with pools of its own.
        Self::start_with(&["-c", "max_connections=200"])
    }

    /// Starts a server with default settings, which are durable, and statement statistics if it supports them.
    pub(crate) fn start_to_measure() -> Result<Self, Failure> {
        Self::start_with(&["-c", "shared_preload_libraries=pg_stat_statements"]).or_else(|failure| {
            println!("starting without pg_stat_statements, so that statements are not counted: {failure}");
            Self::start_with(&[])
        })
    }

    fn start_with(settings: &[&str]) -> Result<Self, Failure> {
        let programs = programs()?;
        let version = process::output(Command::new(programs.join("postgres")).arg("--version"))?;
        let (server, port) = on_a_free_port(|port| {
            Guarded::start(&Server {
                name: "postgres",
                script: START,
                arguments: &[&[&*programs.to_string_lossy(), USER, &port.to_string()], settings].concat(),
                // An immediate shutdown: the data is not needed.
                stop_signal: "QUIT",
                user: "postgres",
                ready: is_ready,
            })
        })?;
        println!("started a private {} on port {port}", version.trim());
        Ok(Self { server, url: format!("postgres://{USER}@127.0.0.1:{port}/postgres") })
    }
}

/// `$0` is the server's directory, `$1` that of the programs, `$2` the user, `$3` the port; the rest are settings.
const START: &str = r#"
set -e
"$1/initdb" --pgdata="$0/data" --username="$2" --auth=trust --encoding=UTF8 --no-locale --no-sync >"$0/initdb.log"
programs=$1 port=$3
shift 3
exec "$programs/postgres" -D "$0/data" -c listen_addresses=127.0.0.1 -c port="$port" -c unix_socket_directories="$0" \
  -c fsync=on -c synchronous_commit=on "$@"
"#;

/// Returns whether the server is ready. Its state is in the eighth line of a file in its data directory.
fn is_ready(directory: &Path) -> bool {
    fs::read_to_string(directory.join("data/postmaster.pid")).is_ok_and(|state| says_ready(&state))
}

fn says_ready(state: &str) -> bool {
    state.lines().nth(7).is_some_and(|status| status.trim() == "ready")
}

/// Returns the directory that contains `initdb` and `postgres`, and installs them if they are missing.
pub(crate) fn programs() -> Result<PathBuf, Failure> {
    if let Some(found) = find_programs()? {
        return Ok(found);
    }
    debian::install("PostgreSQL", "postgresql")?;
    find_programs()?.ok_or_else(|| Failure::new("`postgresql` was installed, but it brought no initdb and postgres"))
}

fn find_programs() -> Result<Option<PathBuf>, Failure> {
    let complete = |directory: &PathBuf| ["initdb", "postgres"].iter().all(|name| directory.join(name).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).find(complete) {
        return Ok(Some(found));
    }
    let versions = Path::new("/usr/lib/postgresql");
    if !versions.is_dir() {
        return Ok(None);
    }
    let mut newest = None;
    for entry in fs::read_dir(versions).while_doing("list /usr/lib/postgresql")? {
        let path = entry.while_doing("list /usr/lib/postgresql")?.path();
        let version: Option<u32> = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let programs = path.join("bin");
        if let Some(version) = version.filter(|_| complete(&programs)) {
            newest = newest.max(Some((version, programs)));
        }
    }
    Ok(newest.map(|(_, programs)| programs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_still_starts_is_not_ready() {
        let lines = "4711\n/data\n1750000000\n5433\n/sockets\n127.0.0.1\n  1 2\n";
        assert!(!says_ready(lines));
        assert!(!says_ready(&format!("{lines}starting\n")));
        assert!(says_ready(&format!("{lines}ready   \n")));
    }
}
