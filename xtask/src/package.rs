//! `cargo xtask package`: what crates.io and docs.rs would receive of each library crate.
//!
//! Makes the packages and does not build them: to build the four with all their dependencies once more takes minutes,
//! and the code is covered by clippy, the tests, and the check of each crate alone. What these cannot notice is checked
//! here: that a package holds every file that its sources read, and that its manifest is complete. Needs no registry,
//! and so writes no lock file. `--verify` makes the packages as `cargo publish` does: with a lock file, and built.
//!
//! `rust-version` is proven by the gate's own builds if it is the version of the compiler in use. With a newer compiler,
//! clippy still rejects newer items of the standard library (`incompatible_msrv`); an older one is refused by cargo.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::arguments::refuse_unknown;
use crate::failure::{Failure, Outcome, While};
use crate::process::{self, cargo};
use crate::workspace;

/// The beginnings of the lines that the manifest of a library needs.
const ENTRIES: &[&str] = &[
    "description = ",
    "version.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "repository.workspace = true",
    "readme = \"README.md\"",
    "keywords = ",
    "categories = ",
    "[package.metadata.docs.rs]",
    "all-features = true",
    "rustdoc-args = [\"--cfg\", \"docsrs\"]",
];

/// The maximum number of keywords that crates.io accepts.
const KEYWORDS: usize = 5;

/// The files that every package holds beside its sources.
const FILES: &[&str] = &["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// What stands before the path of a file that a source includes.
const INCLUDES: &[&str] = &["include_str!(\"", "include_bytes!(\"", "include!(\"", "#[path = \""];

/// Makes the packages and checks their files and manifests.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    refuse_unknown("package", arguments, &["--verify"])?;
    let libraries = libraries()?;
    let mut command = cargo(["package", "--allow-dirty"]);
    if arguments.is_empty() {
        command.args(["--offline", "--quiet", "--no-verify", "--exclude-lockfile"]);
    }
    command.args(libraries.iter().flat_map(|library| ["--package", library]));
    process::run(&mut command)?;

    let mut wrong = Vec::new();
    for library in &libraries {
        let held = held_by(library)?;
        println!("{library}: {} files", held.len());
        wrong.extend(wrong_in_manifest(library)?);
        wrong.extend(missing_in(library, &held)?);
    }
    println!("{}", rust_version()?);
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("\n  {}", wrong.join("\n  ")))) }
}

/// Returns the packages that are published. Each is in the directory of its name.
fn libraries() -> Result<Vec<String>, Failure> {
    let mut libraries = Vec::new();
    for path in workspace::files()? {
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
        if let [package, "Cargo.toml"] = parts.as_slice()
            && !read(&path)?.contains("publish = false")
        {
            libraries.push((*package).to_owned());
        }
    }
    if libraries.is_empty() { Err(Failure::new("no package is to be published")) } else { Ok(libraries) }
}

/// Returns the files that the package of a library holds, relative to the library's directory.
fn held_by(library: &str) -> Result<BTreeSet<PathBuf>, Failure> {
    let list =
        ["package", "--offline", "--quiet", "--list", "--exclude-lockfile", "--allow-dirty", "--package", library];
    Ok(process::output(&mut cargo(list))?.lines().map(PathBuf::from).collect())
}

fn wrong_in_manifest(library: &str) -> Result<Vec<String>, Failure> {
    let manifest = read(&Path::new(library).join("Cargo.toml"))?;
    Ok(missing_entries(&manifest).into_iter().map(|missing| format!("{library}/Cargo.toml: {missing}")).collect())
}

fn missing_entries(manifest: &str) -> Vec<String> {
    let missing = ENTRIES.iter().filter(|entry| !manifest.lines().any(|line| line.starts_with(**entry)));
    let mut wrong: Vec<String> = missing.map(|entry| format!("no line begins with `{entry}`")).collect();
    let keywords = manifest.lines().find_map(|line| line.strip_prefix("keywords = "));
    if keywords.is_some_and(|keywords| keywords.split(',').count() > KEYWORDS) {
        wrong.push(format!("crates.io accepts {KEYWORDS} keywords"));
    }
    wrong
}

