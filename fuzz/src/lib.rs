//! The fuzz targets, as functions over bytes: one target per file. `cargo xtask fuzz` runs them under libFuzzer,
//! with coverage; the tests run the corpus through them.
//!
//! A target asserts more than the absence of panics: data that is read reads back the same, an input that is
//! rejected gets a reason that shows nothing secret, and a decision can be repeated. Knows everything that takes
//! input from outside, and nothing of servers.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "what cannot continue here has found a defect, and names are documentation"
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

mod bounds;
mod recursive;
mod source;
#[cfg(test)]
mod tests;

/// A target: reads bytes, and panics if it has found a defect.
pub type Target = fn(&[u8]);

/// All targets, by the name of their program and of their corpus.
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

/// Where the current input is kept, if `SQUIDMESH_FUZZ_INPUT` names a file for it.
static UNDER_WAY: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os("SQUIDMESH_FUZZ_INPUT")?;
    Some(File::create(path).expect("a file for the input under way"))
});

/// Runs a target, and keeps its input meanwhile: a process that overflows its stack is killed before libFuzzer can
/// record the input.
pub fn run(target: Target, data: &[u8]) {
    if let Some(file) = &*UNDER_WAY {
        file.set_len(data.len() as u64).and_then(|()| file.write_all_at(data, 0)).expect("the input under way is kept");
    }
    bounds::keep(|| target(data));
}
