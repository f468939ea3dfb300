//! `cargo xtask torture`: real processes on real servers, of which everything is killed, stopped and cut. The program starts the
//! servers itself, for it is what kills them.

use std::process::Command;

use crate::failure::Outcome;
use crate::process::{self, cargo};
use crate::{postgres, redis, workspace};

/// How long the gate tortures.
const MINUTES: &str = "3";

/// Builds the program and runs it; arguments go to it as they are.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let programs = postgres::programs()?;
    redis::program()?;
    // What the tests are built with, so that nothing is built twice.
    process::run(&mut cargo(["build", "--workspace", "--all-features", "--tests", "--bin", "torture"]))?;
    let mut program = Command::new(workspace::target_directory()?.join("debug/torture"));
    program.args(arguments).env("SQUIDMESH_TORTURE_POSTGRES", programs).current_dir(workspace::root());
    process::run_bound(&program)
}

/// The part of the gate: nothing is broken, and what is broken on purpose is found.
pub(crate) fn gate(_: &[String]) -> Outcome {
    run(&["--minutes", MINUTES].map(str::to_owned))?;
    run(&["--minutes", "0.2", "--only", "sqlite", "--defect", "early-retry"].map(str::to_owned))
}
