//! The statements that the store generates are kept in `schema/statements/`, for people to read and to explain.
//!
//! `SQUIDMESH_WRITE_SCHEMA=1` writes them. The numbers of their parameters are those of one small example.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use squidmesh_core::definition::{Priority, QueueName};
use squidmesh_core::dispatch::IntentKey;
use squidmesh_core::port::{
    ClaimKeysRequest, ClaimRequest, Commit, DueRequest, IntentWrite, LeaseToken, PruneRequest, StepWrite,
    StrandedRequest,
};
use squidmesh_core::run::{AuditEvent, AuditKind};
use squidmesh_core::testing::sample;
use squidmesh_core::{RunFilter, RunStatus};

use super::recorder::Recorder;
use super::sql_format::{format, unformat};
use crate::SeaOrmStore;
use crate::claim::held::{WhenLocked, lock_held, read_held};
use crate::claim::{claim_due, claim_keys, front, lease, list_due, queue_heads};
use crate::clock::StoreClock;
use crate::commit::{EncodedCommit, postgres_batch, sqlite_batch};
use crate::query::{list, load, stranded};
use crate::rows::{intent_key_to_row, lease_to_row};
use crate::sql::Sql;

const LEASE: Duration = Duration::from_secs(30);
const CLOCK: StoreClock = StoreClock::Database;

