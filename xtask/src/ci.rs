//! `cargo xtask ci`: the whole gate. Every part runs, so that one run tells everything.

use std::time::Instant;

use crate::failure::{Failure, Outcome};
use crate::{Task, deny, fuzz, lint, refuse_unknown, simulate, test, torture};

/// Runs lint, deny, test, simulate, fuzz and torture, tells how long each took, and fails when any of them does.
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
        println!("\nthe gate is open: lint, deny, test, simulate, fuzz and torture passed");
        Ok(())
    } else {
        Err(Failure::new(format!("the gate is closed\n{}", failed.join("\n"))))
    }
}
