//! A batch: commits of different runs, which are written together.

use std::collections::HashMap;

use squidmesh_core::RunId;

use super::encoded_commit::EncodedCommit;

/// Splits commits into batches, and returns each commit with its index among all. A run occurs at most once in a
/// batch; the commits of a run are in successive batches, in the order given.
pub(super) fn batches(commits: &[EncodedCommit]) -> Vec<Vec<(usize, &EncodedCommit)>> {
    let mut next_batch: HashMap<RunId, usize> = HashMap::new();
    let mut batches: Vec<Vec<(usize, &EncodedCommit)>> = Vec::new();
    for (index, commit) in commits.iter().enumerate() {
        let next = next_batch.entry(commit.run_id).or_default();
        match batches.get_mut(*next) {
            Some(batch) => batch.push((index, commit)),
            None => batches.push(vec![(index, commit)]),
        }
        *next += 1;
    }
    batches
}
