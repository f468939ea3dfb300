//! Schedules against another library's enumeration: ten years of fifty expressions in each of ten time zones.
//!
//! Where the clocks do not change, both libraries must return the same times. Where they do, the other library has
//! two rules of its own: an expression with a single hour and minute is a time of day, and every other expression
//! follows local time. So:
//!
//! - expressions with one time of day, and those whose hours begin with `*`, must agree throughout, changes included;
//! - for all others (several hours named), the other library enumerates local times as if there were no changes, and
//!   the documented rules, implemented here a second time in another way, turn these into instants.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests: what cannot continue has failed"
)]

use std::str::FromStr;

use croner::Cron;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use squidmesh_core::schedule::Schedule;

/// Expressions, and the other library's form of those where its syntax differs.
const EXPRESSIONS: &[(&str, &str)] = &[
    // One time of day.
    ("0 0 * * *", ""),
    ("30 0 * * *", ""),
    ("30 1 * * *", ""),
    ("45 1 * * *", ""),
    ("0 2 * * *", ""),
    ("15 2 * * *", ""),
    ("30 2 * * *", ""),
    ("59 2 * * *", ""),
    ("0 3 * * *", ""),
    ("59 23 * * *", ""),
    ("30 2 * * SUN", ""),
    ("30 0 * * 6", ""),
    ("0 9 * * MON-FRI", ""),
    ("0 12 1 * *", ""),
    ("0 0 L * *", ""),
    ("5 4 15W * *", ""),
    ("5 4 1W * *", ""),
    ("5 4 31W * *", ""),
    ("0 6 29 2 *", ""),
    ("0 6 31 * *", ""),
    ("0 6 13 * 5", ""),
    ("0 6 1,15 * WED", ""),
    ("0 6 * * 5#3", ""),
    ("0 6 * * MON#5", ""),
    ("0 6 * * 5L", "0 6 * * 5#L"),
    ("15 10 * JAN,JUL *", ""),
    ("0 0 1 1 *", ""),
    ("0 7 */5 * *", ""),
    ("0 7 2-20/6 3-11/4 *", ""),
    ("0 22 * 12 1-5", ""),
    // Any hour.
    ("0 */2 24-31 3,10 *", ""),
    ("0 * 25-31 3,10 *", ""),
    ("30 * 1-8 4,9,11 *", ""),
    ("*/15 * 26-29 3 *", ""),
    ("*/20 * 24-28 10 *", ""),
    ("0 */6 * * SUN", ""),
    ("45 */3 L * *", ""),
    ("10 */23 * * 0,6", ""),
    ("0 */12 1 */2 *", ""),
    ("7 */8 * 4 *", ""),
    // Several hours or minutes named.
    ("0 1-3 * * SUN", ""),
    ("0,30 2 24-31 3 *", ""),
    ("*/10 2 25-31 10 *", ""),
    ("*/15 0-1 * 3,4 6,0", ""),
    ("15,45 0,1,2,3 1-8 4,10,11 *", ""),
    ("0 8-18/2 1 * *", ""),
    ("0 0,12 * * 3", ""),
    ("20 1/7 L * *", "20 1-23/7 L * *"),
    ("*/30 23 24-31 10,3 *", ""),
    ("5-8 0-23/11 8 * *", ""),
];

const FROM: &str = "2020-01-01T00:00:00Z";
const TO: &str = "2030-01-01T00:00:00Z";

/// The kind of times at which an expression fires.
enum Sort {
    OneTimeOfDay,
    AnyHour,
    SeveralTimesOfDay,
}

fn sort(expression: &str) -> Sort {
    let mut fields = expression.split(' ');
    let (minute, hour) = (fields.next().unwrap(), fields.next().unwrap());
    let single = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit());
    match () {
        () if hour.starts_with('*') => Sort::AnyHour,
        () if single(minute) && single(hour) => Sort::OneTimeOfDay,
        () => Sort::SeveralTimesOfDay,
    }
}

