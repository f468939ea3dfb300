//! Finds cycles in a graph: one for each strongly connected component that has one.
//!
//! Tarjan's strongly connected components with an explicit stack: linear, and safe at any depth.

/// Returns one cycle of each strongly connected component that has one, as the positions of its steps in the
/// order of its edges, beginning with the step declared first. `edges` lists, for each position, the positions
/// that it leads to.
pub(super) fn cycles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let component = components(edges);
    let mut cycles = Vec::new();
    let mut answered = vec![false; edges.len()];
    for start in 0..edges.len() {
        let Some(&group) = component.get(start) else {
            continue;
        };
        if answered.get(group).copied().unwrap_or(true) {
            continue;
        }
        if let Some(slot) = answered.get_mut(group) {
            *slot = true;
        }
        if let Some(cycle) = walk(start, edges, &component) {
            cycles.push(cycle);
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

/// Returns the component of each position.
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut search = Search {
        edges,
        next_order: 0,
        next_component: 0,
        nodes: vec![Node::default(); edges.len()],
        open: Vec::new(),
        path: Vec::new(),
    };
    for start in 0..edges.len() {
        search.from(start);
    }
    search.nodes.into_iter().map(|node| node.component.unwrap_or(usize::MAX)).collect()
}

#[derive(Clone, Default)]
struct Node {
    order: Option<usize>,
    lowest: usize,
    component: Option<usize>,
    /// The number of its edges that were followed.
    followed: usize,
}

struct Search<'a> {
    edges: &'a [Vec<usize>],
    next_order: usize,
    next_component: usize,
    nodes: Vec<Node>,
    /// The positions that are in no component yet.
    open: Vec<usize>,
    /// The path from the start to the current position.
    path: Vec<usize>,
}

impl Search<'_> {
    fn from(&mut self, start: usize) {
        self.enter(start);
        while let Some(&place) = self.path.last() {
            let Some(node) = self.nodes.get_mut(place) else {
                return;
            };
            let next = self.edges.get(place).and_then(|edges| edges.get(node.followed)).copied();
            node.followed += 1;
            match next {
                Some(next) => {
                    if !self.enter(next) {
                        self.see(place, next);
                    }
                }
                None => self.leave(place),
            }
        }
    }

    /// Enters a position if it was not visited before. Returns whether it was entered.
    fn enter(&mut self, place: usize) -> bool {
        match self.nodes.get_mut(place) {
            Some(node) if node.order.is_none() => {
                node.order = Some(self.next_order);
                node.lowest = self.next_order;
                self.next_order += 1;
                self.open.push(place);
                self.path.push(place);
                true
            }
            _ => false,
        }
    }

    /// Visits an edge to a position that may still be open.
    fn see(&mut self, place: usize, seen: usize) {
        let order = self.nodes.get(seen).filter(|node| node.component.is_none()).and_then(|node| node.order);
        if let (Some(order), Some(node)) = (order, self.nodes.get_mut(place)) {
            node.lowest = node.lowest.min(order);
        }
    }

    fn leave(&mut self, place: usize) {
        self.path.pop();
        let Some((order, lowest)) = self.nodes.get(place).map(|node| (node.order, node.lowest)) else {
            return;
        };
        if order == Some(lowest) {
            while let Some(member) = self.open.pop() {
                if let Some(node) = self.nodes.get_mut(member) {
                    node.component = Some(self.next_component);
                }
                if member == place {
                    break;
                }
            }
            self.next_component += 1;
        }
        if let Some(parent) = self.path.last().and_then(|parent| self.nodes.get_mut(*parent)) {
            parent.lowest = parent.lowest.min(lowest);
        }
    }
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
