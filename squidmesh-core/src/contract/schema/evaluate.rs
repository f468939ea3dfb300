//! Decides whether a value fits a schema, with a bound on the work.
//!
//! A node evaluates a value once, however many paths lead there: results are cached. So the work grows at most
//! with the value times the schema, and a budget bounds even that. Returns yes or no; `explain` says why.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ptr;

use serde_json::{Map, Number, Value};

use super::forms::{Forms, NodeIndex};
use super::node::{InPlace, ListRules, Node, Nodes, NumberRules, ObjectRules, TextRules};
use crate::json::canonical;
use crate::json::compare;

/// The error of an evaluation that takes more work than a value of its size may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// Returns the budget for evaluating one value, in nodes that visit one value or member each.
pub(super) fn budget(bytes: usize) -> u64 {
    (1 << 20) + u64::try_from(bytes).unwrap_or(u64::MAX / 16).saturating_mul(8)
}

/// The maximum number of cached results, and how deeply nodes and values may nest within each other.
const REMEMBERED: usize = 1 << 20;
const DEEPEST: usize = 600;

/// The evaluation of one value.
pub(super) struct Evaluation<'a> {
    pub(super) nodes: &'a Nodes,
    budget: u64,
    depth: usize,
    found: HashMap<(NodeIndex, *const Value), bool>,
    /// Whether all results are cached, or only those of nodes to which several paths lead.
    pub(super) thorough: bool,
    /// Whether the value is temporary, so that its address does not identify it.
    passing: bool,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(nodes: &'a Nodes, bytes: usize) -> Self {
        let budget = budget(bytes);
        Evaluation { nodes, budget, depth: 0, found: HashMap::new(), thorough: false, passing: false }
    }

    /// Returns whether a value fits a node.
    ///
    /// # Errors
    /// [`TooMuch`] if the evaluation takes too much work.
    pub(super) fn fits(&mut self, place: NodeIndex, value: &Value) -> Result<bool, TooMuch> {
        let node = self.nodes.at(place);
        let key = (place, ptr::from_ref(value));
        let remembers = !self.passing && (node.shared || (self.thorough && !node.is_simple()));
        if remembers && let Some(found) = self.found.get(&key) {
            return Ok(*found);
        }
        self.spend(1)?;
        self.enter()?;
        let fits = self.judge(node, place, value);
        self.depth -= 1;
        let fits = fits?;
        if remembers && self.found.len() < REMEMBERED {
            self.found.insert(key, fits);
        }
        Ok(fits)
    }

    pub(super) fn spend(&mut self, work: u64) -> Result<(), TooMuch> {
        self.budget = self.budget.checked_sub(work).ok_or(TooMuch)?;
        Ok(())
    }

    pub(super) fn enter(&mut self) -> Result<(), TooMuch> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(TooMuch) } else { Ok(()) }
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    fn judge(&mut self, node: &Node, place: NodeIndex, value: &Value) -> Result<bool, TooMuch> {
        if !self.fits_alone(node, value)? {
            return Ok(false);
        }
        // Nodes that apply to the same value come first: they decide which form a value has, and usually cost less.
        if let Some(in_place) = &node.in_place
            && !self.fits_beside(in_place, value)?
        {
            return Ok(false);
        }
        match value {
            Value::Array(items) => node.list.as_ref().map_or(Ok(true), |rules| self.fits_list(rules, items)),
            Value::Object(members) => match &node.object {
                Some(rules) => self.fits_object(rules, place, value, members),
                None => Ok(true),
            },
            _ => Ok(true),
        }
    }

    /// Checks the kind of a value, and the values that are listed for a node.
    pub(super) fn may_fit(&mut self, node: &Node, value: &Value) -> Result<bool, TooMuch> {
        if node.never || node.kinds.is_some_and(|kinds| !kinds.has(value)) {
            return Ok(false);
        }
        for literals in &node.literals {
            let (has, work) = literals.have(value);
            self.spend(work)?;
            if !has {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether a value matches the node's own rules, without visiting the values within it.
    pub(super) fn fits_alone(&mut self, node: &Node, value: &Value) -> Result<bool, TooMuch> {
        if !self.may_fit(node, value)? {
            return Ok(false);
        }
        match value {
            Value::Number(number) => {
                Ok(node.number.as_ref().is_none_or(|rules| broken(rules, number, value).is_none()))
            }
            Value::String(text) => match &node.text {
                Some(rules) => Ok(self.broken_text(rules, text, value)?.is_none()),
                None => Ok(true),
            },
            _ => Ok(true),
        }
    }

    /// Returns the rule that a string breaks, as the end of a sentence.
    pub(super) fn broken_text(
        &mut self,
        rules: &TextRules,
        text: &str,
        value: &Value,
    ) -> Result<Option<String>, TooMuch> {
        if rules.shortest.is_some() || rules.longest.is_some() {
            self.spend(u64::try_from(text.len() / 64).unwrap_or(u64::MAX))?;
            let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
            if let Some(limit) = rules.shortest.filter(|limit| length < *limit) {
                return Ok(Some(format!("must have at least {limit} characters")));
            }
            if let Some(limit) = rules.longest.filter(|limit| length > *limit) {
                return Ok(Some(format!("must have at most {limit} characters")));
            }
        }
        for rule in &rules.written {
            self.spend(rule.cost(text.len()))?;
            if !rule.holds(value) {
                return Ok(Some(rule.words().to_owned()));
            }
        }
        Ok(None)
    }

    fn fits_beside(&mut self, in_place: &InPlace, value: &Value) -> Result<bool, TooMuch> {
        for place in &in_place.all {
            if !self.fits(*place, value)? {
                return Ok(false);
            }
        }
        if let Some(any) = &in_place.any
            && self.fitting(any, value, 1)? == 0
        {
            return Ok(false);
        }
        if let Some(one) = &in_place.one
            && self.fitting(one, value, 2)? != 1
        {
            return Ok(false);
        }
        if let Some(not) = in_place.not
            && self.fits(not, value)?
        {
            return Ok(false);
        }
        if let Some(condition) = in_place.condition {
            let branch = if self.fits(condition.holds, value)? { condition.then } else { condition.otherwise };
            return branch.map_or(Ok(true), |place| self.fits(place, value));
        }
        Ok(true)
    }

    /// Returns how many forms a value fits; stops at `enough`.
    pub(super) fn fitting(&mut self, forms: &Forms, value: &Value, enough: usize) -> Result<usize, TooMuch> {
        let (candidates, work) = forms.candidates(value);
        self.spend(work)?;
        let mut found = 0;
        for place in candidates {
            if self.fits(place, value)? {
                found += 1;
                if found == enough {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn fits_list(&mut self, rules: &ListRules, items: &[Value]) -> Result<bool, TooMuch> {
        if broken_length(rules, items.len()).is_some() || !self.unique(rules, items)? {
            return Ok(false);
        }
        for (item, place) in items.iter().zip(&rules.first) {
            if !self.fits(*place, item)? {
                return Ok(false);
            }
        }
        if let Some(place) = rules.items {
            for item in items.iter().skip(rules.first.len()) {
                if !self.fits(place, item)? {
                    return Ok(false);
                }
            }
        }
        self.contains(rules, items)
    }

    /// Returns whether the elements are unique, if they must be.
    pub(super) fn unique(&mut self, rules: &ListRules, items: &[Value]) -> Result<bool, TooMuch> {
        if !rules.unique {
            return Ok(true);
        }
        let mut seen = HashSet::with_capacity(items.len());
        for item in items {
            let written = canonical(item);
            self.spend(1 + u64::try_from(written.len() / 8).unwrap_or(u64::MAX))?;
            if !seen.insert(written) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether the required number of elements fit.
    pub(super) fn contains(&mut self, rules: &ListRules, items: &[Value]) -> Result<bool, TooMuch> {
        let Some(contains) = rules.contains else { return Ok(true) };
        let mut found = 0_u64;
        for item in items {
            found += u64::from(self.fits(contains.item, item)?);
        }
        Ok(found >= contains.least && contains.most.is_none_or(|most| found <= most))
    }

    fn fits_object(
        &mut self,
        rules: &ObjectRules,
        place: NodeIndex,
        value: &Value,
        members: &Map<String, Value>,
    ) -> Result<bool, TooMuch> {
        if broken_count(rules, members.len()).is_some() || self.missing(rules, members)?.next().is_some() {
            return Ok(false);
        }
        for (name, member) in members {
            if !self.name_fits(rules, name)? {
                return Ok(false);
            }
            for place in self.of_member(rules, name)? {
                if !self.fits(place, member)? {
                    return Ok(false);
                }
            }
        }
        for (name, place) in &rules.also_with {
            if members.contains_key(name) && !self.fits(*place, value)? {
                return Ok(false);
            }
        }
        let Some(rest) = rules.unevaluated else { return Ok(true) };
        for name in self.unevaluated(place, value, members)? {
            if let Some(member) = members.get(name)
                && !self.fits(rest, member)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the required fields that are missing.
    pub(super) fn missing<'r>(
        &mut self,
        rules: &'r ObjectRules,
        members: &'r Map<String, Value>,
    ) -> Result<impl Iterator<Item = &'r String>, TooMuch> {
        let demanded = rules.required_with.iter().map(|(_, names)| names.len() + 1).sum::<usize>();
        self.spend(u64::try_from(rules.required.len() + demanded).unwrap_or(u64::MAX))?;
        let also =
            rules.required_with.iter().filter(|(name, _)| members.contains_key(name)).flat_map(|(_, names)| names);
        Ok(rules.required.iter().chain(also).filter(|name| !members.contains_key(*name)))
    }

    pub(super) fn name_fits(&mut self, rules: &ObjectRules, name: &str) -> Result<bool, TooMuch> {
        let Some(place) = rules.names else { return Ok(true) };
        let before = std::mem::replace(&mut self.passing, true);
        let fits = self.fits(place, &Value::from(name));
        self.passing = before;
        fits
    }

    /// Returns the nodes that a member must fit.
    pub(super) fn of_member(&mut self, rules: &ObjectRules, name: &str) -> Result<Vec<NodeIndex>, TooMuch> {
        self.spend(1)?;
        let mut places: Vec<NodeIndex> = rules.fields.get(name).copied().into_iter().collect();
        for (pattern, place) in &rules.patterns {
            self.spend(pattern.cost(name.len()))?;
            if pattern.holds(&Value::from(name)) {
                places.push(*place);
            }
        }
        if places.is_empty() {
            places.extend(rules.others);
        }
        Ok(places)
    }

    /// Returns the members that are evaluated neither by the node nor by a fitting node that applies to the same
    /// value.
    pub(super) fn unevaluated<'v>(
        &mut self,
        place: NodeIndex,
        value: &Value,
        members: &'v Map<String, Value>,
    ) -> Result<Vec<&'v str>, TooMuch> {
        let Some(known) = evaluated(self, place, value, members)? else { return Ok(Vec::new()) };
        Ok(members.keys().map(String::as_str).filter(|name| !known.contains(name)).collect())
    }
}

/// Returns the rule that a number breaks, as the end of a sentence.
pub(super) fn broken(rules: &NumberRules, number: &Number, value: &Value) -> Option<String> {
    let against = |limit: &Option<Number>, broken: fn(Ordering) -> bool, words: &str| {
        let limit = limit.as_ref()?;
        compare(number, limit).is_none_or(broken).then(|| format!("must be {words} {limit}"))
    };
    against(&rules.minimum, Ordering::is_lt, "at least")
        .or_else(|| against(&rules.above, Ordering::is_le, "greater than"))
        .or_else(|| against(&rules.maximum, Ordering::is_gt, "at most"))
        .or_else(|| against(&rules.below, Ordering::is_ge, "less than"))
        .or_else(|| rules.multiple_of.as_ref().filter(|rule| !rule.holds(value)).map(|rule| rule.words().to_owned()))
}

/// Returns the rule that the length of a list breaks.
pub(super) fn broken_length(rules: &ListRules, length: usize) -> Option<String> {
    bounds(rules.least, rules.most, length, "elements")
}

/// Returns the rule that the number of an object's fields breaks.
pub(super) fn broken_count(rules: &ObjectRules, length: usize) -> Option<String> {
    bounds(rules.least, rules.most, length, "fields")
}

fn bounds(least: Option<u64>, most: Option<u64>, length: usize, of: &str) -> Option<String> {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let few = least.filter(|limit| length < *limit).map(|limit| format!("must have at least {limit} {of}"));
    few.or_else(|| most.filter(|limit| length > *limit).map(|limit| format!("must have at most {limit} {of}")))
}

/// Returns the members of an object that a schema evaluates, itself or through a fitting node that applies to the same
/// value; `None` if all are. All others are unevaluated.
///
/// # Errors
/// [`TooMuch`] if the evaluation takes too much work.
fn evaluated<'v>(
    evaluation: &mut Evaluation<'_>,
    start: NodeIndex,
    value: &Value,
    members: &'v Map<String, Value>,
) -> Result<Option<HashSet<&'v str>>, TooMuch> {
    let nodes = evaluation.nodes;
    let (mut seen, mut known) = (HashSet::from([start]), HashSet::new());
    let mut pending = vec![start];
    while let Some(place) = pending.pop() {
        evaluation.spend(1)?;
        let node = nodes.at(place);
        let mut beside = Vec::new();
        if let Some(object) = &node.object {
            // A rule for the remaining members evaluates all of them.
            if object.others.is_some() || (place != start && object.unevaluated.is_some()) {
                return Ok(None);
            }
            for name in members.keys() {
                if !evaluation.of_member(object, name)?.is_empty() {
                    known.insert(name.as_str());
                }
            }
            beside.extend(object.also_with.iter().filter(|(name, _)| members.contains_key(name)).map(|(_, at)| *at));
        }
        if let Some(in_place) = &node.in_place {
            beside.extend(&in_place.all);
            for forms in in_place.any.iter().chain(&in_place.one) {
                let (candidates, work) = forms.candidates(value);
                evaluation.spend(work)?;
                for form in candidates {
                    if evaluation.fits(form, value)? {
                        beside.push(form);
                    }
                }
            }
            if let Some(condition) = in_place.condition {
                match evaluation.fits(condition.holds, value)? {
                    true => beside.extend([Some(condition.holds), condition.then].into_iter().flatten()),
                    false => beside.extend(condition.otherwise),
                }
            }
        }
        pending.extend(beside.into_iter().filter(|place| seen.insert(*place)));
    }
    Ok(Some(known))
}
