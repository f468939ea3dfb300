//! The root of the workspace.

use std::env;
use std::path::{Path, PathBuf};

/// Returns the root of the workspace for which cargo runs this, even if it was built for a copy of it.
pub(crate) fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = Path::new(&here);
    here.parent().unwrap_or(here).to_owned()
}
