//! `cargo xtask ci`: the whole gate. Every part runs, so that one run tells everything.

use crate::failure::{Failure, Outcome};
use crate::{Task, deny, fuzz, lint, refuse_unknown, simulate, test, torture};

/// Runs lint, deny, test, simulate, fuzz and torture, and fails when any of them does.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("ci", arguments, &[])?;
    let parts: [(&str, Task); 6] = [
        ("lint", lint::run),
        ("deny", deny::run),
        ("test", test::run),
        ("simulate", simulate::gate),
        ("fuzz", fuzz::gate),
        ("torture", torture::gate),
    ];
    let mut failed = Vec::new();
    for (name, part) in parts {
        println!("\n=== {name} ===");
        if let Err(failure) = part(&[]) {
            println!("\n{name}: {failure}");
            failed.push(format!("{name}: {failure}"));
        }
    }
    if failed.is_empty() {
        println!("\nthe gate is open: lint, deny, test, simulate, fuzz and torture passed");
        Ok(())
    } else {
        Err(Failure::new(format!("the gate is closed\n{}", failed.join("\n"))))
    }
}
