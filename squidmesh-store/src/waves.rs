//! Sorts a batch into waves: commits of one run follow each other, commits of different runs go together.

use std::collections::HashMap;

use squidmesh_core::RunId;

use crate::member::Member;

/// The members of each wave with their places in the batch. No run is in a wave twice, and the commits of
/// a run are in successive waves in the order given.
pub(crate) fn waves(members: &[Member]) -> Vec<Vec<(usize, &Member)>> {
    let mut turns: HashMap<RunId, usize> = HashMap::new();
    let mut waves: Vec<Vec<(usize, &Member)>> = Vec::new();
    for (place, member) in members.iter().enumerate() {
        let turn = turns.entry(member.run_id).or_default();
        match waves.get_mut(*turn) {
            Some(wave) => wave.push((place, member)),
            None => waves.push(vec![(place, member)]),
        }
        *turn += 1;
    }
    waves
}
