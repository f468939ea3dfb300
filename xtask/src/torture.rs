//! `cargo xtask torture`: real processes on real servers, which are killed, stopped and disconnected. The program
//! starts the servers itself, because it is what kills them.

use std::process::Command;

use crate::failure::Outcome;
use crate::process::{self, cargo};
use crate::{postgres, redis, workspace};

/// How many minutes the gate runs.
const MINUTES: &str = "3";

/// Builds the program and runs it; arguments are passed to it unchanged.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let programs = postgres::programs()?;
    redis::program()?;
    // The profile and features of the test build, so that nothing is built twice.
    let build = ["build", "--profile", "test", "--workspace", "--all-features", "--tests", "--bin", "torture"];
    process::run(&mut cargo(build))?;
    let mut program = Command::new(workspace::target_directory()?.join("debug/torture"));
    program.args(arguments).env("SQUIDMESH_TORTURE_POSTGRES", programs).current_dir(workspace::root());
    process::run_bound(&program)
}

/// Runs in the gate: no check may fail, and a deliberate defect must be found.
pub(crate) fn gate(_: &[String]) -> Outcome {
    run(&["--minutes", MINUTES].map(str::to_owned))?;
    run(&["--minutes", "0.2", "--only", "sqlite", "--defect", "early-retry"].map(str::to_owned))
}
