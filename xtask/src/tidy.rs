//! House rules that no other tool checks: module docs, short files, no unfinished code, reasons in the manifest, and
//! twins that stay alike.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Outcome, While};
use crate::workspace;

/// A file longer than this needs a reason below.
const LONGEST_FILE: usize = 500;

/// Files over the limit that are one concept nevertheless: the path and the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Text that must not occur in a Rust file, and the advice. (Assembled here, so that this file does not contain
/// it.)
const UNFINISHED: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it or file an issue"),
    (concat!("unimplemented", "!("), "finish it or return a typed error"),
    (concat!("#[", "ignore"), "a test that does not run proves nothing: mend it or remove it"),
];

/// Arithmetic on the current time, which panics if the sum is out of range, as with `Duration::MAX`.
const ADDED_TO_NOW: &[&str] = &["now() + ", "now() - ", " now + ", "(now + "];

/// Files of the product in which the added duration is bounded: the path and the bound.
const BOUNDED_TIMES: &[(&str, &str)] = &[
    ("squidmesh-executor-redis/src/announce.rs", "constants"),
    ("squidmesh-executor-redis/src/connection.rs", "constants"),
    ("squidmesh-executor-redis/src/reader.rs", "constants"),
    ("squidmesh-executor-redis/src/sweep.rs", "an interval of a day at most, which is checked when a runtime is built"),
    ("squidmesh-store/src/pool/calls.rs", "whole milliseconds in 64 bits, which an instant bears"),
    ("squidmesh-store/src/pool/own.rs", "whole milliseconds in 64 bits, which an instant bears"),
];

/// Files that two crates each have because neither may know the other: a change of one is a change of both.
const TWINS: &[[&str; 2]] = &[
    ["squidmesh-executor-tokio/src/clock.rs", "squidmesh-executor-redis/src/clock.rs"],
    ["squidmesh-executor-tokio/src/heartbeat.rs", "squidmesh-executor-redis/src/heartbeat.rs"],
];

/// Paths of a person's machine, which must not occur in any file.
const MACHINE_PATHS: &[&str] = &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Checks every file of the work tree and lists every violation.
pub(crate) fn check() -> Outcome {
    let root = workspace::root();
    let mut wrong = Vec::new();
    let mut lengths = Vec::new();
    for path in workspace::files()? {
        let bytes = fs::read(root.join(&path)).while_doing(format!("read {}", path.display()))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if path.extension().is_some_and(|extension| extension == "rs") {
            wrong.extend(wrong_in_rust(&path, &text));
            wrong.extend(wrong_times(&path, &text));
            lengths.push((path.clone(), text.lines().count()));
        }
        if path.file_name().is_some_and(|name| name == "Cargo.toml") {
            wrong.extend(wrong_in_manifest(&path, &text));
        }
        wrong.extend(machine_paths_in(&path, &text));
    }
    wrong.extend(wrong_lengths(&lengths, LONG_FILES));
    wrong.extend(wrong_twins()?);
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("\n  {}", wrong.join("\n  ")))) }
}

fn wrong_in_rust(path: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.starts_with("//!") {
        wrong
            .push(format!("{}:1: begin with `//!` docs: what this module knows, and what it must not", path.display()));
    }
    for (number, line) in (1..).zip(text.lines()) {
        for (unfinished, advice) in UNFINISHED {
            if line.contains(unfinished) {
                wrong.push(format!("{}:{number}: `{unfinished}`: {advice}", path.display()));
            }
        }
    }
    wrong
}

/// Checks the product, up to a file's tests: waiting for any duration that a host may choose must not panic.
fn wrong_times(path: &Path, text: &str) -> Vec<String> {
    let bounded = BOUNDED_TIMES.iter().any(|(bounded, _)| Path::new(bounded) == path);
    if bounded || !crate::caging::is_product(path) {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let found = (1..).zip(code.lines()).filter(|(_, line)| ADDED_TO_NOW.iter().any(|added| line.contains(added)));
    let advice = "panics if the sum is out of range: use `sleep`, `timeout` or `checked_add`, or give its bound";
    found.map(|(number, _)| format!("{}:{number}: arithmetic on the time of now {advice}", path.display())).collect()
}

fn wrong_lengths(lengths: &[(impl AsRef<Path>, usize)], allowed: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, lines) in lengths {
        let path = path.as_ref();
        if *lines > LONGEST_FILE && !allowed.iter().any(|(long, _)| Path::new(long) == path) {
            wrong.push(format!("{}: {lines} lines, over {LONGEST_FILE}: split it, or give its reason", path.display()));
        }
    }
    for (long, _) in allowed {
        if !lengths.iter().any(|(path, lines)| path.as_ref() == Path::new(long) && *lines > LONGEST_FILE) {
            wrong.push(format!("{long}: not over {LONGEST_FILE} lines any more: take it off the list of long files"));
        }
    }
    wrong
}

