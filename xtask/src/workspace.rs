//! The workspace's root, its packages, and its files.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, While};
use crate::process;
pub(crate) use crate::root::root;

/// Returns the names of all packages of the workspace.
pub(crate) fn packages() -> Result<Vec<String>, Failure> {
    let listing = process::output(&mut process::cargo([
        "tree",
        "--workspace",
        "--locked",
        "--depth",
        "0",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    let names: Vec<String> = package_names(&listing).collect();
    if names.is_empty() { Err(Failure::new("`cargo tree --workspace` named no package")) } else { Ok(names) }
}

/// Returns the package names in the output of `cargo tree --prefix none --format {p}`, in its order.
pub(crate) fn package_names(tree: &str) -> impl Iterator<Item = String> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned)
}

/// Returns the directory into which cargo builds.
pub(crate) fn target_directory() -> Result<PathBuf, Failure> {
    let metadata = process::output(&mut process::cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    metadata
        .split_once(r#""target_directory":""#)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(directory, _)| PathBuf::from(directory))
        .ok_or_else(|| Failure::new("`cargo metadata` named no target directory"))
}

/// Returns every file of the work tree, as sorted paths relative to its root, without build output and git's own
/// files.
pub(crate) fn files() -> Result<Vec<PathBuf>, Failure> {
    let root = root();
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        let entries = std::fs::read_dir(&directory).while_doing(format!("list {}", directory.display()))?;
        for entry in entries {
            let entry = entry.while_doing(format!("list {}", directory.display()))?;
            let kind = entry.file_type().while_doing(format!("look at {}", entry.path().display()))?;
            let path = entry.path();
            if kind.is_dir() {
                if entry.file_name() != "target" && entry.file_name() != ".git" {
                    directories.push(path);
                }
            } else if kind.is_file() {
                found.push(path.strip_prefix(&root).map(Path::to_owned).unwrap_or(path));
            }
        }
    }
    found.sort();
    Ok(found)
}
