//! Cron triggers: a due occurrence is fired while workers run, once however many workers there are.

use std::collections::BTreeSet;

use super::ExecutorFixture;
use super::process::Process;
use super::witness::Witness;
use crate::definition::{MissedPolicy, hours, minutes};
use crate::name::TriggerName;
use crate::port::{RunFilter, Store};
use crate::schedule::{Schedule, TriggerRecord};
use crate::testing::sample;
use crate::time::Timestamp;
use crate::workflow::{Trigger, Workflow};

const EXPRESSION: &str = "*/10 * * * *";

fn workflow(witness: &Witness) -> Workflow {
    let trigger = Trigger::cron("often").expression(EXPRESSION).time_zone("UTC").missed(MissedPolicy::All);
    Workflow::builder("scheduled").trigger(trigger).step(witness.step("only")).build().unwrap()
}

/// Records that the trigger was processed up to two hours ago and returns the occurrences missed since.
async fn missed(store: &dyn Store) -> Vec<Timestamp> {
    let workflow = sample::workflow("scheduled");
    let now = store.triggers(std::slice::from_ref(&workflow)).await.unwrap().now;
    let since = Timestamp::from_millis(now.as_millis() - i64::try_from(hours(2).as_millis()).unwrap());
    let schedule = Schedule::new(EXPRESSION, "UTC").unwrap();
    let mut record = TriggerRecord::new(workflow, TriggerName::new("often").unwrap());
    record.positions.insert(schedule.to_string(), since);
    record.revision = 1;
    assert!(store.compare_and_set_trigger(&record).await.unwrap());
    schedule.upcoming(since).take_while(|time| *time <= now).collect()
}

/// Returns the intended times of all runs; none may occur twice.
async fn fired(process: &Process) -> BTreeSet<Timestamp> {
    let runs = process.mesh.list_runs(&RunFilter::new().limit(1_000)).await.unwrap().runs;
    let times: BTreeSet<Timestamp> = runs.iter().map(|run| run.intended_at.expect("a schedule started it")).collect();
    assert_eq!(times.len(), runs.len(), "an occurrence was fired twice: {runs:?}");
    times
}

pub async fn occurrences_that_are_due_are_fired_while_workers_run(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let missed = missed(&*store).await;
    let mut process = Process::new(fixture, &store, &[workflow(&witness)]);
    process.work(fixture);
    witness.seen(u32::try_from(missed.len()).unwrap()).await;
    process.stop().await;
    let fired = fired(&process).await;
    assert!(missed.iter().all(|time| fired.contains(time)), "{fired:?} are not {missed:?}");
}

pub async fn two_workers_on_one_store_fire_each_occurrence_once(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let missed = missed(&*store).await;
    let mut processes = [0, 1].map(|_| Process::new(fixture, &store, &[workflow(&witness)]));
    for process in &mut processes {
        process.work(fixture);
    }
    witness.seen(u32::try_from(missed.len()).unwrap()).await;
    for process in &mut processes {
        process.stop().await;
    }
    let fired = fired(&processes[0]).await;
    assert!(missed.iter().all(|time| fired.contains(time)), "{fired:?} are not {missed:?}");
}

pub async fn a_trigger_that_is_new_fires_nothing_for_the_past(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let begun = store.triggers(&[]).await.unwrap().now;
    let mut process = Process::new(fixture, &store, &[workflow(&witness)]);
    process.work(fixture);
    let seen = async {
        while process.mesh.triggers().await.unwrap()[0].position.is_none() {
            crate::testing::store_suite::take_turns().await;
        }
    };
    seen.await;
    process.stop().await;
    assert!(fired(&process).await.iter().all(|time| *time >= begun && *time <= begun.after(minutes(30))));
}
