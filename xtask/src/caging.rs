//! Host code runs only in its cage: finds the places in the product that call or poll it, or catch its panics,
//! without one.
//!
//! Examines text, a few lines at a time, and not types; therefore each name below must occur somewhere, or it is
//! out of date.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Outcome, While};
use crate::workspace;

/// The only file that catches panics.
const CAGE: &str = "squidmesh-core/src/cage.rs";

/// Names that no other file may use.
const PANICS: &[&str] = &["catch_unwind", "AssertUnwindSafe", "resume_unwind"];

/// Calls of host code, as the product writes them.
const HOST_CODE: &[(&str, &str)] = &[
    ("handler.call(", "a handler"),
    ("sink.emit(", "an event sink"),
    ("by.show(", "a redaction"),
    ("executor.check(", "an executor"),
    ("executor.describe(", "an executor"),
    ("executor.publish(", "an executor"),
    ("executor.run(", "an executor"),
    ("Box::pin(shutdown)", "a future that says when to shut down"),
    ("error.to_string()).unwrap_or_else(|_| NO_TEXT", "the text of an error"),
];

/// The code around such a call: the cage, or a function that applies it.
const CAGES: &[&str] = &["cage::call(", "Caged::new(", ".bounded("];

/// The number of lines before the call in which the cage may be.
const BEFORE: usize = 2;

/// Checks the product's own sources, except for tests and the adapters for tests.
pub(crate) fn check() -> Outcome {
    let root = workspace::root();
    let mut wrong = Vec::new();
    let mut seen = vec![false; HOST_CODE.len()];
    for path in workspace::files()?.into_iter().filter(|path| is_product(path)) {
        let text = fs::read_to_string(root.join(&path)).while_doing(format!("read {}", path.display()))?;
        wrong.extend(outside(&path, &text, &mut seen));
    }
    for ((call, _), _) in HOST_CODE.iter().zip(seen).filter(|(_, seen)| !seen) {
        wrong.push(format!("xtask/src/caging.rs: `{call}` occurs nowhere any more: say how that code is called now"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("\n  {}", wrong.join("\n  ")))) }
}

/// Returns whether a file is part of the product itself, and not of its tests or of the adapters for tests.
pub(crate) fn is_product(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
    let [package, "src", within @ ..] = parts.as_slice() else { return false };
    let tests = within.iter().any(|part| matches!(*part, "testing" | "tests" | "tests.rs"));
    package.starts_with("squidmesh-") && within.last().is_some_and(|file| file.ends_with(".rs")) && !tests
}

/// Returns the lines of a file, up to its tests, that use host code outside of the cage.
fn outside(path: &Path, text: &str, seen: &mut [bool]) -> Vec<String> {
    if path == Path::new(CAGE) {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap_or(line)).collect();
    let mut wrong = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let at = || format!("{}:{}", path.display(), place + 1);
        if let Some(name) = PANICS.iter().find(|name| line.contains(**name)) {
            wrong.push(format!(
                "{}: `{name}`: panics are caught by `{CAGE}` alone, which also drops their payloads",
                at()
            ));
        }
        for ((call, whose), seen) in HOST_CODE.iter().zip(seen.iter_mut()).filter(|((call, _), _)| line.contains(call))
        {
            *seen = true;
            let near = lines.get(place.saturating_sub(BEFORE)..=place).unwrap_or_default();
            if !near.iter().any(|line| CAGES.iter().any(|cage| line.contains(cage))) {
                wrong.push(format!("{}: `{call}` is code of the host ({whose}): call it in `cage::call`", at()));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        outside(Path::new("squidmesh-core/src/runtime/shared.rs"), text, &mut vec![false; HOST_CODE.len()])
    }

    #[test]
    fn a_call_outside_of_the_cage_is_found() {
        assert_eq!(found("//! Announces.\nfn a() {\n    sink.emit(&event);\n}\n").len(), 1);
        assert_eq!(found("fn a() {\n    if cage::call(|| sink.emit(&event)).is_err() {}\n}\n"), [""; 0]);
        assert_eq!(found("let ended = self\n    .bounded(\n        || handler.call(input),\n    );\n"), [""; 0]);
    }

    #[test]
    fn a_panic_that_is_caught_elsewhere_is_found() {
        let text = "fn a() {\n    let _ = std::panic::catch_unwind(b);\n}\n";
        assert!(matches!(found(text).as_slice(), [only] if only.contains("shared.rs:2")));
        assert_eq!(found("// no catch_unwind here\n"), [""; 0]);
        assert_eq!(found("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { catch_unwind(c) }\n}\n"), [""; 0]);
    }

    #[test]
    fn tests_and_adapters_for_tests_are_no_product() {
        for (path, product) in [
            ("squidmesh-core/src/runner/step.rs", true),
            ("squidmesh-executor-tokio/src/lane.rs", true),
            ("squidmesh-core/src/testing/block_on.rs", false),
            ("squidmesh-core/src/schedule/tests.rs", false),
            ("squidmesh-core/tests/run_model/model.rs", false),
            ("tests/src/world.rs", false),
        ] {
            assert_eq!(is_product(Path::new(path)), product, "{path}");
        }
    }

    #[test]
    fn the_product_touches_code_of_the_host_in_its_cage() {
        assert!(check().is_ok(), "{:?}", check());
    }
}