fn wrong_twins() -> Result<Vec<String>, Failure> {
    let read = |path: &str| fs::read(workspace::root().join(path)).while_doing(format!("read {path}"));
    let mut wrong = Vec::new();
    for [one, other] in TWINS {
        if read(one)? != read(other)? {
            wrong.push(format!("{other}: differs from {one}: change both alike"));
        }
    }
    Ok(wrong)
}

/// Checks that every dependency in the workspace's manifest is on one line with its reason; other manifests only
/// refer to it.
fn wrong_in_manifest(path: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut section = "";
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.starts_with('[') && line.contains(']') && !line.contains('=') {
            section = line;
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = format!("{}:{number}", path.display());
        if section == "[workspace.dependencies]" {
            let (entry, reason) = line.split_once(" # ").unwrap_or((line, ""));
            if !entry.contains("path = ") && reason.trim().is_empty() {
                wrong.push(format!("{at}: say in a comment on the same line why this dependency is worth its weight"));
            }
        } else if section.ends_with("dependencies]") && !line.contains("workspace = true") && !line.contains("path = ")
        {
            wrong.push(format!(
                "{at}: name the dependency in the workspace's manifest, and use `workspace = true` here"
            ));
        }
    }
    wrong
}

fn machine_paths_in(path: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(found) = MACHINE_PATHS.iter().find(|machine_path| line.contains(**machine_path)) {
            wrong.push(format!("{}:{number}: `{found}` is a path of one machine", path.display()));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_module_docs_is_found() {
        assert_eq!(wrong_in_rust(Path::new("a.rs"), "use std::fs;\n").len(), 1);
        assert!(wrong_in_rust(Path::new("a.rs"), "//! Knows a.\nuse std::fs;\n").is_empty());
    }

    #[test]
    fn unfinished_code_is_found_by_line() {
        let text = format!("//! Knows a.\nfn a() {{ {} }}\n", concat!("todo", "!()"));
        let wrong = wrong_in_rust(Path::new("a.rs"), &text);
        assert!(matches!(wrong.as_slice(), [only] if only.starts_with("a.rs:2:")), "{wrong:?}");
    }

    #[test]
    fn a_long_file_needs_a_reason_and_a_reason_needs_a_long_file() {
        let lengths = [("long.rs", LONGEST_FILE + 1), ("short.rs", LONGEST_FILE)];
        assert_eq!(wrong_lengths(&lengths, &[]).len(), 1);
        assert!(wrong_lengths(&lengths, &[("long.rs", "one table")]).is_empty());
        assert_eq!(wrong_lengths(&lengths, &[("long.rs", "one table"), ("short.rs", "it was long")]).len(), 1);
    }

    #[test]
    fn a_time_that_may_be_out_of_range_is_found() {
        let text = "//! Waits.\nlet deadline = Instant::now() + self.drain;\n";
        let wrong = wrong_times(Path::new("squidmesh-executor-tokio/src/lane.rs"), text);
        assert!(matches!(wrong.as_slice(), [only] if only.starts_with("squidmesh-executor-tokio/src/lane.rs:2:")));
        for path in ["squidmesh-store/src/pool/calls.rs", "tests/tests/idle.rs"] {
            assert_eq!(wrong_times(Path::new(path), text), [""; 0], "{path}");
        }
        let times = BOUNDED_TIMES.iter().filter(|(path, _)| !workspace::root().join(path).is_file());
        assert_eq!(times.count(), 0, "a file that is gone needs no bound");
    }

    #[test]
    fn a_dependency_needs_its_reason_and_its_place() {
        let root = "[workspace.dependencies]\nours = { path = \"ours\" }\nserde = \"1\" # data\nrand = \"1\"\n";
        let wrong = wrong_in_manifest(Path::new("Cargo.toml"), root);
        assert!(matches!(wrong.as_slice(), [only] if only.starts_with("Cargo.toml:4:")), "{wrong:?}");
        let member = "[dependencies]\nserde.workspace = true\nme = { path = \".\" }\n[dev-dependencies]\nrand = \"1\"\n[lints]\nworkspace = true\n";
        let wrong = wrong_in_manifest(Path::new("m/Cargo.toml"), member);
        assert!(matches!(wrong.as_slice(), [only] if only.starts_with("m/Cargo.toml:5:")), "{wrong:?}");
    }

    #[test]
    fn twins_are_alike() {
        assert_eq!(wrong_twins().unwrap(), [""; 0]);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = concat!("see /ho", "me/ann/notes");
        assert_eq!(machine_paths_in(Path::new("notes.md"), text).len(), 1);
    }
}
