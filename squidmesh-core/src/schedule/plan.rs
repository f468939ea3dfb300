//! What a look at a trigger leads to: which occurrences are started now, and when to look again.

use std::time::Duration;

use super::{Schedule, TriggerRecord};
use crate::{MissedPolicy, Timestamp};

/// An occurrence that is later than this was missed. What is younger is merely on its way.
const LATE: Duration = Duration::from_secs(60);

/// How many schedules of a trigger are remembered: one for each version that may run side by side, and some to roll back to.
const REMEMBERED: usize = 8;

/// What a look at a trigger leads to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The occurrences to start, in order.
    pub(crate) due: Vec<Timestamp>,
    /// Up to which time everything is dealt with once they are started; `None` if nothing is to be written.
    pub(crate) position: Option<Timestamp>,
    /// When there is something to do next; `None` if never.
    pub(crate) next: Option<Timestamp>,
}

/// Decides what of a schedule is to be started, `most` occurrences at most.
///
/// What nobody has seen before begins now. What was paused waits.
pub(crate) fn plan(
    schedule: &Schedule,
    missed: MissedPolicy,
    record: Option<&TriggerRecord>,
    now: Timestamp,
    most: usize,
) -> Plan {
    if record.is_some_and(|record| record.paused_at.is_some()) {
        return Plan { due: Vec::new(), position: None, next: None };
    }
    let Some(position) = record.and_then(|record| position(schedule, record)) else {
        return Plan { due: Vec::new(), position: Some(now), next: schedule.after(now) };
    };
    let due = match missed {
        MissedPolicy::Skip => between(schedule, position.max(before(now, LATE)), now, most),
        MissedPolicy::Once => latest(schedule, position, now).into_iter().collect(),
        MissedPolicy::All => between(schedule, position, now, most),
    };
    let settled = match due.last() {
        // Whatever lies before the last was started or is left out.
        Some(last) => Some(*last),
        // Nothing is due, though something may have been left out: it need not be looked at again.
        None => schedule.after(position).filter(|next| *next <= now).map(|_| now),
    };
    let next = schedule.after(settled.unwrap_or(position));
    Plan { due, position: settled, next }
}

/// Puts down that a schedule is dealt with up to a time, and forgets schedules that were not used for longest.
pub(crate) fn advance(record: &mut TriggerRecord, schedule: &Schedule, position: Timestamp) {
    record.positions.insert(schedule.to_string(), position);
    while record.positions.len() > REMEMBERED {
        let Some((oldest, _)) = record.positions.iter().min_by_key(|(_, position)| **position) else { return };
        let oldest = oldest.clone();
        record.positions.remove(&oldest);
    }
}

/// Up to where a schedule is dealt with. While another schedule of the trigger was in force, nothing of this one was missed:
/// who rolls a change of the schedule back does not want what lies between. The other may run beside this one during a deploy,
/// and so takes nothing from it that is merely on its way.
fn position(schedule: &Schedule, record: &TriggerRecord) -> Option<Timestamp> {
    let own = record.positions.get(&schedule.text)?;
    let latest = record.positions.values().max()?;
    Some((*own).max(before(*latest, LATE)))
}

/// The first occurrences after one time and not after another.
fn between(schedule: &Schedule, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
    schedule.upcoming(after).take_while(|time| *time <= until).take(most).collect()
}

/// The last occurrence after one time and not after another. Looks back from the end in ever longer spans: there may be very
/// many.
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

