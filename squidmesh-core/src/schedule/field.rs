//! Parses one field of a cron expression: a list of values, ranges and steps, as a bit set.

use super::problem::ExpressionProblem;

/// A field: its name for messages, its range of values, and the names that stand for some of them.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) least: u8,
    pub(super) most: u8,
    /// Three-letter names, for `least`, `least + 1` and so on.
    pub(super) names: &'static [&'static str],
}

pub(super) const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
pub(super) const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
pub(super) const DAY_OF_MONTH: Field = Field { name: "day of month", least: 1, most: 31, names: &[] };
pub(super) const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
pub(super) const DAY_OF_WEEK: Field =
    Field { name: "day of week", least: 0, most: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

impl Field {
    /// Returns the set of values of a list.
    pub(super) fn parse(&self, text: &str) -> Result<u64, ExpressionProblem> {
        text.split(',').try_fold(0, |set, item| Ok(set | self.item(item)?))
    }

    /// Returns the set of values of one item of a list.
    pub(super) fn item(&self, item: &str) -> Result<u64, ExpressionProblem> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step, item)?)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (self.value(first, item)?, self.value(last, item)?),
            None => {
                let value = self.value(range, item)?;
                (value, if step.is_some() { self.most } else { value })
            }
        };
        if first > last {
            return Err(self.problem(item));
        }
        let values = (first..=last).step_by(usize::from(step.unwrap_or(1)));
        Ok(values.fold(0, |set, value| set | 1 << value))
    }

    /// Returns a single value, by number or name.
    pub(super) fn value(&self, text: &str, item: &str) -> Result<u8, ExpressionProblem> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(place) => u8::try_from(place).ok().map(|place| place + self.least),
            None => number(text),
        };
        value.filter(|value| (self.least..=self.most).contains(value)).ok_or_else(|| self.problem(item))
    }

    fn step(&self, text: &str, item: &str) -> Result<u8, ExpressionProblem> {
        number(text).filter(|step| (1..=self.most).contains(step)).ok_or_else(|| self.problem(item))
    }

    pub(super) fn problem(&self, item: &str) -> ExpressionProblem {
        ExpressionProblem::Field {
            field: self.name,
            item: item.chars().take(40).collect(),
            least: self.least,
            most: self.most,
        }
    }
}

/// Parses one or two digits and nothing else: no sign, no white space.
pub(super) fn number(text: &str) -> Option<u8> {
    let plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}