/// Returns the files that the package lacks: its own sources, what they include, and what every package holds.
fn missing_in(library: &str, held: &BTreeSet<PathBuf>) -> Result<Vec<String>, Failure> {
    let mut wanted: Vec<(PathBuf, String)> =
        FILES.iter().map(|file| (PathBuf::from(file), "every package holds it".to_owned())).collect();
    for path in workspace::files()? {
        let Ok(within) = path.strip_prefix(library) else { continue };
        if within.starts_with("src") {
            wanted.push((within.to_owned(), "it is a source".to_owned()));
        }
        if held.contains(within) && within.extension().is_some_and(|extension| extension == "rs") {
            let reason = format!("{} includes it", path.display());
            wanted.extend(included(within, &read(&path)?).into_iter().map(|file| (file, reason.clone())));
        }
    }
    let missing = wanted.into_iter().filter(|(file, _)| !held.contains(file));
    Ok(missing.map(|(file, reason)| format!("the package {library} lacks {}: {reason}", file.display())).collect())
}

/// Returns the files that a source includes by a literal path.
fn included(source: &Path, text: &str) -> Vec<PathBuf> {
    let directory = source.parent().unwrap_or(Path::new(""));
    let literals =
        INCLUDES.iter().flat_map(|begin| text.split(begin).skip(1).filter_map(|rest| rest.split('"').next()));
    literals.map(|literal| normalized(&directory.join(literal))).collect()
}

/// Resolves `..` in a path, as far as it stays inside.
fn normalized(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if normal.file_name().is_some() => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// Returns what the compiler in use proves of the workspace's `rust-version`.
fn rust_version() -> Result<String, Failure> {
    let manifest = read(Path::new("Cargo.toml"))?;
    let stated = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let stated = stated.ok_or_else(|| Failure::new("Cargo.toml states no rust-version"))?.trim_matches('"').to_owned();
    let compiler = process::output(&mut cargo(["--version"]))?;
    Ok(proof(&stated, compiler.split_whitespace().nth(1).unwrap_or_default()))
}

fn proof(stated: &str, compiler: &str) -> String {
    if compiler.strip_prefix(stated).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
        format!("rust-version {stated}: the compiler in use, so every build proves it")
    } else {
        format!(
            "rust-version {stated}: the compiler in use is {compiler}, so only clippy's incompatible_msrv checks it"
        )
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(workspace::root().join(path)).while_doing(format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_included_file_is_found_beside_its_source() {
        let text = concat!(
            "#[doc = include",
            "_str!(\"../docs/a.md\")]\ninclude",
            "_bytes!(\"b.bin\"); #[path",
            " = \"c.rs\"]"
        );
        let expected = ["docs/a.md", "src/b.bin", "src/c.rs"].map(PathBuf::from);
        assert_eq!(included(Path::new("src/lib.rs"), text), expected);
    }

    #[test]
    fn a_path_that_leaves_the_package_is_not_in_it() {
        assert_eq!(normalized(Path::new("src/../../other/a.md")), Path::new("../other/a.md"));
        assert_eq!(normalized(Path::new("src/./a/../b.md")), Path::new("src/b.md"));
    }

    #[test]
    fn a_package_without_an_included_file_is_found() {
        let held = |files: &[&str]| files.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        let missing = missing_in("xtask", &held(&["README.md", "LICENSE-MIT", "src/debian.rs"])).unwrap();
        for lacked in
            ["LICENSE-APACHE: every", "src/ci.rs: it is a source", "src/debian-install.sh: xtask/src/debian.rs"]
        {
            assert!(missing.iter().any(|found| found.contains(lacked)), "{lacked}: {missing:?}");
        }
    }

    #[test]
    fn an_entry_that_is_missing_is_found() {
        let manifest = ENTRIES.join("\n");
        assert_eq!(missing_entries(&manifest), [""; 0]);
        assert_eq!(missing_entries(&manifest.replace("readme", "read-me")).len(), 1);
        let many = manifest.replace("keywords = ", "keywords = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\"]");
        assert_eq!(missing_entries(&many).len(), 1);
    }

    #[test]
    fn the_libraries_can_be_packaged() {
        let libraries = libraries().unwrap();
        assert!(libraries.iter().any(|library| library == "squidmesh-core"), "{libraries:?}");
        for library in &libraries {
            assert_eq!(wrong_in_manifest(library).unwrap(), [""; 0]);
        }
    }

    #[test]
    fn only_its_own_compiler_proves_a_rust_version() {
        assert!(proof("1.95", "1.95.0").contains("every build proves it"));
        assert!(proof("1.9", "1.95.0").contains("only clippy"));
    }
}