fn before(time: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(span))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TriggerName, WorkflowName, hours, minutes, secs};

    const ALL: usize = 1_000;

    fn time(text: &str) -> Timestamp {
        format!("2026-01-05T{text}Z").parse().unwrap()
    }

    fn hourly() -> Schedule {
        Schedule::new("0 * * * *", "UTC").unwrap()
    }

    fn at(schedule: &Schedule, position: Timestamp) -> TriggerRecord {
        let mut record = TriggerRecord::new(WorkflowName::new("w").unwrap(), TriggerName::new("t").unwrap());
        advance(&mut record, schedule, position);
        record
    }

    fn look(missed: MissedPolicy, position: &str, now: &str) -> Plan {
        let schedule = hourly();
        plan(&schedule, missed, Some(&at(&schedule, time(position))), time(now), ALL)
    }

    #[test]
    fn what_nobody_has_seen_before_begins_now() {
        let schedule = hourly();
        let other = at(&Schedule::new("30 * * * *", "UTC").unwrap(), time("09:30:00"));
        for record in [None, Some(&other)] {
            let plan = plan(&schedule, MissedPolicy::All, record, time("10:00:00"), ALL);
            assert_eq!(plan, Plan { due: vec![], position: Some(time("10:00:00")), next: Some(time("11:00:00")) });
        }
    }

    #[test]
    fn what_is_due_is_started_whatever_the_policy() {
        for missed in [MissedPolicy::Skip, MissedPolicy::Once, MissedPolicy::All] {
            let early = look(missed, "09:00:00", "09:59:59");
            assert_eq!(early, Plan { due: vec![], position: None, next: Some(time("10:00:00")) });
            for now in ["10:00:00", "10:00:59"] {
                let due = look(missed, "09:00:00", now);
                let (ten, eleven) = (time("10:00:00"), time("11:00:00"));
                assert_eq!(due, Plan { due: vec![ten], position: Some(ten), next: Some(eleven) });
            }
        }
    }

    #[test]
    fn missed_occurrences_are_left_out_by_skip() {
        let plan = look(MissedPolicy::Skip, "07:00:00", "10:30:00");
        assert_eq!(plan, Plan { due: vec![], position: Some(time("10:30:00")), next: Some(time("11:00:00")) });
        let plan = look(MissedPolicy::Skip, "07:00:00", "10:00:30");
        assert_eq!(plan.due, [time("10:00:00")], "the last one is not late");
        assert_eq!(plan.position, Some(time("10:00:00")));
    }

    #[test]
    fn one_run_stands_for_all_that_were_missed_by_once() {
        let plan = look(MissedPolicy::Once, "07:00:00", "10:30:00");
        let (ten, eleven) = (time("10:00:00"), time("11:00:00"));
        assert_eq!(plan, Plan { due: vec![ten], position: Some(ten), next: Some(eleven) });
        let schedule = Schedule::new("* * * * *", "UTC").unwrap();
        let long_ago = at(&schedule, Timestamp::EPOCH);
        let plan = super::plan(&schedule, MissedPolicy::Once, Some(&long_ago), ten.after(secs(1)), ALL);
        assert_eq!(plan.due, [ten], "of decades, without a look at each minute");
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
        assert_eq!(part, Plan { due: vec![eight, nine], position: Some(nine), next: Some(ten) });
    }

    #[test]
    fn a_paused_trigger_plans_nothing() {
        let schedule = hourly();
        let mut record = at(&schedule, time("07:00:00"));
        record.paused_at = Some(time("07:30:00"));
        let plan = plan(&schedule, MissedPolicy::All, Some(&record), time("10:30:00"), ALL);
        assert_eq!(plan, Plan { due: vec![], position: None, next: None });
    }

    #[test]
    fn while_another_schedule_was_in_force_nothing_was_missed() {
        let (schedule, other) = (hourly(), Schedule::new("0 4 * * *", "UTC").unwrap());
        let mut record = at(&schedule, time("02:00:00"));
        advance(&mut record, &other, time("09:00:30"));
        let plan = plan(&schedule, MissedPolicy::All, Some(&record), time("10:30:00"), ALL);
        assert_eq!(plan.due, [time("09:00:00"), time("10:00:00")], "but what was merely on its way is not lost");
    }

    #[test]
    fn the_schedules_of_long_gone_versions_are_forgotten() {
        let mut record = at(&hourly(), time("01:00:00"));
        for hour in 2_u64..20 {
            let schedule = Schedule::new(&format!("{hour} * * * *"), "UTC").unwrap();
            advance(&mut record, &schedule, Timestamp::EPOCH.after(hours(24 * 365 * 60) + minutes(hour)));
        }
        assert_eq!(record.positions.len(), REMEMBERED);
        assert!(record.positions.contains_key("19 * * * * UTC"));
        assert!(!record.positions.contains_key("0 * * * * UTC"));
    }
}
