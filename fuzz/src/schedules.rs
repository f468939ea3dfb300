//! Cron expressions are rejected with a reason, or are schedules whose occurrences are in order and are the same
//! from any start.

use squidmesh_core::Timestamp;
use squidmesh_core::schedule::{InvalidSchedule, Schedule};

use crate::source::Source;

/// Zones with every kind of jump: none, an hour, half an hour, at midnight, and a skipped day.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Africa/Casablanca",
];

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let zone = source.of(&ZONES);
    let from = match source.below(4) {
        0 => Timestamp::from_millis(source.integer()),
        // Any time in this century, near a clock change or not.
        _ => Timestamp::from_millis(
            946_684_800_000 + i64::try_from(source.number() % 3_155_760_000_000).expect("a century"),
        ),
    };
    let text = source.rest();
    let schedule = match Schedule::new(&text, zone) {
        Ok(schedule) => schedule,
        Err(InvalidSchedule::Expression { expression, problem }) => {
            assert!(expression.chars().count() <= 100 && !problem.to_string().is_empty());
            return;
        }
        Err(other) => panic!("{other}"),
    };
    assert!(Schedule::new(&text, &text).is_err(), "an expression is no time zone");
    let shown = schedule.to_string();
    let same =
        Schedule::new(shown.strip_suffix(zone).expect("the zone is shown last"), zone).expect("what is shown is one");
    assert_eq!(same, schedule);

    let mut last = from;
    for found in schedule.upcoming(from).take(4) {
        assert!(found > last, "{shown}: {found} does not come after {last}");
        assert_eq!(found.as_millis().rem_euclid(1_000), 0, "{shown}");
        let just_before = Timestamp::from_millis(found.as_millis() - 1);
        assert_eq!(same.after(just_before), Some(found), "{shown}: found from just before");
        let between = last.as_millis().midpoint(just_before.as_millis());
        assert_eq!(
            same.after(Timestamp::from_millis(between)),
            Some(found),
            "{shown}: nothing between {last} and {found}"
        );
        last = found;
    }
}
