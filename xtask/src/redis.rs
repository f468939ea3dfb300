//! A private Redis server: memory only, a free port, reachable from this machine only.

use std::fs;
use std::path::PathBuf;

use crate::debian;
use crate::failure::Failure;
use crate::guardian::{Guarded, Server, on_a_free_port};
use crate::process;

/// The variable in which tests find the server.
pub(crate) const VARIABLE: &str = "SQUIDMESH_TEST_REDIS";

/// A running throw-away Redis.
pub(crate) struct Redis {
    pub(crate) server: Guarded,
    pub(crate) url: String,
}

impl Redis {
    /// Installs Redis if it is missing, and starts a private server.
    pub(crate) fn start() -> Result<Self, Failure> {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts a server with Redis's own defaults for persistence.
    pub(crate) fn start_to_measure() -> Result<Self, Failure> {
        Self::start_with(&[])
    }

    fn start_with(settings: &[&str]) -> Result<Self, Failure> {
        let program = program()?;
        let (server, port) = on_a_free_port(|port| {
            Guarded::start(&Server {
                name: "redis",
                script: START,
                arguments: &[&[&*program.to_string_lossy(), &port.to_string()], settings].concat(),
                stop_signal: "TERM",
                user: "redis",
                ready: |directory| {
                    fs::read_to_string(directory.join("log"))
                        .is_ok_and(|log| log.contains("Ready to accept connections"))
                },
            })
        })?;
        println!("started a private Redis on port {port}");
        Ok(Self { server, url: format!("redis://127.0.0.1:{port}") })
    }
}

/// `$0` is the server's directory, `$1` the program, `$2` the port; the rest are settings.
const START: &str = r#"
program=$1 port=$2
shift 2
exec "$program" --port "$port" --bind 127.0.0.1 --dir "$0" --daemonize no "$@"
"#;

/// Returns the server's program, and installs it if it is missing.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    if let Some(found) = process::on_path("redis-server") {
        return Ok(found);
    }
    debian::install("Redis", "redis-server")?;
    process::on_path("redis-server")
        .ok_or_else(|| Failure::new("`redis-server` was installed, but PATH has no redis-server"))
}
