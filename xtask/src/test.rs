//! `cargo xtask test`: starts what the tests need, runs the tests, and checks that no store was left out.

use std::fs;

use crate::failure::{Failure, Outcome, While};
use crate::postgres::{self, Postgres};
use crate::process::{self, cargo};
use crate::redis::{self, Redis};
use crate::tally::Tally;
use crate::workspace;

/// The version of nextest to install if it is missing: it works with the workspace's Rust version.
const NEXTEST: &str = "0.9.143";

/// Without its self-update, whose TLS library takes longer to compile than the rest.
const NEXTEST_FEATURES: &[&str] = &["--no-default-features", "--features", "default-no-update"];

/// Runs the tests; arguments are passed to nextest unchanged (name filters, `-p package`, `-E expression`, ...).
pub(crate) fn run(arguments: &[String]) -> Outcome {
    process::ensure_cargo_tool("nextest", NEXTEST, NEXTEST_FEATURES)?;
    let postgres = Postgres::start()?;
    let redis = workspace::root().join("squidmesh-executor-redis").is_dir().then(Redis::start).transpose()?;
    let mut variables = vec![(postgres::VARIABLE, postgres.url.as_str())];
    variables.extend(redis.iter().map(|redis| (redis::VARIABLE, redis.url.as_str())));

    // nextest keeps its files under the workspace's root, even if the target directory is elsewhere.
    let report = workspace::root().join("target/nextest").join(profile(arguments)).join("junit.xml");
    if report.exists() {
        fs::remove_file(&report).while_doing("remove the report of the last run")?;
    }

    let mut nextest = vec!["nextest", "run", "--all-features"];
    let names_packages = arguments.iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--pack"));
    if !names_packages {
        nextest.push("--workspace");
    }
    nextest.extend(arguments.iter().map(String::as_str));
    let tested = process::run_bound(cargo(nextest).envs(variables.iter().copied()));

    let whole = arguments.is_empty();
    let documented = if whole {
        let mut doctests = cargo(["test", "--doc", "--workspace", "--all-features"]);
        process::run_bound(doctests.envs(variables.iter().copied()))
    } else {
        println!("\n(doctests run only without a filter)");
        Ok(())
    };

    let tally = fs::read_to_string(&report).map(|report| Tally::from_junit(&report)).unwrap_or_default();
    println!("\n{tally}");
    tested?;
    documented?;
    match tally.missing_store() {
        Some(store) if whole => Err(Failure::new(format!(
            "no test ran on {store}: a store was left out, so this run proves less than it should"
        ))),
        _ => Ok(()),
    }
}

/// Returns the requested nextest profile.
fn profile(arguments: &[String]) -> &str {
    let mut arguments = arguments.iter().map(String::as_str);
    let named = arguments.find_map(|argument| match argument {
        "--profile" | "-P" => Some(None),
        _ => argument.strip_prefix("--profile=").map(Some),
    });
    named.and_then(|name| name.or_else(|| arguments.next())).unwrap_or("default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_that_of_the_profile_asked_for() {
        let of =
            |arguments: &str| profile(&arguments.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).to_owned();
        assert_eq!(of("-p squidmesh-tests soak"), "default");
        assert_eq!(of("-p squidmesh-tests --profile long soak"), "long");
        assert_eq!(of("-P long"), "long");
        assert_eq!(of("soak --profile=long"), "long");
    }
}
