//! When a cron trigger fires: the occurrences of an expression in a time zone.
//!
//! Knows the calendar, time zones and the handling of missed occurrences. Pure: time is passed in. Must never
//! know its callers, or what is started.
//!
//! Hand-written, with `croner` as the other opinion in a test. That crate applies the rule for times of day to a
//! single hour and minute only: it skips both times of `0,30 2 * * *` on the day of a jump. It also accepts an
//! expression that never fires, such as for 30 February, and then searches for it up to the year 5000.
//!
//! # Daylight saving
//!
//! An occurrence is identified by its instant, and fires once. How a clock change affects it depends on the field
//! of hours:
//!
//! - **An expression that names hours** (`30 2 * * *`, `0,30 1-3 * * *`) means times of day. A time that a jump
//!   forward skips fires at the jump, at the instant at which the clocks change; several skipped times, and a
//!   time that falls on that instant anyway, fire there once. A time that a jump back repeats fires the first
//!   time only.
//! - **An expression whose hours begin with `*`** (`*/10 * * * *`, `0 */2 * * *`) follows the wall clock: it
//!   fires whenever the clock shows a matching time. A skipped time does not fire; a repeated time fires twice,
//!   an hour apart.

mod days;
mod event;
mod expression;
mod field;
mod missed;
mod plan;
mod problem;
mod record;

pub use event::{TriggerEvent, TriggerEventKind};
pub use missed::{MissedOccurrences, MissedPolicy};
pub use problem::ExpressionProblem;
pub use record::{TriggerNotes, TriggerRecord};

pub(crate) use plan::{LATE, Plan, advance, plan};

use std::fmt;

use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use self::expression::{Expression, HORIZON_YEARS};
use crate::time::Timestamp;

/// A cron expression in a time zone. See the [module](self) for what happens when the clocks change.
///
/// ```
/// use squidmesh_core::{Timestamp, schedule::Schedule};
///
/// let schedule = Schedule::new("30 2 * * *", "Europe/Berlin")?;
/// let saturday: Timestamp = "2026-03-28T12:00:00Z".parse()?;
/// let times: Vec<String> = schedule.upcoming(saturday).take(2).map(|time| time.to_string()).collect();
/// // There is no 02:30 on that Sunday: the clocks go from 02:00 to 03:00, which is 01:00 in UTC.
/// assert_eq!(times, ["2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    expression: Expression,
    time_zone: TimeZone,
    text: String,
}

/// The reason why a schedule is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSchedule {
    /// The expression is not valid, or never fires.
    #[error("the cron expression {expression:?} is not valid: {problem}")]
    Expression {
        /// The given expression, cut to 100 characters.
        expression: String,
        /// Why the expression is not valid.
        #[source]
        problem: ExpressionProblem,
    },
    /// The time zone does not exist.
    #[error("there is no time zone {time_zone:?}: use an IANA name such as `Europe/Berlin`")]
    TimeZone {
        /// The given time zone, cut to 100 characters.
        time_zone: String,
    },
}

impl Schedule {
    /// Parses a schedule of five fields (minute, hour, day of month, month, day of week) in the time zone with an
    /// IANA name.
    ///
    /// Each field accepts `*`, numbers, ranges (`1-5`), steps (`*/10`, `8-18/2`, `15/5`) and lists of these.
    /// Months and days of the week also accept names (`JAN`, `MON`); Sunday is 0 or 7. Of days of the month, `L`
    /// is the last, and `15W` is the weekday nearest to the 15th in that month. Of days of the week, `5L` is the
    /// last Friday and `5#2` the second one. If both fields of days are given and neither begins with `*`, a day
    /// that matches either fires.
    ///
    /// # Errors
    /// Returns [`InvalidSchedule`] if the expression or the time zone is not valid. An expression that never
    /// fires, such as for 30 February, is not valid.
    pub fn new(expression: &str, time_zone: &str) -> Result<Self, InvalidSchedule> {
        let zone = TimeZone::get(time_zone).map_err(|_| InvalidSchedule::TimeZone { time_zone: cut(time_zone) })?;
        let parsed = Expression::parse(expression)
            .map_err(|problem| InvalidSchedule::Expression { expression: cut(expression), problem })?;
        let fields: Vec<&str> = expression.split_whitespace().collect();
        Ok(Schedule { expression: parsed, time_zone: zone, text: format!("{} {time_zone}", fields.join(" ")) })
    }

    /// Returns the first occurrence after a time; `None` at the end of the calendar.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_millisecond(time.as_millis()).ok()?;
        let found = if self.expression.names_hours { self.named(after) } else { self.shown(after) }?;
        Some(Timestamp::from_millis(found.as_millisecond())).filter(|found| *found > time)
    }

    /// Returns whether the schedule fires at exactly this time.
    pub fn fires_at(&self, time: Timestamp) -> bool {
        let before = time.as_millis().checked_sub(1).map(Timestamp::from_millis);
        before.and_then(|before| self.after(before)) == Some(time)
    }

    /// Returns the occurrences after a time, in order.
    pub fn upcoming(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.after(after), |last| self.after(*last))
    }

    /// Returns the next occurrence by times of day: each matching local time has one instant, and the instants
    /// have the order of the times.
    fn named(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut from = self.time_zone.to_datetime(after);
        loop {
            let local = self.expression.at_or_after(from)?;
            let instant = self.instant_of(local)?;
            if instant > after {
                return Some(instant);
            }
            from = local.checked_add(1.minute()).ok()?;
        }
    }

    /// Returns the one instant of a local time: the first of two for a repeated time, and the jump for a skipped
    /// one.
    fn instant_of(&self, local: DateTime) -> Option<jiff::Timestamp> {
        match self.time_zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { before, after } => {
                let (from, to) = (after.to_timestamp(local).ok()?, before.to_timestamp(local).ok()?);
                let mut jumps = self.time_zone.following(from).map(|jump| (jump.timestamp(), jump.offset()));
                let jump = jumps.find(|(at, offset)| *at > to || *offset == after);
                Some(jump.map_or(to, |(at, _)| at.min(to)))
            }
        }
    }

    /// Returns the next occurrence by the wall clock: searched for between one clock change and the next.
    fn shown(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let end = self.time_zone.to_datetime(after).year().saturating_add(HORIZON_YEARS);
        let mut start = after;
        let mut begun = true; // `after` itself does not count, a change of the clocks does
        loop {
            let offset = self.time_zone.to_offset(start);
            let change = self.time_zone.following(start).next().map(|change| change.timestamp());
            let now = offset.to_datetime(start);
            let minute = minute_of(now);
            let from = if begun || minute < now { minute.checked_add(1.minute()).ok()? } else { minute };
            let found = offset.to_timestamp(self.expression.at_or_after(from)?).ok()?;
            match change {
                Some(change) if found >= change => (start, begun) = (change, false),
                _ => return Some(found),
            }
            if now.year() > end {
                return None;
            }
        }
    }
}

/// Formats the fields and the time zone with single spaces between them. This text distinguishes schedules.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

fn minute_of(time: DateTime) -> DateTime {
    time.date().at(time.hour(), time.minute(), 0, 0)
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
