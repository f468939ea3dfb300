//! `cargo xtask host-features`: the core's tests in a host whose other crates enable features of `serde_json`.
//!
//! Features are enabled for a whole program, so the workspace's own tests never run with these: they are built
//! separately.

use crate::arguments::refuse_unknown;
use crate::failure::Outcome;
use crate::process::{cargo, run as run_command};

/// The features that other crates may enable.
const FEATURES: [&str; 5] = [
    "testing",
    "serde_json/arbitrary_precision",
    "serde_json/preserve_order",
    "serde_json/raw_value",
    "serde_json/unbounded_depth",
];

/// The tests of the core that read, write, hash and judge JSON.
const TESTS: [&str; 3] = ["definition", "host_features", "memory_conformance"];

/// Builds and runs the tests.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("host-features", arguments, &[])?;
    let mut command = cargo(["test", "--locked", "--quiet", "--package", "squidmesh-core", "--lib"]);
    for test in TESTS {
        command.args(["--test", test]);
    }
    command.arg("--features").arg(FEATURES.join(","));
    // These tests are few: it takes longer to optimise them than to run them.
    command.args(["--config", "profile.test.package.squidmesh-core.opt-level=0"]);
    // The time that large definitions take is measured with the number type that most hosts use.
    run_command(command.args(["--", "--skip", "scale::"]))
}
