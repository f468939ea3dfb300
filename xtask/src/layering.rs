//! Which package may depend on which, checked package by package: features unified over a workspace would hide a
//! violation.

use crate::failure::{Failure, Outcome};
use crate::process::{self, cargo};
use crate::workspace;

const RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "async-io", "async-executor"];
const DATABASES: &[&str] = &["sea-orm", "sqlx", "rusqlite", "libsqlite3-sys", "tokio-postgres", "diesel"];
const QUEUES: &[&str] = &["redis", "fred", "lapin", "rdkafka"];
const WEB: &[&str] = &["axum", "hyper", "reqwest"];
const CORE: &[&str] = &["squidmesh-core"];
const STORE: &[&str] = &["squidmesh-store"];
const EXECUTORS: &[&str] = &["squidmesh-executor"];
const XTASK: &[&str] = &["xtask"];
const LEAVES: &[&str] = &[
    "squidmesh-tests",
    "squidmesh-examples",
    "squidmesh-example-loans",
    "squidmesh-bench",
    "squidmesh-fuzz",
    "squidmesh-checker",
    "squidmesh-simulation",
    "squidmesh-torture",
];

/// Returns the crates that `package` must never reach through its normal dependencies, with all features enabled.
/// A name also covers the crates that have it as a prefix (`sqlx` for `sqlx-core`). Returns `None` for a package
/// without a rule.
fn forbidden(package: &str) -> Option<Vec<&'static [&'static str]>> {
    match package {
        "squidmesh-core" => Some(vec![RUNTIMES, DATABASES, QUEUES, WEB, STORE, EXECUTORS, LEAVES, XTASK]),
        "squidmesh-store" => Some(vec![QUEUES, WEB, EXECUTORS, LEAVES, XTASK]),
        "squidmesh-executor-redis" => Some(vec![DATABASES, WEB, STORE, EXECUTORS, LEAVES, XTASK]),
        "xtask" => Some(vec![CORE, STORE, EXECUTORS, LEAVES]),
        "squidmesh-tests"
        | "squidmesh-examples"
        | "squidmesh-example-loans"
        | "squidmesh-bench"
        | "squidmesh-fuzz"
        | "squidmesh-torture" => Some(vec![XTASK]),
        "squidmesh-checker" | "squidmesh-simulation" => {
            Some(vec![RUNTIMES, DATABASES, QUEUES, WEB, STORE, EXECUTORS, XTASK])
        }
        executor if executor.starts_with("squidmesh-executor-") => {
            Some(vec![DATABASES, QUEUES, WEB, STORE, EXECUTORS, LEAVES, XTASK])
        }
        _ => None,
    }
}

/// Checks every package of the workspace against its rule; a package without a rule is a failure.
pub(crate) fn check() -> Outcome {
    let mut violations = Vec::new();
    for package in workspace::packages()? {
        let tree = process::output(&mut cargo([
            "tree",
            "--locked",
            "--package",
            &package,
            "--edges",
            "normal",
            "--all-features",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]))?;
        match violations_in(&package, &tree) {
            Ok(found) => violations.extend(found),
            Err(failure) => violations.push(failure.to_string()),
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(Failure::new(format!("\n  {}", violations.join("\n  ")))) }
}

/// Checks that each library builds alone, without the features that the rest of the workspace enables.
pub(crate) fn check_alone() -> Outcome {
    for package in workspace::packages()? {
        if package == "xtask" || LEAVES.contains(&package.as_str()) {
            continue;
        }
        process::run(&mut cargo(["check", "--locked", "--package", &package]))?;
        if package == "squidmesh-store" {
            let features = ["--no-default-features", "--features", "postgres"];
            process::run(cargo(["check", "--locked", "--package", &package]).args(features))?;
        }
    }
    Ok(())
}

fn violations_in(package: &str, tree: &str) -> Result<Vec<String>, Failure> {
    let Some(rule) = forbidden(package) else {
        return Err(Failure::new(format!("{package} has no layering rule: write one in {}", file!())));
    };
    let mut reached: Vec<String> = workspace::package_names(tree).collect();
    if reached.first().is_none_or(|first| first != package) {
        return Err(Failure::new(format!("`cargo tree` of {package} does not begin with {package}")));
    }
    reached.sort();
    reached.dedup();
    let breaks = |name: &String| name != package && rule.iter().copied().flatten().any(|family| is_of(name, family));
    Ok(reached.into_iter().filter(breaks).map(|name| format!("{package} must not depend on {name}")).collect())
}

fn is_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_below_the_core_is_a_violation() {
        let tree =
            "squidmesh-core v0.1.0 (/somewhere)\nserde v1.0.0\nevent-listener v5.0.0\ntokio v1.0.0\nserde v1.0.0 (*)";
        assert_eq!(violations_in("squidmesh-core", tree).unwrap(), ["squidmesh-core must not depend on tokio"]);
    }

    #[test]
    fn a_family_is_forbidden_by_its_prefix() {
        let tree = "squidmesh-executor-tokio v0.1.0\ntokio v1.0.0\nsqlx-core v0.9.0\nsqlxish v0.1.0";
        let found = violations_in("squidmesh-executor-tokio", tree).unwrap();
        assert_eq!(found, ["squidmesh-executor-tokio must not depend on sqlx-core"]);
    }

    #[test]
    fn an_executor_may_not_see_another() {
        let tree = "squidmesh-executor-redis v0.1.0\nredis v1.0.0\nsquidmesh-executor-tokio v0.1.0";
        let found = violations_in("squidmesh-executor-redis", tree).unwrap();
        assert_eq!(found, ["squidmesh-executor-redis must not depend on squidmesh-executor-tokio"]);
    }

    #[test]
    fn an_empty_tree_proves_nothing() {
        assert!(violations_in("squidmesh-core", "").is_err());
    }

    #[test]
    fn a_package_without_a_rule_is_refused() {
        assert!(violations_in("squidmesh-novelty", "squidmesh-novelty v0.1.0").is_err());
    }
}
