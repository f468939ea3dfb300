//! The pass over all stranded runs: its position, and the versions already logged.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::definition::Fingerprint;
use crate::id::RunId;
use crate::lock::lock;

/// The position of the check, and the versions already logged. Versions that no run waits for any more are dropped: a
/// host may build its versions while it runs.
#[derive(Default)]
pub(super) struct StrandedPass {
    after: Mutex<Option<RunId>>,
    /// The versions found in the current pass over all stranded runs, and in the previous one.
    logged: Mutex<[HashSet<Fingerprint>; 2]>,
}

impl StrandedPass {
    /// Returns whether a version is found for the first time.
    pub(super) fn is_new(&self, version: Fingerprint) -> bool {
        let [now, before] = &mut *lock(&self.logged);
        now.insert(version) && !before.contains(&version)
    }

    /// Returns the last run of the previous page.
    pub(super) fn after(&self) -> Option<RunId> {
        *lock(&self.after)
    }

    /// Continues after the last run of a page; without one, ends the pass: the next page is the first one again.
    pub(super) fn advance(&self, last: Option<RunId>) {
        *lock(&self.after) = last;
        if last.is_some() {
            return;
        }
        let [now, before] = &mut *lock(&self.logged);
        *before = std::mem::take(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    #[test]
    fn a_version_is_logged_once_for_as_long_as_runs_wait_for_it() {
        let (pass, version) = (StrandedPass::default(), *sample::definition().fingerprint());
        assert!(pass.is_new(version) && !pass.is_new(version));
        pass.advance(None);
        assert!(!pass.is_new(version), "it is still waited for");
        pass.advance(None);
        pass.advance(None);
        assert!(pass.is_new(version), "nothing of it is kept after a pass without it");
    }
}
