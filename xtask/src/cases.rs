//! The lists from which macros make tests: the conformance suites' cases, and the scenarios.
//!
//! A test needs its name where the macro that makes it is expanded, and no macro collects the functions of several
//! files. One around all functions of a file could, but rustfmt formats nothing inside it. So a case's name is
//! written once, at its `pub async fn`: `cargo xtask fix` writes the lists, and lint rejects one that differs from
//! the functions.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Outcome, While};
use crate::workspace;

/// Each list: its file, and the directory of the modules whose functions it names.
const LISTS: [(&str, &str); 3] = [
    ("squidmesh-core/src/testing/store_suite/cases.rs", "squidmesh-core/src/testing/store_suite"),
    ("squidmesh-core/src/testing/executor_suite/cases.rs", "squidmesh-core/src/testing/executor_suite"),
    ("tests/tests/scenarios.rs", "tests/src/scenario"),
];

/// The line above a list, which ends before the next brace that closes.
const MARK: &str = "// Written by `cargo xtask fix`, from the functions:";

/// Checks that every list names every case.
pub(crate) fn check() -> Outcome {
    let stale = stale()?;
    let files: Vec<&str> = stale.iter().map(|(file, _)| *file).collect();
    let advice = "differs from the functions: run `cargo xtask fix`";
    if files.is_empty() { Ok(()) } else { Err(Failure::new(format!("{} {advice}", files.join(", ")))) }
}

/// Writes the lists that differ from the functions.
pub(crate) fn write() -> Outcome {
    for (file, text) in stale()? {
        fs::write(workspace::root().join(file), text).while_doing(format!("write {file}"))?;
    }
    Ok(())
}

/// Returns the files whose list differs from the functions, with their text as it has to be.
fn stale() -> Result<Vec<(&'static str, String)>, Failure> {
    let mut stale = Vec::new();
    for (file, directory) in LISTS {
        let text = read(&workspace::root().join(file))?;
        let listed = listed(&text, &modules(directory)?).ok_or_else(|| Failure::new(format!("{file} has no list")))?;
        if listed != text {
            stale.push((file, listed));
        }
    }
    Ok(stale)
}

/// Returns the names and the texts of a directory's modules, sorted.
fn modules(directory: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut modules = Vec::new();
    for file in fs::read_dir(workspace::root().join(directory)).while_doing(format!("list {directory}"))? {
        let path = file.while_doing(format!("list {directory}"))?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        modules.push((name, read(&path)?));
    }
    modules.sort();
    Ok(modules)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).while_doing(format!("read {}", path.display()))
}

/// Returns a text with its list as the modules' functions have it; `None` if it has no list.
fn listed(text: &str, modules: &[(String, String)]) -> Option<String> {
    let begin = text.find(MARK)?;
    let indent = text.get(text.get(..begin)?.rfind('\n')? + 1..begin)?;
    let begin = begin + MARK.len();
    let end = begin + text.get(begin..)?.find('}')?;
    let end = text.get(..end)?.rfind('\n')?;
    let mut list = String::new();
    for (module, source) in modules {
        let cases = source.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split(['(', '<']).next());
        let cases: String = cases.map(|case| format!("\n{indent}    {case}")).collect();
        if !cases.is_empty() {
            list.push_str(&format!("\n{indent}{module}:{cases};"));
        }
    }
    Some([text.get(..begin)?, &list, text.get(end..)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_listed_by_its_function() {
        let module = |name: &str, source: &str| (name.to_owned(), source.to_owned());
        let modules = [
            module("keys", "pub async fn one(a: A) {\n}\nasync fn helper() {}\npub async fn two(\n    a: A) {}\n"),
            module("setup", "pub(super) async fn ready() {}\n"),
            module("lease", "pub async fn three(a: A) {}\n"),
        ];
        let text = format!("list! {{\n    {MARK}\n    keys:\n        gone;\n}}\n\nfn other() {{}}\n");
        let wanted = format!(
            "list! {{\n    {MARK}\n    keys:\n        one\n        two;\n    lease:\n        three;\n}}\n\nfn other() {{}}\n"
        );
        assert_eq!(listed(&text, &modules).unwrap(), wanted);
        assert_eq!(listed(&wanted, &modules).unwrap(), wanted);
        assert_eq!(listed("list! {}", &modules), None);
    }

    #[test]
    fn every_case_is_listed() {
        assert!(check().is_ok(), "{}", check().err().map_or(String::new(), |failure| failure.to_string()));
    }
}
