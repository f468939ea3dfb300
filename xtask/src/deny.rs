//! `cargo xtask deny`: the dependency policy of `deny.toml`.
//!
//! Separate from lint because its tool has to be compiled if it is missing; the gate runs both.

use crate::arguments::refuse_unknown;
use crate::failure::Outcome;
use crate::process::{cargo, ensure_cargo_tool, run as run_command};

/// The version of cargo-deny to install if it is missing.
const CARGO_DENY: &str = "0.20.2";

/// Checks bans, licences and sources; advisories only on request, since they need a database from the network.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("deny", arguments, &["--advisories"])?;
    ensure_cargo_tool("deny", CARGO_DENY, &[])?;
    let mut checks = vec!["deny", "--all-features", "--locked", "check", "bans", "licenses", "sources"];
    if !arguments.is_empty() {
        checks.push("advisories");
    }
    run_command(&mut cargo(checks))
}
