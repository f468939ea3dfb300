//! A cron expression without a time zone: which local times fit it.

use jiff::civil::{Date, DateTime};

use super::HORIZON_YEARS;
use super::days::Days;
use super::field::{HOUR, MINUTE, MONTH};

/// Longer than any useful expression; what reads it is not asked about more.
const LONGEST: usize = 1_000;

/// What is wrong with a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionProblem {
    /// There is nothing in it.
    #[error("it is empty; write five fields: minute, hour, day of month, month, day of week, as in `0 3 * * 1-5`")]
    Empty,
    /// It is longer than 1,000 bytes.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// It has more or fewer fields than five.
    #[error("it has {found} fields; write five: minute, hour, day of month, month, day of week, as in `0 3 * * 1-5`")]
    Fields {
        /// How many it has.
        found: usize,
    },
    /// A field cannot be read.
    #[error(
        "{item:?} is no {field}: write a value from {least} to {most}, a range such as {least}-{most}, a step such as */2, or a list of these"
    )]
    Field {
        /// Which field.
        field: &'static str,
        /// The part of it that cannot be read, cut to 40 characters.
        item: String,
        /// The least value of the field.
        least: u8,
        /// The greatest value of the field.
        most: u8,
    },
    /// No date fits it.
    #[error("it never fires: there is no such date")]
    Never,
}

/// A cron expression.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    /// Whether it means times of day, and not whatever time the clock shows.
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
        // What is found in the years after 2000 is found after any other year.
        let found = expression.at_or_after(DateTime::constant(2000, 1, 1, 0, 0, 0, 0));
        found.map(|_| expression).ok_or(ExpressionProblem::Never)
    }

    /// The first minute that fits, from the minute of a time on; `None` if there is none within the horizon.
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
            // Months that do not fit are skipped whole.
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

/// The least value of a set that is not below `from`.
fn next_in(set: u64, from: i8) -> Option<i8> {
    let from = u32::try_from(from).ok()?;
    let rest = set.checked_shr(from)?;
    if rest == 0 { None } else { i8::try_from(from + rest.trailing_zeros()).ok() }
}
