//! Migrates once, again, concurrently, and by the host.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;

use std::error::Error;

use databases::{TestDatabase, count};
use futures_util::future::join_all;
use sea_orm::ConnectionTrait;
use sea_orm_migration::MigratorTrait;
use squidmesh_core::definition::QueueName;
use squidmesh_core::port::{ClaimKeysRequest, ClaimRequest, CommitOutcome, Store, StoreError, StoreSession};
use squidmesh_core::secs;
use squidmesh_core::testing::sample;
use squidmesh_store::migration::Migrator;
use squidmesh_store::{ConnectError, SeaOrmStore};

/// Returns the number of migrations.
fn migrations() -> i64 {
    i64::try_from(Migrator::migrations().len()).unwrap()
}

async fn start(store: &SeaOrmStore, number: u64) {
    let answers = store.commit(vec![sample::start(number)]).await.unwrap();
    assert!(matches!(answers.as_slice(), [Ok(CommitOutcome::Committed)]), "{answers:?}");
}

#[tokio::test]
async fn connecting_again_keeps_what_is_stored() {
    for database in TestDatabase::each().await {
        start(&database.store().await, 1).await;
        let again = database.store().await;
        assert!(again.load(sample::run_id(1)).await.unwrap().is_some(), "{database:?}");
        assert_eq!(count(again.connection(), "squidmesh_migrations").await, migrations());
    }
}

/// The schema epoch ends under a running process: it neither claims nor commits, and says why.
#[tokio::test]
async fn a_process_stops_when_its_database_is_migrated_for_another_version() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        start(&store, 1).await;
        let newer = database.connection().await;
        newer.execute_unprepared("DROP TABLE squidmesh_epoch_1").await.unwrap();
        newer.execute_unprepared("CREATE TABLE squidmesh_epoch_2 (unused SMALLINT)").await.unwrap();
        let refused = |error: &StoreError| {
            let text = format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default());
            assert!(matches!(error, StoreError::Refused { .. }), "{text}");
            assert!(text.contains("stop this process and start that version"), "{text}");
        };
        let next = sample::next(&sample::start(1).run);
        for answer in store.commit(vec![sample::start(2), next]).await.unwrap() {
            refused(&answer.unwrap_err());
        }
        let fingerprint = *sample::definition().fingerprint();
        let (queues, token) = (vec![QueueName::default()], sample::lease_token(1));
        let request = ClaimRequest::new(queues, vec![fingerprint], 10, token, secs(30));
        refused(&store.claim(&request).await.unwrap_err());
        let key = sample::intent(&sample::start(1).run, "first").key;
        refused(&store.claim_keys(&ClaimKeysRequest::new(vec![key], token, secs(30))).await.unwrap_err());
        assert_eq!(count(&newer, "squidmesh_runs").await, 1, "{database:?}");
        assert_eq!(store.load(sample::run_id(1)).await.unwrap().unwrap().run.revision, 1, "{database:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_that_connect_to_an_empty_database_at_once_all_succeed() {
    for database in TestDatabase::each().await {
        let stores = join_all((0..8).map(|_| {
            let url = database.url.clone();
            tokio::spawn(async move { SeaOrmStore::builder(&url).max_connections(2).connect().await })
        }));
        for (number, store) in (1..).zip(stores.await) {
            start(&store.unwrap().unwrap(), number).await;
        }
        assert_eq!(count(&database.connection().await, "squidmesh_migrations").await, migrations(), "{database:?}");
    }
}

/// SQLite refuses to open a file that another process is switching to the write-ahead log, without waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_open_a_new_file_at_once_all_succeed() {
    for _ in 0..50 {
        let database = TestDatabase::sqlite();
        let opened = join_all((0..8).map(|_| {
            let store = SeaOrmStore::builder(&database.url).max_connections(1).migrate(false);
            tokio::spawn(store.connect())
        }));
        for store in opened.await {
            // The database was opened, and is empty.
            assert!(matches!(store.unwrap(), Err(ConnectError::MissingTables { .. })));
        }
    }
}

#[tokio::test]
async fn a_host_may_run_the_migrations_itself() {
    for database in TestDatabase::each().await {
        let connection = database.connection().await;
        Migrator::up(&connection, None).await.unwrap();
        let store = SeaOrmStore::builder(&database.url).migrate(false).connect().await.unwrap();
        start(&store, 1).await;
    }
}

struct HostMigrator;

