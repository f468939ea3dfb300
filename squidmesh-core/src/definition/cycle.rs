//! Finds cycles in a graph: one for each strongly connected component that has one.
//!
//! Kosaraju's strongly connected components with an explicit stack: linear, and safe at any depth.

use super::graph::connect;

/// Returns one cycle of each strongly connected component that has one, as the positions of its steps in the
/// order of its edges, beginning with the step declared first. `edges` lists, for each position, the positions
/// that it leads to.
pub(super) fn cycles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let component = components(edges);
    let mut cycles = Vec::new();
    let mut answered = vec![false; edges.len()];
    for start in 0..edges.len() {
        let group = component.get(start).and_then(|group| answered.get_mut(*group));
        if let Some(answered @ false) = group {
            *answered = true;
            cycles.extend(walk(start, edges, &component));
        }
    }
    cycles
}

/// Follows edges within one component until a step repeats. Returns `None` if no edge stays inside the component:
/// then there is no cycle.
fn walk(start: usize, edges: &[Vec<usize>], component: &[usize]) -> Option<Vec<usize>> {
    let mut steps = vec![start];
    let mut place_of = std::collections::HashMap::from([(start, 0)]);
    loop {
        let last = *steps.last()?;
        let inside = |next: &&usize| component.get(**next) == component.get(start);
        let next = *edges.get(last)?.iter().find(inside)?;
        if let Some(&place) = place_of.get(&next) {
            let mut cycle = steps.split_off(place);
            let first = cycle.iter().enumerate().min_by_key(|(_, step)| **step).map_or(0, |(place, _)| place);
            cycle.rotate_left(first);
            return Some(cycle);
        }
        place_of.insert(next, steps.len());
        steps.push(next);
    }
}

/// Returns the component of each position: the position of one of its members.
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut backwards = vec![Vec::new(); edges.len()];
    for (from, targets) in edges.iter().enumerate() {
        for to in targets {
            connect(&mut backwards, *to, from);
        }
    }
    let mut component = vec![None; edges.len()];
    // A component that leads to another ends later, and so comes first here. Backwards, its edges lead only to
    // components that came before it.
    for start in in_order_of_end(edges).into_iter().rev() {
        let mut open = vec![start];
        while let Some(place) = open.pop() {
            if let Some(found @ None) = component.get_mut(place) {
                *found = Some(start);
                open.extend(backwards.get(place).into_iter().flatten());
            }
        }
    }
    component.into_iter().map(|found| found.unwrap_or(usize::MAX)).collect()
}

/// Returns the positions in the order in which a depth-first search leaves them.
fn in_order_of_end(edges: &[Vec<usize>]) -> Vec<usize> {
    enum Visit {
        Enter(usize),
        Leave(usize),
    }
    let mut left = Vec::with_capacity(edges.len());
    let mut entered = vec![false; edges.len()];
    let mut open: Vec<Visit> = (0..edges.len()).rev().map(Visit::Enter).collect();
    while let Some(visit) = open.pop() {
        match visit {
            Visit::Leave(place) => left.push(place),
            Visit::Enter(place) => {
                if let Some(entered @ false) = entered.get_mut(place) {
                    *entered = true;
                    open.push(Visit::Leave(place));
                    open.extend(edges.get(place).into_iter().flatten().map(|next| Visit::Enter(*next)));
                }
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_graph_without_circles_has_none() {
        assert!(cycles(&[vec![1, 2], vec![2], vec![]]).is_empty());
        assert!(cycles(&[]).is_empty());
    }

    #[test]
    fn each_circle_is_named_once_from_its_first_step() {
        // 0 leads to 1 ⇄ 2, which lead on to 3 → 4 → 5 → 3; 6 leads to itself.
        let edges = [vec![1], vec![2], vec![1, 3], vec![4], vec![5], vec![3], vec![6]];
        assert_eq!(cycles(&edges), [vec![1, 2], vec![3, 4, 5], vec![6]]);
    }

    #[test]
    fn a_circle_that_leads_into_another_is_named_too() {
        assert_eq!(cycles(&[vec![2, 1], vec![0], vec![2]]), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn depth_costs_no_stack() {
        let mut edges: Vec<Vec<usize>> = (1..100_000).map(|next| vec![next]).collect();
        edges.push(vec![0]);
        assert_eq!(cycles(&edges).concat().len(), 100_000);
    }

    proptest! {
        #[test]
        fn a_circle_is_found_exactly_when_sorting_fails(edges in prop::collection::vec(prop::collection::vec(0_usize..8, 0..3), 8)) {
            let found = cycles(&edges);
            for cycle in &found {
                for (place, step) in cycle.iter().enumerate() {
                    prop_assert!(edges[*step].contains(&cycle[(place + 1) % cycle.len()]), "{cycle:?} is not a circle");
                }
            }
            // Remove steps that lead nowhere until nothing changes: the remaining steps are on cycles or lead to
            // one.
            let mut left: Vec<usize> = (0..edges.len()).collect();
            while let Some(place) = left.iter().position(|step| edges[*step].iter().all(|next| !left.contains(next))) {
                left.remove(place);
            }
            prop_assert_eq!(found.is_empty(), left.is_empty());
        }
    }
}
