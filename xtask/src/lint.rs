//! `cargo xtask lint`: the read-only half of the gate. Cheap checks come first; all of them run, so that one run
//! shows every failure.

use std::time::Instant;

use crate::arguments::refuse_unknown;
use crate::failure::{Failure, Outcome};
use crate::process::{cargo, run as run_command};
use crate::{caging, cases, floors, layering, prose, tidy, vocabulary};

type Check = fn() -> Outcome;

/// Runs every check and lists those that failed.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("lint", arguments, &[])?;
    let checks: [(&str, Check); 11] = [
        ("tidy", tidy::check),
        ("prose", prose::check),
        ("vocabulary", vocabulary::check),
        ("host code is caged", caging::check),
        ("imports", floors::check),
        ("lists of cases", cases::check),
        ("format", || run_command(&mut cargo(["fmt", "--all", "--check"]))),
        ("layering", layering::check),
        ("clippy", clippy),
        ("docs", docs),
        ("each crate alone", layering::check_alone),
    ];
    let mut summary = String::new();
    let mut failures = Vec::new();
    for (name, check) in checks {
        let begun = Instant::now();
        let outcome = check();
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        summary.push_str(&format!("  {name:<20}{verdict:<8}{:>6.1} s\n", begun.elapsed().as_secs_f64()));
        if let Err(failure) = outcome {
            println!("\n{name}: {failure}");
            failures.push(name);
        }
    }
    println!("\nlint:\n{summary}");
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(format!("lint failed: {}", failures.join(", ")))) }
}

fn clippy() -> Outcome {
    run_command(&mut cargo([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs() -> Outcome {
    let mut command = cargo(["doc", "--locked", "--workspace", "--no-deps", "--all-features"]);
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}
