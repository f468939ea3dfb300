//! `cargo xtask services`: the private servers, for running examples or single tests by hand.

use crate::failure::Outcome;
use crate::postgres::{self, Postgres};
use crate::redis::{self, Redis};
use crate::refuse_unknown;

/// Starts the servers, prints where they are, and keeps them until this process ends.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("services", arguments, &["--redis"])?;
    let mut postgres = Postgres::start()?;
    let with_redis = Redis::is_installed() || !arguments.is_empty();
    let redis = with_redis.then(Redis::start).transpose()?;

    println!("\nexport {}={}", postgres::VARIABLE, postgres.url);
    match &redis {
        Some(redis) => println!("export {}={}", redis::VARIABLE, redis.url),
        None => println!("(Redis is not installed; `cargo xtask services --redis` installs and starts it)"),
    }
    println!("\nCtrl-C stops the servers and removes their data.");
    postgres.server.wait_for_the_end()
}
