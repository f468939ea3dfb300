//! The days on which an expression falls: its two fields of days together.

use jiff::civil::Date;

use super::field::{DAY_OF_MONTH, DAY_OF_WEEK, number};
use super::problem::ExpressionProblem;

/// The days of the month and the days of the week in an expression.
#[derive(Clone, Debug)]
pub(super) struct Days {
    /// The days of the month, as a set.
    of_month: u64,
    /// Whether the last day of the month is included.
    last_of_month: bool,
    /// The days of the month whose nearest weekday is included.
    weekdays_near: u64,
    /// The days of the week; Sunday is 0.
    of_week: u64,
    /// The days of the week whose last occurrence in the month is included.
    last_of_week: u64,
    /// The days of the week whose nth occurrence in the month is included: a set for each n from 1 to 5.
    nth_of_week: [u64; 5],
    /// Whether a day must match both fields: if one of them begins with `*`. Otherwise it may match either.
    both: bool,
}

impl Days {
    pub(super) fn parse(of_month: &str, of_week: &str) -> Result<Self, ExpressionProblem> {
        let mut days = Days {
            of_month: 0,
            last_of_month: false,
            weekdays_near: 0,
            of_week: 0,
            last_of_week: 0,
            nth_of_week: [0; 5],
            both: of_month.starts_with('*') || of_week.starts_with('*'),
        };
        of_month.split(',').try_for_each(|item| days.add_of_month(item))?;
        of_week.split(',').try_for_each(|item| days.add_of_week(item))?;
        Ok(days)
    }

    fn add_of_month(&mut self, item: &str) -> Result<(), ExpressionProblem> {
        if item.eq_ignore_ascii_case("L") {
            self.last_of_month = true;
        } else if let Some(day) = item.strip_suffix(['W', 'w']) {
            self.weekdays_near |= 1 << DAY_OF_MONTH.value(day, item)?;
        } else {
            self.of_month |= DAY_OF_MONTH.item(item)?;
        }
        Ok(())
    }

    fn add_of_week(&mut self, item: &str) -> Result<(), ExpressionProblem> {
        if let Some((day, nth)) = item.split_once('#') {
            let nth = number(nth).and_then(|nth| usize::from(nth).checked_sub(1));
            let set = nth.and_then(|nth| self.nth_of_week.get_mut(nth)).ok_or_else(|| DAY_OF_WEEK.problem(item))?;
            *set |= from_sunday(1 << DAY_OF_WEEK.value(day, item)?);
        } else if let Some(day) = item.strip_suffix(['L', 'l']) {
            self.last_of_week |= from_sunday(1 << DAY_OF_WEEK.value(day, item)?);
        } else {
            self.of_week |= from_sunday(DAY_OF_WEEK.item(item)?);
        }
        Ok(())
    }

    pub(super) fn contain(&self, date: Date) -> bool {
        let (month, week) = (self.fits_month(date), self.fits_week(date));
        if self.both { month && week } else { month || week }
    }

    fn fits_month(&self, date: Date) -> bool {
        has(self.of_month, date.day())
            || (self.last_of_month && date.day() == date.days_in_month())
            || (self.weekdays_near != 0
                && (1..=date.days_in_month())
                    .any(|day| has(self.weekdays_near, day) && weekday_near(date, day) == date.day()))
    }

    fn fits_week(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let nth = usize::try_from((date.day() - 1) / 7).unwrap_or_default();
        has(self.of_week, weekday)
            || (has(self.last_of_week, weekday) && date.day() + 7 > date.days_in_month())
            || self.nth_of_week.get(nth).is_some_and(|set| has(*set, weekday))
    }
}

/// Returns the day of the month of `date` that is a weekday and nearest to `day`, without leaving the month.
fn weekday_near(date: Date, day: i8) -> i8 {
    // The first of the month is `date.day() - 1` days before `date`.
    let from_sunday =
        (i16::from(date.weekday().to_sunday_zero_offset()) + i16::from(day) - i16::from(date.day())).rem_euclid(7);
    match from_sunday {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == date.days_in_month() => day - 2,
        0 => day + 1,
        _ => day,
    }
}

/// Maps Sunday as 7 to 0.
fn from_sunday(set: u64) -> u64 {
    (set | set >> 7) & 0b111_1111
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set >> value & 1 == 1)
}