impl MigratorTrait for HostMigrator {
    fn migrations() -> Vec<Box<dyn sea_orm_migration::MigrationTrait>> {
        Migrator::migrations()
    }
}

#[tokio::test]
async fn the_hosts_own_migrator_and_the_stores_may_be_mixed() {
    for database in TestDatabase::each().await {
        let connection = database.connection().await;
        HostMigrator::up(&connection, None).await.unwrap();
        start(&database.store().await, 1).await;
        assert_eq!(count(&connection, "seaql_migrations").await, migrations());
    }
}

#[tokio::test]
async fn migrations_of_a_newer_version_do_not_stop_an_older_process() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        let newer = "INSERT INTO squidmesh_migrations (version, applied_at) VALUES ('m99990101_000001_later', 0)";
        store.connection().execute_unprepared(newer).await.unwrap();
        start(&database.store().await, 1).await;
    }
}

#[tokio::test]
async fn a_breaking_migration_of_a_newer_version_stops_an_older_process_and_is_named() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        let newer =
            "INSERT INTO squidmesh_migrations (version, applied_at) VALUES ('m99990101_000001_other_breaking', 0)";
        store.connection().execute_unprepared(newer).await.unwrap();
        let refused = SeaOrmStore::connect(&database.url).await.unwrap_err();
        let said = refused.to_string();
        assert!(matches!(refused, ConnectError::NewerDatabase { .. }), "{said}");
        assert!(said.contains("m99990101_000001_other_breaking"), "{said}");
        // Earlier processes continue to work: whether that is safe is for the operator to decide.
        start(&store, 1).await;
    }
}

#[tokio::test]
async fn down_takes_every_table_away() {
    for database in TestDatabase::each().await {
        let store = database.store().await;
        Migrator::down(store.connection(), None).await.unwrap();
        assert!(store.load(sample::run_id(1)).await.is_err(), "{database:?}");
        start(&database.store().await, 1).await;
    }
}

#[tokio::test]
async fn without_tables_the_store_refuses_and_names_what_it_was_doing() {
    for database in TestDatabase::each().await {
        let refused = SeaOrmStore::builder(&database.url).migrate(false).connect().await.unwrap_err();
        assert!(matches!(&refused, ConnectError::MissingTables { tables, .. } if tables.len() == 7), "{refused}");
        let store = database.store().await;
        Migrator::down(store.connection(), None).await.unwrap();
        let error = store.load(sample::run_id(1)).await.unwrap_err();
        assert!(error.to_string().starts_with("the store refused while loading a run: "), "{error}");
        let answers = store.commit(vec![sample::start(1), sample::start(2)]).await.unwrap();
        assert!(answers.iter().all(|answer| answer.is_err()), "{answers:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_named_without_its_password() {
    let refused = async |url: &str| SeaOrmStore::connect(url).await.unwrap_err();
    assert!(matches!(refused("shop.db").await, ConnectError::InvalidUrl { .. }));
    assert!(matches!(refused("sqlite://").await, ConnectError::InvalidUrl { .. }));
    assert!(matches!(refused("sqlite://x?mode=odd").await, ConnectError::UnsupportedParameter { .. }));
    assert!(matches!(refused("mysql://u:S3CRET@h/d").await, ConnectError::UnsupportedDatabase { .. }));
    assert!(matches!(refused("sqlite:///no/such/place/x.db").await, ConnectError::Unreachable { .. }));
    let unreachable = refused("postgres://u:S3CRET@127.0.0.1:1/shop?sslmode=disable").await;
    assert!(matches!(unreachable, ConnectError::Unreachable { .. }));
    // This is not a file.
    let login = refused("sqlite://u:S3CRET@no host/").await;
    assert!(!std::path::Path::new("u:S3CRET@no host").exists(), "nothing is created for it");
    assert!(matches!(login, ConnectError::InvalidUrl { .. }));
    assert!(!format!("{login} {login:?}").contains("S3CRET"), "{login:?}");
    for error in [unreachable, refused("mysql://u:S3CRET@h/d").await, refused("http://u:S3CRET@h/d").await] {
        assert!(!format!("{error} {error:?}").contains("S3CRET"), "{error:?}");
    }
}

#[test]
fn outside_of_a_runtime_connecting_is_an_error() {
    let error = squidmesh_core::testing::block_on(SeaOrmStore::connect("sqlite::memory:")).unwrap_err();
    assert!(matches!(error, ConnectError::OutsideRuntime));
}
