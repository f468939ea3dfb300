//! `cargo xtask fix`: the fixes that a machine can make.

use crate::arguments::refuse_unknown;
use crate::cases;
use crate::failure::Outcome;
use crate::process::{cargo, run as run_command};

/// Lists the tests' cases, applies clippy's suggestions, then formats.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("fix", arguments, &[])?;
    cases::write()?;
    run_command(&mut cargo([
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
        "--all-features",
    ]))?;
    run_command(&mut cargo(["fmt", "--all"]))
}
