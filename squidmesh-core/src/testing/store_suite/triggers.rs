//! The records of cron triggers: read with the store's time, written by compare-and-set.

use futures_util::FutureExt;

use super::StoreFixture;
use super::setup::{WHILE, together};
use crate::definition::{hours, minutes, ms};
use crate::name::{TriggerName, WorkflowName};
use crate::port::{Clock, Store};
use crate::schedule::{MissedOccurrences, TriggerNotes, TriggerRecord};
use crate::testing::sample;

pub async fn nothing_is_kept_of_a_trigger_that_nobody_wrote(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    assert_eq!(read(&*store, &["sample"]).await, []);
    assert_eq!(read(&*store, &[]).await, []);
}

pub async fn a_record_reads_back_as_it_was_written(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut written = record("sample", "nightly — «夜»", 1);
    written.positions.insert("0 3 * * * Europe/Berlin".to_owned(), sample::STARTED.after(ms(1)));
    written.positions.insert("*/5 * * * 1-5 UTC".to_owned(), sample::STARTED.after(hours(9)));
    written.notes = noted();
    assert!(store.compare_and_set_trigger(&written).await.unwrap());
    assert_eq!(read(&*store, &["sample"]).await, [written.clone()]);
    written.paused_at = Some(sample::STARTED.after(minutes(7)));
    written.positions.remove("*/5 * * * 1-5 UTC");
    written.revision = 2;
    assert!(store.compare_and_set_trigger(&written).await.unwrap());
    assert_eq!(read(&*store, &["sample"]).await, [written.clone()]);
    written.paused_at = None;
    written.notes = TriggerNotes::default();
    written.positions.clear();
    written.revision = 3;
    assert!(store.compare_and_set_trigger(&written).await.unwrap());
    assert_eq!(read(&*store, &["sample"]).await, [written]);
}

pub async fn a_record_is_written_over_the_revision_before_it_alone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut other = record("sample", "nightly", 2);
    assert!(!store.compare_and_set_trigger(&other).await.unwrap(), "there is no revision 1");
    assert_eq!(read(&*store, &["sample"]).await, []);
    let mut kept = record("sample", "nightly", 1);
    assert!(store.compare_and_set_trigger(&kept).await.unwrap());
    kept.revision = 2;
    assert!(store.compare_and_set_trigger(&kept).await.unwrap());
    other.paused_at = Some(sample::STARTED);
    for revision in [1, 2, 4] {
        other.revision = revision;
        assert!(!store.compare_and_set_trigger(&other).await.unwrap(), "revision {revision} does not follow 2");
        assert_eq!(read(&*store, &["sample"]).await, [kept.clone()]);
    }
}

/// A writer whose record is stored already has not written it: another process with the same decision was faster.
pub async fn the_same_record_is_written_once(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut record = record("sample", "nightly", 1);
    for revision in 1..=3 {
        record.revision = revision;
        record.positions.insert("0 3 * * * UTC".to_owned(), sample::STARTED.after(hours(revision)));
        assert!(store.compare_and_set_trigger(&record).await.unwrap(), "revision {revision}");
        for _ in 0..2 {
            assert!(!store.compare_and_set_trigger(&record).await.unwrap(), "revision {revision} is there");
            assert_eq!(read(&*store, &["sample"]).await, [record.clone()]);
        }
    }
}

pub async fn of_eight_who_write_the_same_revision_one_succeeds(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for revision in 1..=5 {
        let writers = (0..8).map(|writer| {
            let (store, mut record) = (store.clone(), record("sample", "nightly", revision));
            record.positions.insert(writer.to_string(), sample::STARTED);
            async move { store.compare_and_set_trigger(&record).await.unwrap() }.boxed()
        });
        let written = together(fixture, writers).await;
        let winner = written.iter().position(|written| *written).expect("one of them succeeds").to_string();
        assert_eq!(written.iter().filter(|written| **written).count(), 1, "{written:?}");
        let kept = read(&*store, &["sample"]).await;
        assert_eq!(kept[0].positions.keys().collect::<Vec<_>>(), [&winner], "what is kept is the winner's");
        assert_eq!(kept[0].revision, revision);
    }
}

pub async fn records_are_read_for_the_workflows_asked_for(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for (workflow, trigger) in [("one", "nightly"), ("one", "Nightly"), ("two", "nightly"), ("three", "hourly")] {
        assert!(store.compare_and_set_trigger(&record(workflow, trigger, 1)).await.unwrap());
    }
    let mut found = read(&*store, &["one", "three", "four"]).await;
    found.sort_by_key(|record| (record.workflow.clone(), record.trigger.clone()));
    assert_eq!(found, [record("one", "Nightly", 1), record("one", "nightly", 1), record("three", "hourly", 1)]);
}

pub async fn records_come_with_the_stores_time(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    for _ in 0..2 {
        let stored = store.triggers(&[sample::workflow("sample")]).await.unwrap().now;
        let (now, apart) = (clock.now(), WHILE / 2);
        assert!(stored.after(apart) >= now && now.after(apart) >= stored, "{stored} is not {now}");
        clock.advance(hours(1));
    }
}

fn record(workflow: &str, trigger: &str, revision: u64) -> TriggerRecord {
    let trigger = TriggerName::new(trigger).expect("a valid trigger name");
    let mut record = TriggerRecord::new(sample::workflow(workflow), trigger);
    record.revision = revision;
    record
}

/// Returns every note that a trigger can have.
fn noted() -> TriggerNotes {
    let (first, last, noticed_at) = (sample::STARTED, sample::STARTED.after(hours(2)), sample::STARTED.after(hours(3)));
    let missed = Some(MissedOccurrences { count: 3, first, last, noticed_at });
    let mut notes = TriggerNotes { actor: Some("Gül — «夜»".to_owned()), missed, ..TriggerNotes::default() };
    notes.ahead.insert("0 3 * * * Europe/Berlin".to_owned(), sample::STARTED.after(hours(24)));
    notes
}

async fn read(store: &dyn Store, workflows: &[&str]) -> Vec<TriggerRecord> {
    let workflows: Vec<WorkflowName> = workflows.iter().map(|name| sample::workflow(name)).collect();
    store.triggers(&workflows).await.expect("the records can be read").records
}
