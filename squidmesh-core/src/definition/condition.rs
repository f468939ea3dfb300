//! Conditions on payload and context, as data.
//!
//! Knows values and how they compare; must never know steps, edges or runs.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::compare;

/// A condition on the payload of a run with its context merged over it. It is data: it is stored with the definition,
/// and can be compared and displayed. Made by [`when`] and [`not`].
///
/// A comparison with a value that is missing, or of another type, is false; it is never an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Condition {
    /// The value at a path compares to another like this.
    Compare {
        /// The path of the value. A segment is a key, or an index in a list.
        path: Vec<String>,
        /// How it compares.
        by: Comparison,
        /// What it is compared to.
        to: Value,
    },
    /// The value at a path is one of these.
    OneOf {
        /// The path of the value.
        path: Vec<String>,
        /// The values.
        values: Vec<Value>,
    },
    /// There is a value at a path; `null` is one.
    Exists {
        /// The path of the value.
        path: Vec<String>,
    },
    /// All of the conditions hold.
    All(Vec<Condition>),
    /// At least one of the conditions holds.
    Any(Vec<Condition>),
    /// The condition does not hold.
    Not(Box<Condition>),
}

/// How two values compare: numbers by their mathematical value, texts by code points. Values of other types are only
/// equal or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// They are equal.
    Is,
    /// The first is less.
    LessThan,
    /// The first is less, or they are equal.
    AtMost,
    /// The first is greater.
    GreaterThan,
    /// The first is greater, or they are equal.
    AtLeast,
}

/// Begins a condition on the value at a path in payload and context: keys (and indices of lists) separated by dots, or
/// a list of segments, for keys that contain dots.
///
/// ```
/// use squidmesh_core::{not, when};
///
/// let risky = when("order.total").greater_than(500).or(when("risk").one_of(["high", "unknown"]));
/// let first = when(["order", "lines", "0"]).exists().and(not(risky.clone()));
/// assert_eq!(risky.to_string(), r#"order.total > 500 or risk is one of "high", "unknown""#);
/// # let _ = first;
/// ```
pub fn when(path: impl Into<ConditionPath>) -> Subject {
    Subject { path: path.into().0 }
}

/// Negates a condition.
pub fn not(condition: Condition) -> Condition {
    match condition {
        Condition::Not(inner) => *inner,
        other => Condition::Not(Box::new(other)),
    }
}

/// The path of a value in payload and context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionPath(Vec<String>);

impl From<&str> for ConditionPath {
    fn from(path: &str) -> Self {
        Self(path.split('.').map(str::to_owned).collect())
    }
}

impl From<String> for ConditionPath {
    fn from(path: String) -> Self {
        Self::from(path.as_str())
    }
}

impl<S: AsRef<str>, const N: usize> From<[S; N]> for ConditionPath {
    fn from(segments: [S; N]) -> Self {
        Self(segments.iter().map(|segment| segment.as_ref().to_owned()).collect())
    }
}

impl<S: AsRef<str>> From<Vec<S>> for ConditionPath {
    fn from(segments: Vec<S>) -> Self {
        Self(segments.iter().map(|segment| segment.as_ref().to_owned()).collect())
    }
}

/// The value that a condition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a value becomes a condition only by a comparison, such as `is`"]
pub struct Subject {
    path: Vec<String>,
}

impl Subject {
    /// The value equals `value`: numbers by their mathematical value, also inside lists and objects.
    pub fn is(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::Is, value)
    }

    /// The value does not equal `value`, or is missing: the negation of [`is`](Self::is).
    pub fn is_not(self, value: impl Into<Value>) -> Condition {
        not(self.is(value))
    }

    /// The value is a number or text, and less than `value`.
    pub fn less_than(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::LessThan, value)
    }

    /// The value is a number or text, and not greater than `value`.
    pub fn at_most(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::AtMost, value)
    }

    /// The value is a number or text, and greater than `value`.
    pub fn greater_than(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::GreaterThan, value)
    }

    /// The value is a number or text, and not less than `value`.
    pub fn at_least(self, value: impl Into<Value>) -> Condition {
        self.compare(Comparison::AtLeast, value)
    }

    /// The value equals one of `values`.
    pub fn one_of<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Condition {
        Condition::OneOf { path: self.path, values: values.into_iter().map(Into::into).collect() }
    }

    /// There is a value, which may be `null`.
    pub fn exists(self) -> Condition {
        Condition::Exists { path: self.path }
    }

    /// There is no value.
    pub fn is_missing(self) -> Condition {
        not(self.exists())
    }

    fn compare(self, by: Comparison, to: impl Into<Value>) -> Condition {
        Condition::Compare { path: self.path, by, to: to.into() }
    }
}

