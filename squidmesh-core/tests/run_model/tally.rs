//! Counts the results of many runs.

/// Counts the results of a test's runs, so that a test which tests nothing is noticed.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) completed: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
    pub(crate) resumed: usize,
    pub(crate) replayed: usize,
    pub(crate) expired: usize,
    pub(crate) compensated: usize,
    pub(crate) fenced: usize,
    pub(crate) conflicts: usize,
    pub(crate) received: usize,
    pub(crate) buffered: usize,
    pub(crate) duplicates: usize,
    pub(crate) taken: usize,
}

impl Tally {
    /// Checks that every kind of result occurred often enough.
    pub(crate) fn check(&self) {
        let Tally { completed, failed, cancelled, resumed, replayed, expired, compensated, fenced, conflicts, .. } =
            *self;
        let Tally { received, buffered, duplicates, taken, .. } = *self;
        for (what, number) in [
            ("completed", completed),
            ("failed", failed),
            ("cancelled", cancelled),
            ("resumed", resumed),
            ("replayed", replayed),
            ("expired", expired),
            ("compensated", compensated),
            ("fenced", fenced),
            ("conflicts", conflicts),
            ("received", received),
            ("buffered", buffered),
            ("duplicates", duplicates),
            ("taken", taken),
        ] {
            assert!(number > 100, "only {number} {what}: too few to test anything");
        }
    }
}
