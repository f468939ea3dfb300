//! What is fuzzed, as functions over bytes: one target a file. `cargo xtask fuzz` runs them under libFuzzer, with coverage; the tests
//! go through the corpus.
//!
//! A target asserts more than that nothing panics: what is read reads back the same, what is refused says why and shows nothing of
//! what it must not, and what was decided can be decided again. Knows everything that takes input from outside; nothing of
//! servers.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "what cannot go on here has found a defect, and names are documentation"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

pub mod definitions;
pub mod deliveries;
pub mod entries;
pub mod filters;
pub mod payloads;
pub mod rows;
pub mod schedules;
pub mod states;

mod source;
#[cfg(test)]
mod tests;

/// A target: reads bytes, and panics if it has found a defect.
pub type Target = fn(&[u8]);

/// Every target, by the name of its program and of its corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("definitions", definitions::run),
    ("deliveries", deliveries::run),
    ("entries", entries::run),
    ("filters", filters::run),
    ("payloads", payloads::run),
    ("rows", rows::run),
    ("schedules", schedules::run),
    ("states", states::run),
];

/// Where the input under way is kept, if `SQUIDMESH_FUZZ_INPUT` names a file for it.
static UNDER_WAY: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os("SQUIDMESH_FUZZ_INPUT")?;
    Some(File::create(path).expect("a file for the input under way"))
});

/// Runs a target, and keeps its input while it does: who overflows the stack is killed before libFuzzer can write down on what.
pub fn run(target: Target, data: &[u8]) {
    if let Some(file) = &*UNDER_WAY {
        file.set_len(data.len() as u64).and_then(|()| file.write_all_at(data, 0)).expect("the input under way is kept");
    }
    target(data);
}
