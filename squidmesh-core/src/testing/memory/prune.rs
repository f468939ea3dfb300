//! Retention in memory.

use super::rows::{Rows, RunRows};
use crate::id::RunId;
use crate::port::{PruneBatch, PruneRequest};
use crate::run::Run;
use crate::time::Timestamp;

impl Rows {
    /// Deletes a batch of ended runs, or only counts them.
    pub(super) fn prune(&mut self, request: &PruneRequest, now: Timestamp) -> PruneBatch {
        let behind = |id: &RunId| request.after.is_none_or(|after| *id > after);
        let all: Vec<RunId> = self.runs.keys().copied().filter(behind).collect();
        let (mut pruned, mut last) = (0, None);
        for id in all {
            if self.runs.get(&id).is_some_and(|rows| self.is_deletable(&rows.run, request, now)) {
                if pruned == request.limit {
                    return PruneBatch::new(pruned, last);
                }
                pruned += 1;
                if !request.dry_run {
                    self.delete(id);
                }
            }
            last = Some(id);
        }
        PruneBatch::new(pruned, None)
    }

    fn is_deletable(&self, run: &Run, request: &PruneRequest, now: Timestamp) -> bool {
        let came_from_it = |other: &RunRows| {
            other.run.finished_at.is_none()
                && (other.run.replayed_from == Some(run.id) || other.run.resumed_from == Some(run.id))
        };
        run.finished_at.is_some_and(|finished| finished.after(request.older_than) <= now)
            && request.statuses.contains(&run.status)
            && self.intents.records(Some(run.id)).is_empty()
            && run.resumed_from.is_none_or(|older| !self.runs.contains_key(&older))
            && !self.runs.values().any(|other| came_from_it(other))
    }

    fn delete(&mut self, id: RunId) {
        let Some(rows) = self.runs.remove(&id) else { return };
        let key = rows.run.idempotency_key.as_ref();
        if let Some((keys, key)) = self.keys.get_mut(&rows.run.workflow).zip(key) {
            keys.remove(key);
        }
    }
}
