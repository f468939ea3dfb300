//! Explains why a value does not fit a schema: every path and rule, up to a bound, and no value.
//!
//! Visits only the parts that do not fit, and each of them once.

use std::collections::HashSet;
use std::ptr;

use serde_json::{Map, Value};

use super::evaluate::{Evaluation, TooMuch, broken, broken_count, broken_length};
use super::forms::{Forms, NodeIndex};
use super::node::{InPlace, ListRules, Node, Nodes, ObjectRules};
use crate::contract::problem::{PayloadProblem, Problems, kind};
use crate::json::{Segment, path};

/// Returns all problems of a value that does not fit.
///
/// # Errors
/// [`TooMuch`] if the evaluation takes too much work.
pub(super) fn explain(nodes: &Nodes, value: &Value, bytes: usize) -> Result<Problems, TooMuch> {
    let mut evaluation = Evaluation::new(nodes, bytes);
    evaluation.thorough = true;
    let (problems, unknown) = (Problems::default(), Vec::new());
    let mut explanation = Explanation { evaluation, problems, unknown, seen: HashSet::new(), way: Vec::new() };
    explanation.at(0, value)?;
    let Explanation { mut problems, unknown, .. } = explanation;
    // If several schemas describe one object, an error in one of them makes every field look unknown.
    if problems.is_empty() {
        unknown.into_iter().for_each(|path| problems.push(path, PayloadProblem::Unknown));
    }
    if problems.is_empty() {
        // A value that does not fit is never accepted.
        problems.push(path([].into_iter()), PayloadProblem::Rule { rule: "does not fit its type".to_owned() });
    }
    Ok(problems)
}

struct Explanation<'a, 'v> {
    evaluation: Evaluation<'a>,
    problems: Problems,
    /// The paths of fields that none of several schemas knows.
    unknown: Vec<String>,
    seen: HashSet<(NodeIndex, *const Value)>,
    way: Vec<Segment<'v>>,
}

