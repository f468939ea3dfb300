//! The location of the tables: they are found anywhere on the search path, two sets of them are rejected, and a
//! host may name a schema. Lost tables are detected.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;

use std::time::Duration;

use databases::{TestDatabase, count};
use sea_orm::ConnectionTrait;
use sea_orm_migration::MigratorTrait;
use squidmesh_core::RunStatus;
use squidmesh_core::definition::QueueName;
use squidmesh_core::port::{ClaimRequest, CommitOutcome, PruneRequest, Store, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_store::migration::Migrator;
use squidmesh_store::{ConnectError, SeaOrmStore};

async fn start(store: &SeaOrmStore, number: u64) {
    let answers = store.commit(vec![sample::start(number)]).await.unwrap();
    assert!(matches!(answers.as_slice(), [Ok(CommitOutcome::Committed)]), "{answers:?}");
}

fn with(database: &TestDatabase, parameter: &str) -> String {
    let sign = if database.url.contains('?') { '&' } else { '?' };
    format!("{}{sign}{parameter}", database.url)
}

async fn has(store: &SeaOrmStore, number: u64) -> bool {
    store.load(sample::run_id(number)).await.unwrap().is_some()
}

/// The search path of every server begins with a schema of the user's name, which need not exist yet.
#[tokio::test]
async fn a_schema_that_comes_first_later_hides_nothing_on_postgres() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    start(&store, 1).await;
    store.connection().execute_unprepared("CREATE SCHEMA AUTHORIZATION CURRENT_USER").await.unwrap();
    let later = database.store().await;
    assert!(has(&later, 1).await, "it is the same set of tables");
    start(&later, 2).await;
    assert!(has(&store, 2).await);
    let sets = "pg_class WHERE relname = 'squidmesh_runs'";
    assert_eq!(count(&database.connection().await, sets).await, 1);
}

#[tokio::test]
async fn two_sets_of_tables_are_refused_on_postgres() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    start(&store, 1).await;
    let host = store.connection();
    host.execute_unprepared("CREATE SCHEMA AUTHORIZATION CURRENT_USER").await.unwrap();
    // As a migrator of the host does that does not know of tables elsewhere.
    Migrator::up(&database.connection().await, None).await.unwrap();
    let refused = SeaOrmStore::connect(&database.url).await.unwrap_err();
    let ConnectError::SeveralSchemas { schemas, .. } = &refused else { panic!("{refused}") };
    assert!(schemas.len() == 2 && schemas.contains(&"public".to_owned()), "{refused}");
    // Earlier processes keep to their schema, even if another one precedes it now.
    start(&store, 2).await;
    assert!(has(&SeaOrmStore::connect(&with(&database, "schema=public")).await.unwrap(), 2).await);
}

#[tokio::test]
async fn each_schema_has_a_store_of_its_own_on_postgres() {
    let database = TestDatabase::postgres().await;
    let public = database.store().await;
    let jobs = SeaOrmStore::connect(&with(&database, "schema=jobs")).await.unwrap();
    let other = SeaOrmStore::builder(&database.url).schema("Other \"Jobs\"").connect().await.unwrap();
    for (number, store) in (1..).zip([&public, &jobs, &other]) {
        start(store, number).await;
        let transaction = store.begin().await.unwrap();
        let session = store.join(&transaction);
        assert!(
            session.load(sample::run_id(number)).await.unwrap().is_some(),
            "the host's transactions look there too"
        );
        drop(session);
        transaction.commit().await.unwrap();
    }
    let again = SeaOrmStore::connect(&with(&database, "search_path=jobs%2Cpublic")).await;
    assert!(matches!(again, Err(ConnectError::SeveralSchemas { .. })), "{again:?}");
    let again = SeaOrmStore::connect(&with(&database, "currentSchema=jobs")).await.unwrap();
    assert!(has(&again, 2).await && !has(&again, 1).await);
}

#[tokio::test]
async fn sqlite_has_no_schemas() {
    let refused = SeaOrmStore::builder("sqlite::memory:").schema("jobs").connect().await.unwrap_err();
    assert!(matches!(refused, ConnectError::NoSchemas { .. }), "{refused}");
}

/// The host's migrator includes the store's and drops everything; the store's own record of migrations remains.
async fn is_reset(database: TestDatabase) {
    let store = database.store().await;
    start(&store, 1).await;
    for migration in Migrator::migrations().iter().rev() {
        let connection = database.connection().await;
        migration.down(&sea_orm_migration::SchemaManager::new(&connection)).await.unwrap();
    }
    let refused = SeaOrmStore::builder(&database.url).migrate(false).connect().await.unwrap_err();
    let ConnectError::MissingTables { tables, .. } = &refused else { panic!("{refused}") };
    assert!(tables.contains(&"squidmesh_runs".to_owned()), "{refused}");
    // If migrations are enabled, they are created again.
    start(&database.store().await, 2).await;

    database.connection().await.execute_unprepared("DROP TABLE squidmesh_audit").await.unwrap();
    let refused = SeaOrmStore::connect(&database.url).await.unwrap_err();
    let ConnectError::MissingTables { tables, .. } = &refused else { panic!("{refused}") };
    assert_eq!(tables, &["squidmesh_audit"], "a loss is not covered up");
}

#[tokio::test]
async fn tables_that_a_hosts_reset_took_are_missed_on_sqlite() {
    is_reset(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn tables_that_a_hosts_reset_took_are_missed_on_postgres() {
    is_reset(TestDatabase::postgres().await).await;
}

/// The rights that the guide on databases grants suffice for everything but migrations.
#[tokio::test]
async fn the_rights_of_the_guide_are_enough_to_work_on_postgres() {
    let database = TestDatabase::postgres().await;
    let owner = database.store().await;
    let role = format!("worker_{}", uuid::Uuid::new_v4().simple());
    let guide = include_str!("../../squidmesh-core/docs/guides/using-a-database.md");
    let grants = guide.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let name = database.url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let grants = grants.replace("DATABASE shop", &format!("DATABASE {name}")).replace("worker", &role);
    let host = owner.connection();
    host.execute_unprepared(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'; {grants}")).await.unwrap();
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let (_, rest) = rest.split_once('@').unwrap();
    let store = SeaOrmStore::connect(&format!("{scheme}://{role}:secret@{rest}")).await.unwrap();
    start(&store, 1).await;
    let fingerprint = *sample::definition().fingerprint();
    let (token, lease) = (sample::lease_token(1), Duration::from_secs(60));
    let request = ClaimRequest::new(vec![QueueName::default()], vec![fingerprint], 10, token, lease);
    let claims = store.claim(&request).await.unwrap();
    assert_eq!(claims.claims.len(), 1);
    let leases = [claims.claims[0].lease.clone()];
    assert!(store.extend_leases(&leases, lease).await.unwrap()[0].is_held());
    store.release_leases(&leases, Duration::ZERO).await.unwrap();
    store.prune(&PruneRequest::new(Duration::ZERO, vec![RunStatus::Completed], 10)).await.unwrap();
    host.execute_unprepared(
        "UPDATE squidmesh_runs SET status = 'completed', finished_at = 1; DELETE FROM squidmesh_intents",
    )
    .await
    .unwrap();
    let pruned = store.prune(&PruneRequest::new(Duration::ZERO, vec![RunStatus::Completed], 10)).await.unwrap();
    assert_eq!(pruned.runs, 1);
    host.execute_unprepared(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