#[tokio::test]
async fn each_statement_is_kept_as_it_is_generated() {
    let store = SeaOrmStore::connect("sqlite::memory:").await.unwrap();
    let mut files = BTreeMap::new();
    for recorder in [Recorder::sqlite(store.connection()), Recorder::postgres()] {
        write_all(&recorder, &mut files).await;
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/statements");
    let write = std::env::var_os("SQUIDMESH_WRITE_SCHEMA").is_some();
    for (name, text) in &files {
        let file = directory.join(name);
        if write {
            std::fs::write(&file, text).unwrap();
        }
        assert!(
            std::fs::read_to_string(&file).is_ok_and(|kept| kept == *text),
            "{name} differs from the statement that is generated: run this test with SQUIDMESH_WRITE_SCHEMA=1, and \
             read what changed\n{text}"
        );
    }
    let kept = std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let kept: Vec<String> = kept.filter(|name| !files.contains_key(name.as_str())).collect();
    assert!(kept.is_empty(), "no statement is generated for {kept:?}");
}

/// Adds the statements of one database, in an order in which they can be executed.
async fn write_all(recorder: &Recorder, files: &mut BTreeMap<String, String>) {
    let postgres = Sql::on(recorder).is_postgres();
    let mut keep = |name: &str, purpose: &str| {
        let mut text = format!("-- {purpose}\n");
        for statement in recorder.take() {
            let formatted = format(&statement);
            assert_eq!(unformat(&formatted), statement, "formatting changes nothing but white space");
            text.push_str(&format!("\n{formatted};\n"));
        }
        files.insert(format!("{}-{name}.sql", if postgres { "postgres" } else { "sqlite" }), text);
    };
    let (run, token) = (sample::run_id(1), sample::lease_token(1));
    let fingerprint = *sample::definition().fingerprint();

    commit(recorder, &[start(1, token), start(2, token)]).await;
    keep("commit-start", "Starts runs under idempotency keys, with their first steps claimed.");
    commit(recorder, &[step(1, token), step(2, token)]).await;
    keep("commit-step", "Records completed steps, and begins the successor of each for the same worker.");
    if postgres {
        commit(recorder, &[step(1, token)]).await;
        keep("commit-step-alone", "The same for one step, as a commit that shares its transaction with no other.");
    }
    commit(recorder, &[adopt(token)]).await;
    keep("commit-adopt", "Moves a run, and an intent that is being carried out, to another version.");

    let (queues, versions) = (vec![QueueName::default()], vec![fingerprint]);
    let request = ClaimRequest::new(queues.clone(), versions.clone(), 10, token, LEASE);
    let key = IntentKey::step(run, sample::step_name("second"));
    let keys = [intent_key_to_row(&key)];
    let keys: Vec<_> = keys.iter().collect();
    let sql = || Sql::numbered(recorder);
    for (name, purpose, claim, select) in [
        (
            "claim",
            "Claims the intents that have been due longest, class by class.",
            front::claim as fn(_, &_, &_) -> Sql,
            front::select as fn(_, &_, &_) -> Sql,
        ),
        (
            "claim-queue-heads",
            "Claims due intents behind the heads of queues, when work of others is in front.",
            queue_heads::claim,
            queue_heads::select,
        ),
    ] {
        if postgres {
            claim(sql(), &CLOCK, &request).fetch(recorder).await.unwrap();
        } else {
            select(sql(), &CLOCK, &request).fetch(recorder).await.unwrap();
            claim_due::lease_selected(Sql::on(recorder), &CLOCK, &request, &keys).execute(recorder).await.unwrap();
        }
        keep(name, purpose);
    }
    front::next_due(sql(), &CLOCK, &request).fetch(recorder).await.unwrap();
    keep("claim-next", "Reads when the next intent becomes due, after a claim that found too few.");
    let by_key = ClaimKeysRequest::new(vec![key], token, LEASE);
    claim_keys::lease_due(Sql::on(recorder), &CLOCK, &by_key, &keys).fetch(recorder).await.unwrap();
    keep("claim-keys", "Claims the given intents, if they are due.");
    list_due::page(sql(), &CLOCK, &DueRequest::new(queues, versions, 100)).fetch(recorder).await.unwrap();
    keep("list-due", "Lists due intents in claim order, without claiming them.");

    let held = [lease_to_row(&sample::lease(run, "second", token))];
    lock_held(recorder, &held, WhenLocked::Skip).await.unwrap();
    let held: Vec<_> = held.iter().collect();
    lease::due_after(Sql::on(recorder), &CLOCK, "", LEASE, &held).execute(recorder).await.unwrap();
    keep("extend-leases", "Locks the intents that are held, and extends their leases.");
    read_held(recorder, &[lease_to_row(&sample::lease(run, "second", token))]).await.unwrap();
    keep("read-held", "Reads which intents are held, as last committed.");

    load::load(recorder, run).await.unwrap();
    keep("load", "Loads a run with its step runs.");
    let filter = RunFilter::new().workflow(sample::workflow(sample::WORKFLOW)).status(RunStatus::Failed);
    let filter = filter.created_between(sample::STARTED, sample::STARTED.after(LEASE));
    list::newest(Sql::on(recorder), &filter, list::Span::of(&filter), (400, 51)).fetch(recorder).await.unwrap();
    keep("list-newest", "Lists the matching runs among the newest ones.");
    list::of_kinds(sql(), &filter, list::Span::of(&filter), 51).fetch(recorder).await.unwrap();
    keep("list-by-status", "Lists runs by workflow and status, when few of the newest ones match.");
    let request = StrandedRequest::new(vec![fingerprint], LEASE, 100);
    stranded::statement(sql(), &CLOCK, &request).fetch(recorder).await.unwrap();
    keep("stranded", "Lists runs whose work only versions that this process does not have can execute.");

    let request = PruneRequest::new(LEASE, vec![RunStatus::Completed, RunStatus::Failed], 100);
    crate::prune::page(Sql::on(recorder), &CLOCK, &request).fetch(recorder).await.unwrap();
    keep("prune-page", "Reads which of the next runs may be deleted, and how many rows they have.");
    let runs = HashSet::from([run.as_uuid()]);
    crate::prune::still_deletable(Sql::on(recorder), &CLOCK, &request, runs).fetch(recorder).await.unwrap();
    keep("prune-check", "Reads which of the locked runs may still be deleted.");
}

async fn commit(recorder: &Recorder, commits: &[Commit]) {
    let encoded: Vec<EncodedCommit> = commits.iter().map(|commit| EncodedCommit::encode(commit).unwrap()).collect();
    let encoded: Vec<&EncodedCommit> = encoded.iter().collect();
    if Sql::on(recorder).is_postgres() {
        let within = postgres_batch::Within::Own;
        let known = HashSet::from([*sample::definition().fingerprint()]);
        let known = if commits.iter().all(|commit| commit.fences.is_empty()) { HashSet::new() } else { known };
        let sql = postgres_batch::statement(Sql::on(recorder), &CLOCK, &known, &encoded, within);
        sql.unwrap().fetch(recorder).await.unwrap();
    } else {
        // More rows make its lists longer, and nothing else.
        sqlite_batch::write(recorder, &CLOCK, encoded.get(..1).unwrap()).await.unwrap();
    }
}

/// Starts a run whose first step is claimed already.
fn start(number: u64, token: LeaseToken) -> Commit {
    let mut start = sample::start(number);
    start.run.idempotency_key = Some(format!("key {number}"));
    let mut intent = sample::intent(&start.run, "first");
    (intent.lease, intent.delay) = (Some(token), LEASE);
    start.intents = vec![IntentWrite::Add(intent)];
    start
}

fn step(number: u64, token: LeaseToken) -> Commit {
    let run = sample::run(number);
    let mut step = sample::next(&run);
    let mut intent = sample::intent(&run, "second");
    (intent.lease, intent.delay) = (Some(token), LEASE);
    step.steps = vec![StepWrite::Update(sample::step("first")), StepWrite::Create(sample::step("second"))];
    step.attempts = vec![sample::attempt("first", 1)];
    step.intents =
        vec![IntentWrite::Remove(IntentKey::step(run.id, sample::step_name("first"))), IntentWrite::Add(intent)];
    step.fences = vec![sample::lease(run.id, "first", token)];
    step
}

fn adopt(token: LeaseToken) -> Commit {
    let definition = sample::definition_of(sample::WORKFLOW, &["first", "second", "third"]);
    let mut adopt = sample::next(&sample::next(&sample::run(1)).run);
    adopt.run.fingerprint = *definition.fingerprint();
    adopt.fences = vec![sample::lease(adopt.run.id, "second", token)];
    adopt.intents = vec![IntentWrite::Repin {
        key: IntentKey::step(adopt.run.id, sample::step_name("second")),
        fingerprint: *definition.fingerprint(),
        queue: QueueName::default(),
        priority: Priority::Normal,
    }];
    adopt.audit = vec![AuditEvent::new(AuditKind::Adopted, adopt.run.revision, sample::STARTED)];
    adopt.definition = Some(definition);
    adopt
}
