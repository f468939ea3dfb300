//! What a commit writes, to be changed by a mutation.

use squidmesh_core::port::{Commit, StepWrite};
use squidmesh_core::run::StepRun;

/// Returns the step runs that a commit writes.
pub(super) fn steps(commit: &mut Commit) -> impl Iterator<Item = &mut StepRun> {
    commit.steps.iter_mut().map(StepWrite::step_mut)
}