/// Returns the first instant at which local time is no longer before `local`: the instant itself, the first of two,
/// or the end of a gap. Found by bisection, without asking the zone about local times.
fn first_instant_not_before(local: DateTime, zone: &TimeZone) -> Timestamp {
    let utc = local.to_zoned(TimeZone::UTC).unwrap().timestamp();
    let (mut before, mut after) = (utc - 26.hours(), utc + 26.hours());
    // Local time is not monotone over a repeat, so the end of the search is narrowed first: the earliest ten minutes
    // that reach the time.
    let mut hour = before;
    while hour < after {
        let next = hour + 10.minutes();
        if zone.to_datetime(next) >= local {
            (before, after) = (hour, next);
            break;
        }
        hour = next;
    }
    while after.as_second() - before.as_second() > 1 {
        let middle = Timestamp::from_second((before.as_second() + after.as_second()) / 2).unwrap();
        if zone.to_datetime(middle) >= local { after = middle } else { before = middle }
    }
    after
}

fn theirs(expression: &str, zone: &TimeZone) -> Vec<Timestamp> {
    let cron = Cron::from_str(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let (from, to): (Timestamp, Timestamp) = (FROM.parse().unwrap(), TO.parse().unwrap());
    let times = |zone: &TimeZone, from: Timestamp, to: Timestamp| {
        let found = cron.iter_after(from.to_zoned(zone.clone())).map(|time| time.timestamp());
        found.take_while(|time| *time < to).collect::<Vec<_>>()
    };
    match sort(expression) {
        Sort::OneTimeOfDay | Sort::AnyHour => times(zone, from, to),
        Sort::SeveralTimesOfDay => {
            let local = times(&TimeZone::UTC, from - 48.hours(), to + 48.hours());
            let local = local.into_iter().map(|time| TimeZone::UTC.to_datetime(time));
            let mut instants: Vec<Timestamp> = local.map(|local| first_instant_not_before(local, zone)).collect();
            instants.dedup();
            instants.retain(|time| (from..to).contains(time) && *time != from);
            instants
        }
    }
}

fn ours(expression: &str, zone: &str) -> Vec<Timestamp> {
    let schedule = Schedule::new(expression, zone).unwrap();
    let (from, to) = (FROM.parse().unwrap(), TO.parse::<squidmesh_core::Timestamp>().unwrap());
    let found = schedule.upcoming(from).take_while(|time| *time < to);
    found.map(|time| Timestamp::from_millisecond(time.as_millis()).unwrap()).collect()
}

fn agree_in(name: &str) {
    let zone = TimeZone::get(name).unwrap();
    assert_eq!(EXPRESSIONS.len(), 50);
    let mut compared = 0;
    for (expression, other) in EXPRESSIONS {
        let (ours, theirs) = (ours(expression, name), theirs(if other.is_empty() { expression } else { other }, &zone));
        let differ = ours.iter().zip(&theirs).position(|(one, other)| one != other);
        if let Some(place) = differ {
            let around = place.saturating_sub(2)..(place + 3).min(ours.len()).min(theirs.len());
            panic!("{expression} in {name}: {:?} are not {:?}", &ours[around.clone()], &theirs[around]);
        }
        assert_eq!(ours.len(), theirs.len(), "{expression} in {name}: one of them ends early");
        assert!(!ours.is_empty(), "{expression} in {name} is compared with nothing");
        compared += ours.len();
    }
    assert!(compared > 40_000, "only {compared} occurrences were compared");
}

macro_rules! ten_years_of_fifty_expressions_agree_in {
    ($($test:ident: $zone:literal,)*) => {
        mod ten_years_of_fifty_expressions_agree_in {
            $(#[test]
            fn $test() {
                super::agree_in($zone);
            })*
        }
    };
}

ten_years_of_fifty_expressions_agree_in! {
    utc: "UTC",
    berlin: "Europe/Berlin",
    new_york: "America/New_York",
    lord_howe_which_changes_by_half_an_hour: "Australia/Lord_Howe",
    chatham_which_is_off_by_three_quarters: "Pacific/Chatham",
    havana_which_has_no_midnight_in_spring: "America/Havana",
    santiago_which_has_no_midnight_in_the_southern_spring: "America/Santiago",
    casablanca_which_changes_around_ramadan: "Africa/Casablanca",
    tehran_which_gave_it_up: "Asia/Tehran",
    dublin_whose_winter_time_is_the_exception: "Europe/Dublin",
}
