//! `cargo xtask services`: the private servers, for running examples or single tests by hand.

use crate::arguments::refuse_unknown;
use crate::failure::Outcome;
use crate::guardian;
use crate::postgres::{self, Postgres};
use crate::redis::{self, Redis};

/// Starts the servers, prints their addresses and what to try on them, and keeps them until this process ends.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("services", arguments, &[])?;
    let mut postgres = Postgres::start()?;
    let mut redis = Redis::start()?;

    println!("\nexport {}={}", postgres::VARIABLE, postgres.url);
    println!("export {}={}", redis::VARIABLE, redis.url);
    println!("\nThe model host, with four worker processes over Redis:\n\n{}", checkout(&postgres.url, &redis.url));
    println!("\nCtrl-C stops the servers and removes their data.");
    guardian::wait_for_the_end_of_any([&mut postgres.server, &mut redis.server])
}

/// Returns the command line that runs the checkout example on these servers.
fn checkout(store: &str, redis: &str) -> String {
    format!(
        "cargo run -p squidmesh-examples --no-default-features --features postgres,redis -- \\\n  \
         --store {store} --redis {redis} --workers 4"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_try_out_names_both_servers() {
        let line = checkout("postgres://squidmesh@127.0.0.1:1/postgres", "redis://127.0.0.1:2");
        assert!(
            line.contains("-- \\\n  --store postgres://squidmesh@127.0.0.1:1/postgres --redis redis://127.0.0.1:2 "),
            "{line}"
        );
    }
}
