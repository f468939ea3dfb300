//! Plans the work of a trigger: which occurrences to start now, and when to check again.

use std::time::Duration;

use super::Schedule;
use super::missed::{MissedOccurrences, MissedPolicy};
use super::record::TriggerRecord;
use crate::time::Timestamp;

/// An occurrence that is later than this was missed; a younger one is still in time. A position that is further
/// ahead of the clock than this was written by a wrong clock.
pub(crate) const LATE: Duration = Duration::from_secs(60);

/// The number of schedules of a trigger that are remembered: one for each version that may run side by side, and
/// some to roll back to.
const REMEMBERED: usize = 8;

/// The maximum number of missed occurrences that are counted.
const COUNTED: usize = 10_000;

/// The plan for a trigger.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The occurrences to start, in order.
    pub(crate) due: Vec<Timestamp>,
    /// The time up to which everything is processed once they are started; `None` if nothing is to be written.
    pub(crate) position: Option<Timestamp>,
    /// The time of the next occurrence to start; `None` if there is none.
    pub(crate) next: Option<Timestamp>,
    /// The occurrences that are skipped because they were missed.
    pub(crate) missed: Option<MissedOccurrences>,
    /// The stored position, if it is ahead of the clock and therefore not trusted.
    pub(crate) ahead: Option<Timestamp>,
}

/// Decides which occurrences of a schedule to start, at most `most`.
///
/// A schedule without a stored position begins at `now`. A paused trigger starts nothing.
///
/// A position ahead of the clock means that the clock was ahead, or that it is behind now. The schedule follows
/// the current clock; the keys of the runs ensure that no occurrence fires twice.
pub(crate) fn plan(
    schedule: &Schedule,
    missed: MissedPolicy,
    record: Option<&TriggerRecord>,
    now: Timestamp,
    most: usize,
) -> Plan {
    if record.is_some_and(|record| record.paused_at.is_some()) {
        return Plan { due: Vec::new(), position: None, next: None, missed: None, ahead: None };
    }
    let Some((position, ahead)) = record.and_then(|record| position(schedule, record, now)) else {
        let next = schedule.after(now);
        return Plan { due: Vec::new(), position: Some(now), next, missed: None, ahead: None };
    };
    let due = match missed {
        MissedPolicy::Skip => between(schedule, position.max(before(now, LATE)), now, most),
        MissedPolicy::Once => latest(schedule, position, now).into_iter().collect(),
        MissedPolicy::All => between(schedule, position, now, most),
    };
    let left_out_until = match missed {
        MissedPolicy::Skip => Some(before(now, LATE)),
        MissedPolicy::Once => due.first().map(|stands_for_all| before(*stands_for_all, Duration::from_millis(1))),
        MissedPolicy::All => None,
    };
    let settled = match due.last() {
        // Everything before the last one was started or is skipped.
        Some(last) => Some(*last),
        // Nothing is due, though something may have been skipped: it need not be checked again.
        None => schedule.after(position).filter(|next| *next <= now).map(|_| now).or(ahead.map(|_| position)),
    };
    let next = schedule.after(settled.unwrap_or(position));
    let missed = left_out_until.and_then(|until| left_out(schedule, position, until, now));
    Plan { due, position: settled, next, missed, ahead }
}

/// Stores that a schedule is processed up to a time, and forgets the schedules with the oldest positions.
pub(crate) fn advance(record: &mut TriggerRecord, schedule: &Schedule, position: Timestamp, now: Timestamp) {
    record.positions.insert(schedule.to_string(), position);
    let notes = &mut record.notes;
    for (text, position) in &mut record.positions {
        if *position > now.after(LATE) {
            notes.ahead.insert(text.clone(), *position);
            *position = before(now, LATE);
        }
        if let Some(reached) = notes.ahead.get(text).copied().filter(|ahead| *ahead <= now) {
            *position = reached.max(*position);
            notes.ahead.remove(text);
        }
    }
    while record.positions.len() > REMEMBERED {
        let Some((oldest, _)) = record.positions.iter().min_by_key(|(_, position)| **position) else { return };
        let oldest = oldest.clone();
        record.positions.remove(&oldest);
    }
    notes.ahead.retain(|text, _| record.positions.contains_key(text));
}

