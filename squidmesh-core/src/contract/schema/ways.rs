//! Checks the paths through a schema that stay at one value: none is a cycle, and none is longer than a bound.
//!
//! A schema that leads back to itself without descending into the value says nothing about it; and its evaluation
//! would recurse without end.

use super::forms::NodeIndex;
use super::node::Nodes;

/// The maximum length of a path, in nodes. The schemas of types have less than a tenth of it.
const LONGEST: usize = 64;

/// Checks every path.
///
/// # Errors
/// Returns the node from which a path does not end or is too long, and why.
pub(super) fn check_ways(nodes: &Nodes) -> Result<(), (NodeIndex, &'static str)> {
    const CIRCLE: &str = "the schema refers to itself without going into the value";
    const LONG: &str = "the schema refers through more than 64 others without going into the value";
    let mut lengths: Vec<Option<usize>> = vec![None; nodes.0.len()];
    let mut open = vec![false; nodes.0.len()];
    for start in 0..nodes.0.len() {
        let mut stack = vec![start];
        while let Some(place) = stack.last().copied() {
            if lengths.get(place).copied().flatten().is_some() {
                stack.pop();
                continue;
            }
            let next = beside(nodes, place);
            let missing: Vec<NodeIndex> =
                next.iter().copied().filter(|next| lengths.get(*next).copied().flatten().is_none()).collect();
            if missing.is_empty() {
                let longest = next.iter().filter_map(|next| lengths.get(*next).copied().flatten()).max().unwrap_or(0);
                if longest >= LONGEST {
                    return Err((place, LONG));
                }
                if let (Some(length), Some(open)) = (lengths.get_mut(place), open.get_mut(place)) {
                    (*length, *open) = (Some(longest + 1), false);
                }
                stack.pop();
            } else {
                if missing.iter().any(|next| open.get(*next).copied().unwrap_or(false)) || missing.contains(&place) {
                    return Err((place, CIRCLE));
                }
                if let Some(open) = open.get_mut(place) {
                    *open = true;
                }
                stack.extend(missing);
            }
        }
    }
    Ok(())
}

/// Returns the nodes that apply to the same value.
fn beside(nodes: &Nodes, place: NodeIndex) -> Vec<NodeIndex> {
    let node = nodes.at(place);
    let mut found = Vec::new();
    if let Some(object) = &node.object {
        found.extend(object.also_with.iter().map(|(_, place)| *place));
    }
    if let Some(in_place) = &node.in_place {
        found.extend(&in_place.all);
        found.extend(in_place.any.iter().chain(&in_place.one).flat_map(|forms| &forms.all));
        found.extend(in_place.not);
        if let Some(condition) = in_place.condition {
            found.push(condition.holds);
            found.extend(condition.then.into_iter().chain(condition.otherwise));
        }
    }
    found
}
