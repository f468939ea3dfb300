//! Occurrences around clock changes, and what expressions mean.

use super::*;
use crate::definition::minutes;

fn schedule(expression: &str, time_zone: &str) -> Schedule {
    Schedule::new(expression, time_zone).unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the occurrences after one time and before another, as `MM-DDTHH:MM` in UTC.
fn times(expression: &str, time_zone: &str, after: &str, before: &str) -> Vec<String> {
    let (schedule, before) = (schedule(expression, time_zone), time(before));
    let found = schedule.upcoming(time(after)).take_while(|time| *time < before);
    found.map(|time| time.to_string()[5..16].to_owned()).collect()
}

#[track_caller]
fn problem(expression: &str) -> ExpressionProblem {
    match Schedule::new(expression, "UTC") {
        Err(InvalidSchedule::Expression { problem, .. }) => problem,
        other => panic!("{expression:?} is {other:?}"),
    }
}

#[test]
fn a_time_of_day_that_is_left_out_fires_at_the_jump() {
    // Berlin goes from 02:00 to 03:00, which is 01:00 in UTC.
    let sunday = |expression| times(expression, "Europe/Berlin", "2026-03-28T23:30:00Z", "2026-03-29T04:00:00Z");
    assert_eq!(sunday("30 2 * * *"), ["03-29T01:00"]);
    assert_eq!(sunday("0,15,45 2 * * *"), ["03-29T01:00"], "several that are left out fire there once");
    assert_eq!(sunday("30 2,3 * * *"), ["03-29T01:00", "03-29T01:30"]);
    assert_eq!(sunday("0 2-4 * * *"), ["03-29T01:00", "03-29T02:00"], "03:00 is the moment of the jump itself");
    assert_eq!(sunday("59 1 * * *"), ["03-29T00:59"]);
    assert_eq!(sunday("30 2 30 * *"), [""; 0]);
}

#[test]
fn a_time_of_day_that_is_repeated_fires_the_first_time() {
    // Berlin goes from 03:00 back to 02:00, which is 01:00 in UTC.
    let sunday = |expression| times(expression, "Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T04:00:00Z");
    assert_eq!(sunday("30 2 * * *"), ["10-25T00:30"]);
    assert_eq!(sunday("*/20 2 * * *"), ["10-25T00:00", "10-25T00:20", "10-25T00:40"]);
    assert_eq!(sunday("0 2,3 * * *"), ["10-25T00:00", "10-25T02:00"]);
    let second_half = times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T23:00:00Z");
    assert_eq!(second_half, ["10-26T01:30"], "looked for while the hour is repeated");
}

#[test]
fn an_expression_of_any_hour_goes_by_the_clock_on_the_wall() {
    let spring = times("30 * * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T03:00:00Z");
    assert_eq!(spring, ["03-28T23:30", "03-29T00:30", "03-29T01:30", "03-29T02:30"], "every hour");
    let autumn = times("30 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z");
    assert_eq!(autumn, ["10-24T23:30", "10-25T00:30", "10-25T01:30", "10-25T02:30"], "every hour");
    let even = times("0 */2 * * *", "Europe/Berlin", "2026-03-28T22:00:00Z", "2026-03-29T05:00:00Z");
    assert_eq!(even, ["03-28T23:00", "03-29T02:00", "03-29T04:00"], "there is no 02:00");
    let even = times("0 */2 * * *", "Europe/Berlin", "2026-10-24T21:30:00Z", "2026-10-25T04:00:00Z");
    assert_eq!(even, ["10-24T22:00", "10-25T00:00", "10-25T01:00", "10-25T03:00"], "02:00 comes twice");
}

#[test]
fn clocks_change_by_other_spans_and_at_other_times_elsewhere() {
    // New York: 02:00 to 03:00 at 07:00 UTC, and 02:00 back to 01:00 at 06:00 UTC.
    assert_eq!(
        times("30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T23:00:00Z"),
        ["03-08T07:00"]
    );
    assert_eq!(
        times("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", "2026-11-01T23:00:00Z"),
        ["11-01T05:30"]
    );
    // Lord Howe: half an hour, 02:00 to 02:30 at 15:30 UTC, and 02:00 back to 01:30 at 15:00 UTC.
    assert_eq!(
        times("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z"),
        ["10-03T15:30"]
    );
    assert_eq!(
        times("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-05T00:00:00Z"),
        ["04-04T14:45"]
    );
    assert_eq!(
        times("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", "2026-04-04T16:30:00Z"),
        ["04-04T14:45", "04-04T15:15", "04-04T16:15"]
    );
    // Beirut: midnight does not exist; the day begins at 01:00, which is 22:00 UTC.
    assert_eq!(times("0 0 * * *", "Asia/Beirut", "2026-03-28T00:00:00Z", "2026-03-29T00:00:00Z"), ["03-28T22:00"]);
    // Apia skipped a whole day: the occurrence of 30 December fired as the 31st began, at 10:00 UTC.
    assert_eq!(
        times("0 12 * * *", "Pacific/Apia", "2011-12-30T00:00:00Z", "2011-12-31T00:00:00Z"),
        ["12-30T10:00", "12-30T22:00"]
    );
    // Kathmandu does not change its clocks; its offset is 5:45 hours.
    assert_eq!(times("0 3 * * *", "Asia/Kathmandu", "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"), ["06-01T21:15"]);
}

#[test]
fn days_of_month_and_week_are_joined_as_cron_always_did() {
    let january = |expression| {
        let found = times(expression, "UTC", "2025-12-31T23:59:00Z", "2026-02-01T00:00:00Z");
        found.iter().map(|time| time[3..5].parse().unwrap()).collect::<Vec<u8>>()
    };
    assert_eq!(january("0 0 13 * 5"), [2, 9, 13, 16, 23, 30], "either, when both are given");
    assert_eq!(january("0 0 * * 5"), [2, 9, 16, 23, 30]);
    assert_eq!(january("0 0 13 * *"), [13]);
    assert_eq!(january("0 0 */10 * 0"), [11], "both, when one begins with an asterisk");
    assert_eq!(january("0 0 * * 7"), january("0 0 * * sun"));
    assert_eq!(january("0 0 * * 6-7"), [3, 4, 10, 11, 17, 18, 24, 25, 31]);
    assert_eq!(january("0 0 L,1 jan *"), [1, 31]);
    assert_eq!(january("0 0 * * 5L"), [30]);
    assert_eq!(january("0 0 * * Mon#2"), [12]);
    assert_eq!(january("0 0 3W,18W,31W * *"), [2, 19, 30]);
    assert_eq!(january("0 0 28/2 * *"), [28, 30]);
}

#[test]
fn the_last_day_comes_in_every_month() {
    let year = times("0 0 L * *", "UTC", "2026-01-01T00:00:00Z", "2027-01-02T00:00:00Z");
    assert_eq!(year.len(), 12, "{year:?}");
    assert_eq!(year.last().unwrap(), "12-31T00:00");
}

#[test]
fn rare_dates_are_found() {
    let leap_monday = schedule("0 0 */28 2 1", "UTC");
    let found: Vec<String> = leap_monday
        .upcoming(time("2000-01-01T00:00:00Z"))
        .map(|time| time.to_string()[..10].to_owned())
        .filter(|date| date.ends_with("-29"))
        .take(2)
        .collect();
    assert_eq!(found, ["2016-02-29", "2044-02-29"]);
    let leap_day = schedule("0 0 29 2 *", "UTC").after(time("2096-03-01T00:00:00Z"));
    assert_eq!(leap_day, Some(time("2104-02-29T00:00:00Z")), "1900 + 200 is no leap year");
}

#[test]
fn the_calendar_ends() {
    let always = schedule("* * * * *", "Pacific/Kiritimati");
    assert_eq!(always.after(Timestamp::from_millis(i64::MAX)), None);
    assert!(always.after(Timestamp::from_millis(i64::MIN)).is_some());
    let once_a_year = schedule("0 0 1 1 *", "UTC");
    assert_eq!(once_a_year.after(time("9999-06-01T00:00:00Z")), None);
}

#[test]
fn an_occurrence_is_after_the_time_that_it_is_looked_for_from() {
    let hourly = schedule("0 * * * *", "UTC");
    let noon = time("2026-01-01T12:00:00Z");
    assert_eq!(hourly.after(noon), Some(time("2026-01-01T13:00:00Z")));
    assert_eq!(hourly.after(Timestamp::from_millis(noon.as_millis() - 1)), Some(noon));
    assert_eq!(hourly.after(noon.after(minutes(59))), Some(time("2026-01-01T13:00:00Z")));
}

#[test]
fn what_is_wrong_with_an_expression_is_said() {
    assert_eq!(problem(" "), ExpressionProblem::Empty);
    assert_eq!(problem("* * * *"), ExpressionProblem::Fields { found: 4 });
    assert_eq!(problem("* * * * * *"), ExpressionProblem::Fields { found: 6 });
    assert_eq!(problem(&"1,".repeat(600)), ExpressionProblem::TooLong);
    assert_eq!(problem("0 0 30 2 *"), ExpressionProblem::Never);
    assert_eq!(problem("0 0 31W 4,6 *"), ExpressionProblem::Never);
    assert_eq!(
        problem("0 24 * * *").to_string(),
        "\"24\" is no hour: write a value from 0 to 23, a range such as 0-23, a step such as */2, or a list of these"
    );
    for wrong in [
        "60 * * * *",
        "-1 * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "*/60 * * * *",
        "1, * * * *",
        ", * * * *",
        "+1 * * * *",
        "1.5 * * * *",
        "1-2-3 * * * *",
        "*/2/2 * * * *",
        "** * * * *",
        "*-5 * * * *",
        "MON * * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * LW * *",
        "* * W * *",
        "* * 1-5W * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * JANUARY *",
        "* * * * 8",
        "* * * * 5#0",
        "* * * * 5#6",
        "* * * * #1",
        "* * * * 1-2#1",
        "* * * * ?",
        "H * * * *",
        "٣ * * * *",
        "00000000000000000001 * * * *",
    ] {
        assert!(matches!(problem(wrong), ExpressionProblem::Field { .. }), "{wrong:?}");
    }
    assert!(matches!(Schedule::new("* * * * *", "Mars/Olympus"), Err(InvalidSchedule::TimeZone { .. })));
}

#[test]
fn a_schedule_is_identified_by_its_fields_and_zone() {
    let spaced = schedule("  0  3 * *\t1-5 ", "Europe/Berlin");
    assert_eq!(spaced.to_string(), "0 3 * * 1-5 Europe/Berlin");
    assert_eq!(spaced, schedule("0 3 * * 1-5", "Europe/Berlin"));
    assert_ne!(spaced, schedule("0 3 * * 1-5", "Europe/Paris"));
}