impl<'v> Explanation<'_, 'v> {
    fn at(&mut self, place: NodeIndex, value: &'v Value) -> Result<(), TooMuch> {
        if self.problems.is_full() || self.evaluation.fits(place, value)? {
            return Ok(());
        }
        if !self.seen.insert((place, ptr::from_ref(value))) {
            return Ok(());
        }
        self.evaluation.enter()?;
        let node = self.evaluation.nodes.at(place);
        let alone = self.alone(node, value)?;
        if alone {
            if let Some(in_place) = &node.in_place {
                self.beside(in_place, value)?;
            }
            match (value, &node.list, &node.object) {
                (Value::Array(items), Some(rules), _) => self.list(rules, items)?,
                (Value::Object(members), _, Some(rules)) => self.object(rules, place, value, members)?,
                _ => {}
            }
        }
        self.evaluation.leave();
        Ok(())
    }

    /// Reports the rules of the node itself that a value breaks. Returns whether the values within it are worth
    /// visiting.
    fn alone(&mut self, node: &Node, value: &Value) -> Result<bool, TooMuch> {
        if node.never {
            self.rule("is not allowed here");
            return Ok(false);
        }
        if let Some(kinds) = node.kinds.filter(|kinds| !kinds.has(value)) {
            self.report(PayloadProblem::WrongType { expected: kinds.words(), found: kind(value) });
            return Ok(false);
        }
        for literals in &node.literals {
            if !literals.have(value).0 {
                let constant = literals.constant;
                self.rule(if constant { "must be the one allowed value" } else { "must be one of the allowed values" });
                return Ok(false);
            }
        }
        let broken = match value {
            Value::Number(number) => node.number.as_ref().and_then(|rules| broken(rules, number, value)),
            Value::String(text) => match &node.text {
                Some(rules) => self.evaluation.broken_text(rules, text, value)?,
                None => None,
            },
            _ => None,
        };
        broken.iter().for_each(|rule| self.rule(rule));
        Ok(true)
    }

    fn beside(&mut self, in_place: &InPlace, value: &'v Value) -> Result<(), TooMuch> {
        for place in &in_place.all {
            self.at(*place, value)?;
        }
        if let Some(any) = &in_place.any
            && self.evaluation.fitting(any, value, 1)? == 0
        {
            self.forms(any, value)?;
        }
        if let Some(one) = &in_place.one {
            match self.evaluation.fitting(one, value, 2)? {
                0 => self.forms(one, value)?,
                1 => {}
                _ => self.rule("fits more than one of the allowed forms"),
            }
        }
        if let Some(not) = in_place.not
            && self.evaluation.fits(not, value)?
        {
            self.rule("is what its type rules out");
        }
        if let Some(condition) = in_place.condition {
            let holds = self.evaluation.fits(condition.holds, value)?;
            if let Some(place) = if holds { condition.then } else { condition.otherwise } {
                self.at(place, value)?;
            }
        }
        Ok(())
    }

    /// Reports the problems of the one form that the value was meant to have, if no other is possible: an
    /// optional object is either null or an object, and a tag names its variant.
    fn forms(&mut self, forms: &Forms, value: &'v Value) -> Result<(), TooMuch> {
        let (candidates, work) = forms.candidates(value);
        self.evaluation.spend(work)?;
        let mut meant = None;
        for form in candidates {
            if self.may_be_meant(form, value)? && meant.replace(form).is_some() {
                meant = None;
                break;
            }
        }
        match meant {
            Some(form) => self.at(form, value)?,
            None => self.rule("fits none of the allowed forms"),
        }
        Ok(())
    }

    /// Returns whether a value is of the kind of a form, and does not carry the tag of another.
    fn may_be_meant(&mut self, form: NodeIndex, value: &Value) -> Result<bool, TooMuch> {
        self.evaluation.spend(1)?;
        let nodes = self.evaluation.nodes;
        let node = nodes.behind(form);
        if !self.evaluation.may_fit(node, value)? {
            return Ok(false);
        }
        let (Value::Object(members), Some(object)) = (value, &node.object) else { return Ok(true) };
        for name in &object.required {
            let Some(field) = object.fields.get(name) else { continue };
            let tag = &nodes.behind(*field).literals;
            let carries = |member: &Value| tag.iter().all(|literals| literals.have(member).0);
            self.evaluation.spend(1)?;
            if !tag.is_empty() && !members.get(name).is_some_and(carries) {
                return Ok(false);
            }
        }
        // A variant that is written as an object with its name as the only key.
        let closed = object.others.is_some_and(|others| nodes.at(others).never);
        Ok(match object.required.as_slice() {
            [name] if closed && object.fields.len() == 1 => members.contains_key(name),
            _ => true,
        })
    }

    fn list(&mut self, rules: &ListRules, items: &'v [Value]) -> Result<(), TooMuch> {
        broken_length(rules, items.len()).iter().for_each(|rule| self.rule(rule));
        if !self.evaluation.unique(rules, items)? {
            self.rule("must not have an element twice");
        }
        let nodes = rules.first.iter().copied().map(Some).chain(std::iter::repeat(rules.items));
        for ((at, item), place) in items.iter().enumerate().zip(nodes) {
            let Some(place) = place else { break };
            self.way.push(Segment::Index(at));
            self.at(place, item)?;
            self.way.pop();
        }
        if !self.evaluation.contains(rules, items)? {
            self.rule("does not have as many elements of a certain form as its type demands");
        }
        Ok(())
    }

    fn object(
        &mut self,
        rules: &ObjectRules,
        place: NodeIndex,
        value: &'v Value,
        members: &'v Map<String, Value>,
    ) -> Result<(), TooMuch> {
        broken_count(rules, members.len()).iter().for_each(|rule| self.rule(rule));
        for name in self.evaluation.missing(rules, members)?.take(Problems::REPORTED + 1) {
            let path = path(self.way.iter().copied().chain([Segment::Key(name)]));
            self.problems.push(path, PayloadProblem::Missing);
        }
        for (name, member) in members {
            self.way.push(Segment::Key(name));
            if !self.evaluation.name_fits(rules, name)? {
                self.rule("has a name that its type does not allow");
            }
            for place in self.evaluation.of_member(rules, name)? {
                match self.evaluation.nodes.at(place).never {
                    true => self.report(PayloadProblem::Unknown),
                    false => self.at(place, member)?,
                }
            }
            self.way.pop();
        }
        for (name, place) in &rules.also_with {
            if members.contains_key(name) {
                self.at(*place, value)?;
            }
        }
        let Some(rest) = rules.unevaluated else { return Ok(()) };
        for name in self.evaluation.unevaluated(place, value, members)? {
            let Some(member) = members.get(name) else { continue };
            self.way.push(Segment::Key(name));
            match self.evaluation.nodes.at(rest).never {
                true if self.unknown.len() <= Problems::REPORTED => {
                    self.unknown.push(path(self.way.iter().copied()));
                }
                true => {}
                false => self.at(rest, member)?,
            }
            self.way.pop();
        }
        Ok(())
    }

    fn rule(&mut self, rule: &str) {
        self.report(PayloadProblem::Rule { rule: rule.to_owned() });
    }

    fn report(&mut self, problem: PayloadProblem) {
        if !self.problems.is_full() {
            self.problems.push(path(self.way.iter().copied()), problem);
        }
    }
}
