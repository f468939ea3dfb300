//! `cargo xtask simulate`: whole deployments in virtual time, seed by seed, and a check that deliberate defects
//! are found.

use crate::failure::Outcome;
use crate::process::{self, cargo};

/// The number of seeds that the gate runs.
const SEEDS: &str = "2000";

/// Runs the simulator; arguments are passed to it unchanged. After `--release`, it is built with optimisation, for
/// millions of seeds.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    match arguments.split_first() {
        Some((first, rest)) if first == "--release" => simulate(true, rest.iter().map(String::as_str)),
        _ => simulate(false, arguments.iter().map(String::as_str)),
    }
}

/// Runs in the gate: seeds that must break no rule, and mutations that must each be caught.
pub(crate) fn gate(_: &[String]) -> Outcome {
    simulate(false, ["--seeds", SEEDS, "--jobs", "2"])?;
    simulate(false, ["--mutations", "--jobs", "2"])
}

fn simulate<'a>(release: bool, arguments: impl IntoIterator<Item = &'a str>) -> Outcome {
    let profile = if release { "release" } else { "test" };
    let mut command = vec!["run", "--quiet", "--profile", profile, "--package", "squidmesh-simulation"];
    command.extend(["--bin", "simulate", "--"]);
    command.extend(arguments);
    process::run_bound(&cargo(command))
}