impl Condition {
    /// Both conditions hold.
    #[must_use]
    pub fn and(self, other: Condition) -> Condition {
        match self {
            Condition::All(mut all) => {
                all.push(other);
                Condition::All(all)
            }
            first => Condition::All(vec![first, other]),
        }
    }

    /// At least one of the conditions holds.
    #[must_use]
    pub fn or(self, other: Condition) -> Condition {
        match self {
            Condition::Any(mut any) => {
                any.push(other);
                Condition::Any(any)
            }
            first => Condition::Any(vec![first, other]),
        }
    }

    /// Returns whether the condition holds, given the values under the first segments of its paths.
    pub(crate) fn holds<'a>(&self, value_of: &impl Fn(&str) -> Option<&'a Value>) -> bool {
        match self {
            Condition::Compare { path, by, to } => find(path, value_of).is_some_and(|found| by.holds(found, to)),
            Condition::OneOf { path, values } => {
                find(path, value_of).is_some_and(|found| values.iter().any(|value| equal(found, value)))
            }
            Condition::Exists { path } => find(path, value_of).is_some(),
            Condition::All(all) => all.iter().all(|condition| condition.holds(value_of)),
            Condition::Any(any) => any.iter().any(|condition| condition.holds(value_of)),
            Condition::Not(condition) => !condition.holds(value_of),
        }
    }

    /// Visits every path of the condition.
    pub(crate) fn paths(&self) -> Vec<&[String]> {
        let (mut paths, mut open) = (Vec::new(), vec![self]);
        while let Some(condition) = open.pop() {
            match condition {
                Condition::Compare { path, .. } | Condition::OneOf { path, .. } | Condition::Exists { path } => {
                    paths.push(path.as_slice());
                }
                Condition::All(inner) | Condition::Any(inner) => open.extend(inner.iter().rev()),
                Condition::Not(inner) => open.push(inner),
            }
        }
        paths
    }

    /// Returns whether a part of the condition has nothing to decide on: no path, no value, or no condition.
    pub(super) fn has_gap(&self) -> bool {
        match self {
            Condition::OneOf { values, .. } if values.is_empty() => true,
            Condition::All(inner) | Condition::Any(inner) => inner.is_empty() || inner.iter().any(Condition::has_gap),
            Condition::Not(inner) => inner.has_gap(),
            _ => self.paths().iter().any(|path| path.is_empty() || path.iter().any(String::is_empty)),
        }
    }
}

/// Returns the value at a path.
fn find<'a>(path: &[String], value_of: &impl Fn(&str) -> Option<&'a Value>) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(value_of(first)?, |value, segment| inside(value, segment))
}

/// Returns a member of an object, or an element of a list by its index.
pub(crate) fn inside<'a>(value: &'a Value, segment: &str) -> Option<&'a Value> {
    match value {
        Value::Array(list) => list.get(segment.parse::<usize>().ok()?),
        _ => value.get(segment),
    }
}

impl Comparison {
    fn holds(self, found: &Value, to: &Value) -> bool {
        match self {
            Comparison::Is => equal(found, to),
            Comparison::LessThan => order(found, to).is_some_and(Ordering::is_lt),
            Comparison::AtMost => order(found, to).is_some_and(Ordering::is_le),
            Comparison::GreaterThan => order(found, to).is_some_and(Ordering::is_gt),
            Comparison::AtLeast => order(found, to).is_some_and(Ordering::is_ge),
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Comparison::Is => "is",
            Comparison::LessThan => "<",
            Comparison::AtMost => "<=",
            Comparison::GreaterThan => ">",
            Comparison::AtLeast => ">=",
        }
    }
}

/// Returns the order of two numbers or two texts. Texts in UTF-8 compare by bytes as they do by code points.
fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// Returns whether two values are equal, with numbers equal by their mathematical value.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(key, value): (&String, &Value)| other.get(key).is_some_and(|other| equal(value, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Compare { path, by, to } => write!(f, "{} {} {to}", path.join("."), by.sign()),
            Condition::OneOf { path, values } => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "{} is one of {}", path.join("."), values.join(", "))
            }
            Condition::Exists { path } => write!(f, "{} exists", path.join(".")),
            Condition::All(inner) => joined(f, inner, " and "),
            Condition::Any(inner) => joined(f, inner, " or "),
            Condition::Not(inner) => match &**inner {
                Condition::Compare { path, by: Comparison::Is, to } => write!(f, "{} is not {to}", path.join(".")),
                Condition::Exists { path } => write!(f, "{} is missing", path.join(".")),
                other => write!(f, "not ({other})"),
            },
        }
    }
}

