//! `cargo xtask bench`: a private Postgres with its durable defaults, and the benchmark's own program, built for
//! release.

use crate::failure::Outcome;
use crate::postgres::Postgres;
use crate::process::{self, cargo};
use crate::redis::Redis;
use crate::workspace;

/// Builds the program, starts the servers, and runs it; arguments are passed to the program unchanged.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    process::run(&mut cargo(["build", "--release", "--package", "squidmesh-bench"]))?;
    let postgres = Postgres::start_to_measure()?;
    let redis =
        workspace::root().join("squidmesh-executor-redis").is_dir().then(Redis::start_to_measure).transpose()?;
    let mut program = cargo(["run", "--quiet", "--release", "--package", "squidmesh-bench", "--"]);
    program.args(arguments).env("SQUIDMESH_BENCH_POSTGRES", &postgres.url);
    if let Some(redis) = &redis {
        program.env("SQUIDMESH_BENCH_REDIS", &redis.url);
    }
    process::run_bound(&program)
}
