//! Power cuts on SQLite: the write-ahead log of a recorded history is cut at every end of a frame, within frames, and
//! with torn ends. Each time the database is opened again, it holds what had been acknowledged by then, breaks no
//! rule, and its work is completed.
//!
//! `SQUIDMESH_POWER_CUTS` sets how many of the cuts are made, evenly spread: a number, or `all`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

mod record;
mod wal;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use squidmesh_checker::{Evidence, check, check_at_rest};
use squidmesh_core::RunStatus;
use squidmesh_core::port::StoreSession;
use squidmesh_core::testing::{ManualClock, RecordingSink};
use squidmesh_store::SeaOrmStore;

use record::{Recording, directory, evidence, file, finish, log_of, mesh, open, record};
use squidmesh_tests::sample_workflows::Ledger;
use wal::Cut;

/// The number of cuts in the gate, beside one after each transaction.
const SAMPLE: usize = 100;

/// The database as a cut leaves it, opened again.
struct Reopened {
    store: SeaOrmStore,
    clock: Arc<ManualClock>,
    _directory: tempfile::TempDir,
}

async fn reopen(recording: &Recording, cut: Cut) -> Reopened {
    let directory = directory();
    let file = file(directory.path());
    std::fs::write(&file, &recording.database).unwrap();
    std::fs::write(log_of(&file), recording.wal.left(cut)).unwrap();
    let clock = Arc::new(ManualClock::new(recording.end));
    let store = open(&file, &clock).await;
    Reopened { store, clock, _directory: directory }
}

/// Returns everything that is stored, as text.
async fn stored(store: &SeaOrmStore) -> String {
    let session: &dyn StoreSession = store;
    let runs = Evidence::read(session).await.unwrap().runs;
    runs.values().map(|run| format!("{:?} {:?}\n", run.state, run.history)).collect()
}

/// Checks that everything acknowledged is stored and no rule is broken; then completes all work.
async fn worked_to_the_end(recording: &Recording, reopened: &Reopened, until: usize) {
    let found = evidence(&reopened.store, recording, until, recording.effects(until)).await;
    assert_eq!(check(&found), [], "after {until} bytes of the log");

    let ledger = Ledger::after(&recording.effects(until));
    let (mesh, executor) = mesh(&reopened.store, &reopened.clock, &ledger, RecordingSink::new());
    finish(&mesh, &executor).await;
    let found = evidence(&reopened.store, recording, until, ledger.effects()).await;
    assert_eq!(check_at_rest(&found), [], "worked to the end after {until} bytes of the log");
    for (id, run) in &found.runs {
        assert!(run.state.run.status.is_terminal(), "run {id} is {} after {until} bytes", run.state.run.status);
    }
}

/// Returns `count` items, evenly spread over all of them.
fn sample<T: Copy>(of: &[T], count: usize) -> Vec<T> {
    let step = of.len().div_ceil(count.max(1)).max(1);
    of.iter().copied().step_by(step).collect()
}

fn wanted() -> usize {
    match std::env::var("SQUIDMESH_POWER_CUTS").as_deref() {
        Ok("all") => usize::MAX,
        Ok(number) => number.parse().expect("SQUIDMESH_POWER_CUTS is a number, or `all`"),
        Err(_) => SAMPLE,
    }
}

#[tokio::test]
async fn acknowledged_work_survives_a_power_cut_at_any_point() {
    let begun = Instant::now();
    let recording = record().await;
    let (wal, wanted) = (&recording.wal, wanted());
    let all = wal.cuts();
    println!(
        "recorded {} transactions in {} frames: {} cuts, {} events, {} calls",
        wal.commits().len(),
        wal.frames(),
        all.len(),
        recording.events.len(),
        recording.calls.len()
    );
    assert!(recording.events.len() > 100 && recording.calls.len() > 15);

    // After each transaction: judged by what was acknowledged, and completed.
    let mut after = BTreeMap::new();
    let commits = [&[0][..], wal.commits()].concat();
    for until in sample(&commits, wanted) {
        let reopened = reopen(&recording, Cut { whole: until, torn: 0 }).await;
        after.insert(until, stored(&reopened.store).await);
        worked_to_the_end(&recording, &reopened, until).await;
    }
    // Anywhere else: the database is as after the last whole transaction.
    let cuts = sample(&all, wanted);
    for cut in &cuts {
        let until = wal.committed(*cut);
        let found = stored(&reopen(&recording, *cut).await.store).await;
        if let Entry::Vacant(place) = after.entry(until) {
            place.insert(stored(&reopen(&recording, Cut { whole: until, torn: 0 }).await.store).await);
        }
        assert!(after[&until] == found, "{cut}: it is not as after {until} bytes");
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} transactions worked to the end and {} cuts compared, in {seconds:.1} s", after.len(), cuts.len());
}

/// Proves that a lost transaction would be noticed.
#[tokio::test]
async fn a_log_that_lost_what_was_acknowledged_is_noticed() {
    let recording = record().await;
    let commits = recording.wal.commits();
    let (half, end) = (commits[commits.len() / 2], commits[commits.len() - 1]);
    let reopened = reopen(&recording, Cut { whole: half, torn: 0 }).await;
    let found = evidence(&reopened.store, &recording, end, recording.effects(half)).await;
    assert!(!check(&found).is_empty(), "half of the history is missing, and no rule is broken");
    let statuses: Vec<RunStatus> = found.runs.values().map(|run| run.state.run.status).collect();
    assert!(statuses.iter().any(|status| !status.is_terminal()), "{statuses:?}");
}