/// Writes conditions between a word, with those in brackets that would read otherwise without.
fn joined(f: &mut fmt::Formatter<'_>, conditions: &[Condition], word: &str) -> fmt::Result {
    for (index, condition) in conditions.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        match condition {
            Condition::All(_) | Condition::Any(_) => write!(f, "({condition})")?,
            simple => write!(f, "{simple}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn holds(condition: &Condition) -> bool {
        let data = json!({
            "risk": "high", "amount": 10, "half": 0.5, "nothing": null, "lines": [{ "sku": "a" }, { "sku": "b" }],
            "order": { "total": 9_007_199_254_740_993_u64, "a.b": 1 }, "yes": true,
        });
        condition.holds(&|key| data.get(key).map(|found| &*Box::leak(Box::new(found.clone()))))
    }

    #[test]
    fn values_compare_by_what_they_are() {
        for condition in [
            when("risk").is("high"),
            when("risk").one_of(["low", "high"]),
            when("risk").less_than("highest"),
            when("risk").at_least("high"),
            when("amount").is(10.0),
            when("amount").greater_than(9.99),
            when("amount").at_most(10_u8),
            when("half").less_than(1),
            when("order.total").greater_than(9_007_199_254_740_992.0),
            when("order.total").is_not(9_007_199_254_740_992.0),
            when("lines.1.sku").is("b"),
            when("lines").is(json!([{ "sku": "a" }, { "sku": "b" }])),
            when(["order", "a.b"]).is(1.0),
            when("nothing").exists(),
            when("nothing").is(Value::Null),
            when("yes").is(true),
        ] {
            assert!(holds(&condition), "{condition}");
            assert!(!holds(&not(condition.clone())), "{condition}");
        }
    }

    #[test]
    fn what_is_missing_or_of_another_type_compares_false() {
        for path in ["none", "risk.deeper", "lines.2.sku", "lines.x", "amount.0", "nothing.deeper"] {
            let subject = || when(path);
            assert!(holds(&subject().is_missing()) && holds(&subject().is_not("high")), "{path}");
            for condition in [subject().is(Value::Null), subject().less_than(5), subject().exists()] {
                assert!(!holds(&condition), "{condition}");
            }
        }
        for condition in [
            when("risk").greater_than(1),
            when("amount").less_than("9"),
            when("yes").at_least(true),
            when("lines").at_most(json!([])),
            when("amount").is("10"),
        ] {
            assert!(!holds(&condition), "{condition}");
        }
    }

    #[test]
    fn conditions_combine_and_read_as_they_were_meant() {
        let both = when("risk").is("high").and(when("amount").is(1)).and(when("yes").exists());
        assert!(matches!(&both, Condition::All(all) if all.len() == 3));
        assert!(!holds(&both) && holds(&both.clone().or(when("yes").is(true))));
        let mixed = both.or(not(when("yes").is_missing()));
        assert_eq!(mixed.to_string(), r#"(risk is "high" and amount is 1 and yes exists) or yes exists"#);
        assert_eq!(not(not(when("a").exists())), when("a").exists());
    }

    #[test]
    fn a_condition_with_nothing_to_decide_on_has_a_gap() {
        for condition in [
            when("").is(1),
            when("a..b").exists(),
            when(Vec::<String>::new()).exists(),
            when("a").one_of(Vec::<Value>::new()),
            not(when("a").is(1).and(when("").is(1))),
            Condition::Any(Vec::new()),
        ] {
            assert!(condition.has_gap(), "{condition:?}");
        }
        assert!(!when("a").is(1).or(not(when("b.0").exists())).has_gap());
    }

    #[test]
    fn a_condition_reads_back() {
        let condition =
            when("a.0").at_least(1.5).or(not(when("b").one_of([json!(1), json!("x")])).and(when("c").exists()));
        let written = serde_json::to_value(&condition).unwrap();
        assert_eq!(serde_json::from_value::<Condition>(written).unwrap(), condition);
    }

    proptest! {
        #[test]
        fn numbers_order_exactly_as_their_values_do(one in any::<i64>(), other in any::<u64>(), float in any::<f64>()) {
            let (a, b) = (json!(one), json!(other));
            prop_assert_eq!(order(&a, &b), Some(i128::from(one).cmp(&i128::from(other))));
            prop_assume!(float.is_finite());
            let c = json!(float);
            prop_assert_eq!(order(&a, &c).map(Ordering::reverse), order(&c, &a));
            prop_assert!(equal(&c, &c) && order(&c, &c) == Some(Ordering::Equal));
        }
    }
}
