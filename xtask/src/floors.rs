//! How the files of a crate may import each other: never in a circle, and in the core only from the floors below.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome, While};
use crate::imports::{Crate, Imports};
use crate::workspace;

/// The crates whose files may not import each other in a circle.
const CRATES: &[&str] = &[
    "squidmesh-core",
    "squidmesh-store",
    "squidmesh-executor-tokio",
    "squidmesh-executor-redis",
    "simulation",
    "torture",
    "checker",
    "bench",
    "tests",
    "fuzz",
    "examples",
    "examples/loans",
    "xtask",
];

/// The crate with floors.
const CORE: &str = "squidmesh-core";

/// The modules of the core from the lowest floor up. A module imports only modules before it, so that each can be read
/// and tested with nothing but those: values, declarations, what happened, decisions, ports, the host's code, and what
/// carries the decisions out.
const FLOORS: &[&str] = &[
    "json",
    "lock",
    "id",
    "name",
    "time",
    "token",
    "cage",
    "chain",
    "cancellation",
    "crash_point",
    "schedule",
    "contract",
    "definition",
    "run",
    "dispatch",
    "event",
    "commit",
    "engine",
    "port",
    "handler",
    "workflow",
    "inspect",
    "tracing_sink",
    "deploy",
    "runtime",
    "runner",
    "dispatcher",
    "facade",
];

/// Imports against the order that are part of the design: importing file, imported file, reason.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("port/executor.rs", "runner/shared.rs", "an executor is given the runner, whose runtime holds the executor")];

/// Checks the product's own sources, without tests and the adapters for tests.
pub(crate) fn check() -> Outcome {
    let root = workspace::root();
    let files = workspace::files()?;
    let mut wrong = Vec::new();
    for name in CRATES {
        let source = Path::new(name).join("src");
        let mut texts = Vec::new();
        for path in files.iter().filter_map(|path| path.strip_prefix(&source).ok()).filter(|path| is_product(path)) {
            let whole = root.join(&source).join(path);
            texts.push((path, fs::read_to_string(&whole).while_doing(format!("read {}", whole.display()))?));
        }
        let mut imports = Crate::new(texts.iter().map(|(path, text)| (*path, text.as_str()))).imports();
        if *name == CORE {
            for (from, to, _) in EXCEPTIONS {
                if imports.remove(&(PathBuf::from(from), PathBuf::from(to))).is_none() {
                    wrong.push(format!(
                        "xtask/src/floors.rs: {from} imports nothing of {to} any more: remove the exception"
                    ));
                }
            }
            wrong.extend(against(&imports, FLOORS));
        }
        wrong.extend(circles(&imports).iter().map(|circle| format!("{name}: {circle}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("\n  {}", wrong.join("\n  ")))) }
}

/// Returns whether a path below `src` belongs to the product, and not to its tests or to the adapters for tests.
fn is_product(path: &Path) -> bool {
    let test = path.iter().any(|part| matches!(part.to_str(), Some("testing" | "tests" | "tests.rs")));
    path.extension().is_some_and(|extension| extension == "rs") && !test
}

/// Returns the imports from a higher floor.
fn against(imports: &Imports, floors: &[&str]) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for ((from, to), names) in imports {
        match (floor(from, floors), floor(to, floors)) {
            (Some(importing), Some(imported)) if importing < imported => {
                wrong.insert(format!("{}:{} of {}, from the floor above", from.display(), line(names), to.display()));
            }
            (Some(_), Some(_)) => {}
            (None, _) => drop(wrong.insert(format!("xtask/src/floors.rs: {} has no floor", from.display()))),
            (_, None) => drop(wrong.insert(format!("xtask/src/floors.rs: {} has no floor", to.display()))),
        }
    }
    wrong.into_iter().collect()
}

/// Returns the floor of a file. The crate's root is above all.
fn floor(path: &Path, floors: &[&str]) -> Option<usize> {
    let path = path.with_extension("");
    let root = (path == Path::new("lib")).then_some(floors.len());
    root.or_else(|| floors.iter().position(|name| path.starts_with(name)))
}

fn line(names: &crate::imports::Names) -> String {
    format!("{} imports {}", names.line, names.names.join(", "))
}

/// Returns the circles, each with the imports that make it one.
fn circles(imports: &Imports) -> Vec<String> {
    let mut next: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for (from, to) in imports.keys() {
        next.entry(from).or_default().insert(to);
    }
    let reached: BTreeMap<&Path, BTreeSet<&Path>> = next.keys().map(|from| (*from, reach(&next, from))).collect();
    let both = |one: &Path, other: &Path| {
        let leads = |from: &Path, to: &Path| reached.get(from).is_some_and(|all| all.contains(to));
        leads(one, other) && leads(other, one)
    };
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for from in next.keys().copied().filter(|from| both(from, from)) {
        if seen.contains(from) {
            continue;
        }
        let files: BTreeSet<&Path> = next.keys().copied().filter(|other| both(from, other)).collect();
        let ties = imports.iter().filter(|((from, to), _)| files.contains(&**from) && files.contains(&**to));
        let ties: Vec<String> =
            ties.map(|((from, to), names)| format!("{}:{} of {}", from.display(), line(names), to.display())).collect();
        circles.push(format!("{} files import each other in a circle:\n    {}", files.len(), ties.join("\n    ")));
        seen.extend(files);
    }
    circles
}

/// Returns every file that a file imports, directly or through others.
fn reach<'a>(next: &BTreeMap<&'a Path, BTreeSet<&'a Path>>, from: &Path) -> BTreeSet<&'a Path> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Path> = next.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(next.get(file).into_iter().flatten().copied());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(files: &[(&str, &str)]) -> Imports {
        Crate::new(files.iter().map(|(path, text)| (Path::new(*path), *text))).imports()
    }

    #[test]
    fn a_circle_is_found_with_the_imports_that_make_it() {
        let found = circles(&imports(&[
            ("a.rs", "use crate::b::B;\npub struct A;"),
            ("b.rs", "use crate::c::C;\npub struct B;"),
            ("c.rs", "\nuse crate::a::A;\nuse crate::d::D;\npub struct C;"),
            ("d.rs", "pub struct D;"),
        ]));
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert!(
            only.starts_with("3 files") && only.contains("c.rs:2 imports A of a.rs") && !only.contains("d.rs"),
            "{only}"
        );
    }

    #[test]
    fn files_that_import_downwards_are_no_circle() {
        let files = [
            ("a.rs", "use crate::{b::B, c::C};"),
            ("b.rs", "use crate::c::C;\npub struct B;"),
            ("c.rs", "pub struct C;"),
        ];
        assert_eq!(circles(&imports(&files)), [""; 0]);
    }

    #[test]
    fn an_import_from_a_floor_above_is_found() {
        let files = [
            ("low/mod.rs", "use crate::high::H;"),
            ("high.rs", "pub struct H;\nfn a() { crate::new::N }"),
            ("new.rs", "pub struct N;"),
        ];
        let wrong = against(&imports(&files), &["low", "high"]);
        assert_eq!(
            wrong,
            ["low/mod.rs:1 imports H of high.rs, from the floor above", "xtask/src/floors.rs: new.rs has no floor"]
        );
        assert_eq!(against(&imports(&files), &["new", "high", "low"]), [""; 0]);
    }

    #[test]
    fn the_files_of_the_product_import_downwards() {
        assert!(check().is_ok(), "{}", check().err().map_or(String::new(), |failure| failure.to_string()));
    }
}
