//! A cron expression without a time zone: which local times match it.

use jiff::civil::{Date, DateTime};

use super::days::Days;
use super::field::{HOUR, MINUTE, MONTH};
use super::problem::{ExpressionProblem, LONGEST};

/// How far ahead to look for an occurrence. A 29 February on a given day of the week is at most 40 years away.
pub(super) const HORIZON_YEARS: i16 = 41;

/// A cron expression.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    /// Whether the expression means times of day, rather than times that the wall clock shows.
    pub(super) names_hours: bool,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, ExpressionProblem> {
        if text.len() > LONGEST {
            return Err(ExpressionProblem::TooLong);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields.as_slice() else {
            let found = fields.len();
            return Err(if found == 0 { ExpressionProblem::Empty } else { ExpressionProblem::Fields { found } });
        };
        let expression = Expression {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            months: MONTH.parse(month)?,
            days: Days::parse(day_of_month, day_of_week)?,
            names_hours: !hour.starts_with('*'),
        };
        // An expression that matches in the years after 2000 matches after any other year.
        let found = expression.at_or_after(DateTime::constant(2000, 1, 1, 0, 0, 0, 0));
        found.map(|_| expression).ok_or(ExpressionProblem::Never)
    }

    /// Returns the first matching minute, from the minute of `from` on; `None` if there is none within the horizon.
    pub(super) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        if self.fall_on(date)
            && let Some((hour, minute)) = self.time_at_or_after(from.hour(), from.minute())
        {
            return Some(date.at(hour, minute, 0, 0));
        }
        let (hour, minute) = self.time_at_or_after(0, 0)?;
        let last_year = from.year().saturating_add(HORIZON_YEARS);
        loop {
            // Months that do not match are skipped as a whole.
            let within = next_in(self.months, date.month()) == Some(date.month());
            date = if within { date } else { date.last_of_month() }.tomorrow().ok()?;
            if date.year() > last_year {
                return None;
            }
            if self.fall_on(date) {
                return Some(date.at(hour, minute, 0, 0));
            }
        }
    }

    fn fall_on(&self, date: Date) -> bool {
        next_in(self.months, date.month()) == Some(date.month()) && self.days.contain(date)
    }

    fn time_at_or_after(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        if next_in(self.hours, hour) == Some(hour)
            && let Some(minute) = next_in(self.minutes, minute)
        {
            return Some((hour, minute));
        }
        Some((next_in(self.hours, hour + 1)?, next_in(self.minutes, 0)?))
    }
}

/// Returns the smallest value of a set that is not below `from`.
fn next_in(set: u64, from: i8) -> Option<i8> {
    let from = u32::try_from(from).ok()?;
    let rest = set.checked_shr(from)?;
    if rest == 0 { None } else { i8::try_from(from + rest.trailing_zeros()).ok() }
}