/// Returns the time up to which a schedule is processed, and the stored position if it is ahead of the clock and
/// therefore not trusted.
///
/// While another schedule of the trigger was in force, this one missed nothing: rolling a change of the schedule
/// back must not start the occurrences in between. The other schedule may run beside this one during a deploy,
/// and so takes nothing from it that is still in time.
fn position(schedule: &Schedule, record: &TriggerRecord, now: Timestamp) -> Option<(Timestamp, Option<Timestamp>)> {
    let is_credible = |position: &Timestamp| *position <= now.after(LATE);
    let stored = *record.positions.get(&schedule.text)?;
    let ahead = Some(stored).filter(|stored| !is_credible(stored));
    let own = if ahead.is_some() { before(now, LATE) } else { stored };
    let reached = record.notes.ahead.get(&schedule.text).copied().filter(|ahead| *ahead <= now);
    let latest = record.positions.values().copied().filter(is_credible).max().map(|latest| before(latest, LATE));
    Some(([reached, latest].into_iter().flatten().fold(own, Timestamp::max), ahead))
}

/// Returns the occurrences after one time and not after another, as missed.
fn left_out(schedule: &Schedule, after: Timestamp, until: Timestamp, now: Timestamp) -> Option<MissedOccurrences> {
    let first = schedule.after(after).filter(|first| *first <= until)?;
    let counted = schedule.upcoming(after).take_while(|time| *time <= until).take(COUNTED);
    let (count, last) = counted.fold((0, first), |(count, _), time| (count + 1, time));
    let last = if count < COUNTED as u64 { last } else { latest(schedule, after, until).unwrap_or(last) };
    Some(MissedOccurrences { count, first, last, noticed_at: now })
}

/// Returns the first occurrences after one time and not after another.
fn between(schedule: &Schedule, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
    schedule.upcoming(after).take_while(|time| *time <= until).take(most).collect()
}

/// Returns the last occurrence after one time and not after another. Searches back from the end in growing spans,
/// because there may be very many.
fn latest(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let mut span = LATE;
    loop {
        let from = after.max(before(until, span));
        let last = schedule.upcoming(from).take_while(|time| *time <= until).last();
        if last.is_some() || from == after {
            return last;
        }
        span = span.saturating_mul(2);
    }
}

