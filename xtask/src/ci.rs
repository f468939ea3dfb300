//! `cargo xtask ci`: the whole gate. Every part runs, so that one run shows everything.

use std::time::Instant;

use crate::arguments::{Task, refuse_unknown};
use crate::failure::{Failure, Outcome};
use crate::{deny, fuzz, host_features, lint, package, simulate, test, torture};

/// Runs lint, deny, package, test, host-features, simulate, fuzz and torture, prints how long each took, and fails if
/// any of them does.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("ci", arguments, &[])?;
    let parts: [(&str, Task); 8] = [
        ("lint", lint::run),
        ("deny", deny::run),
        ("package", package::run),
        ("test", test::run),
        ("host-features", host_features::run),
        ("simulate", simulate::gate),
        ("fuzz", fuzz::gate),
        ("torture", torture::gate),
    ];
    let (mut failed, mut took) = (Vec::new(), Vec::new());
    for (name, part) in parts {
        println!("\n=== {name} ===");
        let begun = Instant::now();
        if let Err(failure) = part(&[]) {
            println!("\n{name}: {failure}");
            failed.push(format!("{name}: {failure}"));
        }
        took.push(format!("{name} {:.0} s", begun.elapsed().as_secs_f64()));
    }
    println!("\nit took: {}", took.join(", "));
    if failed.is_empty() {
        println!("\nthe gate is open: lint, deny, package, test, host-features, simulate, fuzz and torture passed");
        Ok(())
    } else {
        Err(Failure::new(format!("the gate is closed\n{}", failed.join("\n"))))
    }
}