pub(crate) fn before(time: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(span))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{hours, minutes, secs};
    use crate::name::{TriggerName, WorkflowName};

    const ALL: usize = 1_000;

    fn time(text: &str) -> Timestamp {
        format!("2026-01-05T{text}Z").parse().unwrap()
    }

    fn hourly() -> Schedule {
        Schedule::new("0 * * * *", "UTC").unwrap()
    }

    fn at(schedule: &Schedule, position: Timestamp) -> TriggerRecord {
        let mut record = TriggerRecord::new(WorkflowName::new("w").unwrap(), TriggerName::new("t").unwrap());
        advance(&mut record, schedule, position, position);
        record
    }

    fn look(missed: MissedPolicy, position: &str, now: &str) -> Plan {
        let schedule = hourly();
        plan(&schedule, missed, Some(&at(&schedule, time(position))), time(now), ALL)
    }

    fn planned(due: Vec<Timestamp>, position: Option<Timestamp>, next: Option<Timestamp>) -> Plan {
        Plan { due, position, next, missed: None, ahead: None }
    }

    fn left_out(count: u64, first: &str, last: &str, noticed_at: &str) -> Option<MissedOccurrences> {
        let (first, last, noticed_at) = (time(first), time(last), time(noticed_at));
        Some(MissedOccurrences { count, first, last, noticed_at })
    }

    #[test]
    fn what_nobody_has_seen_before_begins_now() {
        let schedule = hourly();
        let other = at(&Schedule::new("30 * * * *", "UTC").unwrap(), time("09:30:00"));
        for record in [None, Some(&other)] {
            let plan = plan(&schedule, MissedPolicy::All, record, time("10:00:00"), ALL);
            assert_eq!(plan, planned(vec![], Some(time("10:00:00")), Some(time("11:00:00"))));
        }
    }

    #[test]
    fn what_is_due_is_started_under_every_policy() {
        for missed in [MissedPolicy::Skip, MissedPolicy::Once, MissedPolicy::All] {
            let early = look(missed, "09:00:00", "09:59:59");
            assert_eq!(early, planned(vec![], None, Some(time("10:00:00"))));
            for now in ["10:00:00", "10:00:59"] {
                let due = look(missed, "09:00:00", now);
                let (ten, eleven) = (time("10:00:00"), time("11:00:00"));
                assert_eq!(due, planned(vec![ten], Some(ten), Some(eleven)));
            }
        }
    }

    #[test]
    fn missed_occurrences_are_left_out_by_skip() {
        let plan = look(MissedPolicy::Skip, "07:00:00", "10:30:00");
        let missed = left_out(3, "08:00:00", "10:00:00", "10:30:00");
        assert_eq!(plan, Plan { missed, ..planned(vec![], Some(time("10:30:00")), Some(time("11:00:00"))) });
        let plan = look(MissedPolicy::Skip, "07:00:00", "10:00:30");
        assert_eq!(plan.due, [time("10:00:00")], "the last one is not late");
        assert_eq!(plan.position, Some(time("10:00:00")));
        assert_eq!(plan.missed, left_out(2, "08:00:00", "09:00:00", "10:00:30"));
    }

    #[test]
    fn one_run_stands_for_all_that_were_missed_by_once() {
        let plan = look(MissedPolicy::Once, "07:00:00", "10:30:00");
        let (ten, eleven) = (time("10:00:00"), time("11:00:00"));
        let missed = left_out(2, "08:00:00", "09:00:00", "10:30:00");
        assert_eq!(plan, Plan { missed, ..planned(vec![ten], Some(ten), Some(eleven)) });
        let schedule = Schedule::new("* * * * *", "UTC").unwrap();
        let long_ago = at(&schedule, Timestamp::EPOCH);
        let plan = super::plan(&schedule, MissedPolicy::Once, Some(&long_ago), ten.after(secs(1)), ALL);
        assert_eq!(plan.due, [ten], "of decades, without a look at each minute");
        assert_eq!(plan.missed.map(|missed| (missed.count, missed.last)), Some((10_000, time("09:59:00"))));
        let rare = Schedule::new("0 0 29 2 *", "UTC").unwrap();
        let plan = super::plan(&rare, MissedPolicy::Once, Some(&at(&rare, Timestamp::EPOCH)), ten, ALL);
        assert_eq!(plan.due, ["2024-02-29T00:00:00Z".parse().unwrap()]);
    }

    #[test]
    fn each_missed_occurrence_is_started_by_all_a_part_at_a_time() {
        let plan = look(MissedPolicy::All, "07:00:00", "10:30:00");
        assert_eq!(plan.due, [time("08:00:00"), time("09:00:00"), time("10:00:00")]);
        let schedule = hourly();
        let record = at(&schedule, time("07:00:00"));
        let part = super::plan(&schedule, MissedPolicy::All, Some(&record), time("10:30:00"), 2);
        let (eight, nine, ten) = (time("08:00:00"), time("09:00:00"), time("10:00:00"));
        assert_eq!(part, planned(vec![eight, nine], Some(nine), Some(ten)));
    }

    #[test]
    fn a_paused_trigger_plans_nothing() {
        let schedule = hourly();
        let mut record = at(&schedule, time("07:00:00"));
        record.paused_at = Some(time("07:30:00"));
        let plan = plan(&schedule, MissedPolicy::All, Some(&record), time("10:30:00"), ALL);
        assert_eq!(plan, planned(vec![], None, None));
    }

    #[test]
    fn while_another_schedule_was_in_force_nothing_was_missed() {
        let (schedule, other) = (hourly(), Schedule::new("0 4 * * *", "UTC").unwrap());
        let mut record = at(&schedule, time("02:00:00"));
        advance(&mut record, &other, time("09:00:30"), time("09:00:30"));
        let plan = plan(&schedule, MissedPolicy::All, Some(&record), time("10:30:00"), ALL);
        assert_eq!(plan.due, [time("09:00:00"), time("10:00:00")], "but what was merely on its way is not lost");
    }

    #[test]
    fn the_schedules_of_long_gone_versions_are_forgotten() {
        let mut record = at(&hourly(), time("01:00:00"));
        for hour in 2_u64..20 {
            let schedule = Schedule::new(&format!("{hour} * * * *"), "UTC").unwrap();
            let position = Timestamp::EPOCH.after(hours(24 * 365 * 60) + minutes(hour));
            advance(&mut record, &schedule, position, position);
        }
        assert_eq!(record.positions.len(), REMEMBERED);
        assert!(record.positions.contains_key("19 * * * * UTC"));
        assert!(!record.positions.contains_key("0 * * * * UTC"));
    }

    #[test]
    fn a_position_ahead_of_the_clock_is_not_believed() {
        let tomorrow = time("10:30:00").after(hours(24));
        let schedule = hourly();
        for missed in [MissedPolicy::Skip, MissedPolicy::Once, MissedPolicy::All] {
            let ahead = at(&schedule, tomorrow);
            let early = plan(&schedule, missed, Some(&ahead), time("10:30:00"), ALL);
            let (from, next) = (time("10:29:00"), time("11:00:00"));
            let expected = Plan { ahead: Some(tomorrow), ..planned(vec![], Some(from), Some(next)) };
            assert_eq!(early, expected, "{missed:?}");
            let due = plan(&schedule, missed, Some(&ahead), time("11:00:05"), ALL);
            assert_eq!((due.due, due.ahead), (vec![next], Some(tomorrow)), "what is due by the clock as it is");
        }
        let early = at(&schedule, time("10:00:00"));
        let found = plan(&schedule, MissedPolicy::All, Some(&early), time("09:59:30"), ALL);
        assert_eq!(found, planned(vec![], None, Some(time("11:00:00"))), "a little ahead is ahead by nothing");
    }

    #[test]
    fn a_schedule_that_was_ahead_takes_nothing_from_another() {
        let (schedule, other) = (hourly(), Schedule::new("30 * * * *", "UTC").unwrap());
        let mut record = at(&other, time("10:30:00").after(hours(24)));
        advance(&mut record, &schedule, time("10:40:00"), time("10:40:00"));
        let found = plan(&schedule, MissedPolicy::All, Some(&record), time("11:00:05"), ALL);
        assert_eq!(found.due, [time("11:00:00")]);
        let found = plan(&other, MissedPolicy::All, Some(&record), time("11:30:05"), ALL);
        assert_eq!(found.due, [time("11:30:00")], "{record:?}");
    }

    #[test]
    fn a_clock_that_was_behind_for_one_look_leaves_nothing_out() {
        let schedule = hourly();
        let reached = time("10:00:00").after(hours(24));
        let mut record = at(&schedule, reached);
        let behind = plan(&schedule, MissedPolicy::All, Some(&record), time("10:30:00"), ALL);
        record.notes.ahead.insert(schedule.to_string(), behind.ahead.unwrap());
        advance(&mut record, &schedule, behind.position.unwrap(), time("10:30:00"));
        let again = plan(&schedule, MissedPolicy::All, Some(&record), reached.after(minutes(30)), ALL);
        assert_eq!((again.due, again.missed), (vec![], None), "{record:?}");
        let next = plan(&schedule, MissedPolicy::All, Some(&record), reached.after(minutes(60)), ALL);
        assert_eq!(next.due, [reached.after(minutes(60))]);
    }
}
