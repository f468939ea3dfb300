//! The first error that a person sees: it is returned at once, says what is wrong and what to do about it, and
//! shows no secret, in its text or in a log.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod databases;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use databases::{TestDatabase, count};
use sea_orm::ConnectionTrait;
use squidmesh_core::port::{StoreError, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_store::SeaOrmStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt;

async fn refused(url: &str) -> String {
    let begun = Instant::now();
    let error = SeaOrmStore::connect(url).await.expect_err("it cannot be connected to");
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}: {error}", begun.elapsed());
    error.to_string()
}

#[tokio::test]
async fn where_nothing_listens_says_so() {
    let error = refused("postgres://u@127.0.0.1:1/shop").await;
    assert!(error.contains("nothing listens there"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = refused(&format!("postgres://u@127.0.0.1:{port}/shop")).await;
    assert!(error.contains("does not answer"), "{error}");
}

/// Starts a server that rejects every login with an error.
async fn refusing(code: &'static str, message: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut bytes = vec![0; 1_024];
                assert!(client.read(&mut bytes).await.unwrap() > 0);
                let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
                let length = u32::try_from(fields.len() + 4).unwrap();
                let answer = [b"E".as_slice(), &length.to_be_bytes(), fields.as_bytes()].concat();
                let _ = client.write_all(&answer).await;
            });
        }
    });
    format!("postgres://u:S3CRET@127.0.0.1:{port}/shop?sslmode=disable")
}

#[tokio::test]
async fn what_a_server_refuses_comes_with_its_code_and_advice() {
    for (code, message, advice) in [
        ("53300", "sorry, too many clients already", "no free connection"),
        ("28P01", "password authentication failed for user \"u\"", "check the user and the password"),
        ("28000", "no pg_hba.conf entry for host \"::1\", user \"u\", database \"shop\", no encryption", "TLS"),
        ("3D000", "database \"shop\" does not exist", "create the database"),
        ("57P03", "the database system is starting up", "starting"),
        ("42P05", "prepared statement \"sqlx_s_1\" already exists", "pooler in transaction mode"),
    ] {
        let error = refused(&refusing(code, message).await).await;
        assert!(error.contains(code) && error.contains(message) && error.contains(advice), "{error}");
        assert!(!error.contains("S3CRET") && !error.contains("tried again"), "{error}");
    }
}

/// The first bytes that a client sends to a server that offers TLS start a handshake.
#[tokio::test]
async fn a_server_that_offers_tls_is_spoken_to_in_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 8];
        client.read_exact(&mut bytes).await.unwrap();
        client.write_all(b"S").await.unwrap();
        client.read_exact(&mut bytes[..1]).await.unwrap();
        bytes[0]
    });
    let error = refused(&format!("postgres://u@127.0.0.1:{port}/shop?sslmode=require")).await;
    assert_eq!(server.await.unwrap(), 0x16, "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
    let error = refused(&at("missing/shop.db")).await;
    assert!(error.contains("directory"), "{error}");
    std::fs::write(directory.path().join("text.db"), "no database at all, but a text of some length".repeat(100))
        .unwrap();
    let error = refused(&at("text.db")).await;
    assert!(error.contains("not an SQLite database"), "{error}");
}

#[tokio::test]
async fn a_locked_file_says_who_may_be_at_it() {
    let database = TestDatabase::sqlite();
    drop(database.store().await);
    let other = database.connection().await;
    other.execute_unprepared("PRAGMA locking_mode = EXCLUSIVE").await.unwrap();
    other.execute_unprepared("BEGIN EXCLUSIVE").await.unwrap();
    let builder = SeaOrmStore::builder(&database.url).call_timeout(Duration::from_secs(1));
    let error = builder.connect().await.unwrap_err().to_string();
    assert!(error.contains("locked"), "{error}");
}

#[tokio::test]
async fn an_error_of_a_call_has_the_code_of_its_database() {
    let lost = async |database: TestDatabase, code: &str| {
        let store = database.store().await;
        store.connection().execute_unprepared("DROP TABLE squidmesh_runs").await.unwrap();
        let error = store.load(sample::run_id(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(code) && error.to_string().contains("squidmesh_runs"), "{error}");
    };
    lost(TestDatabase::sqlite(), "SQLite code 1").await;
    lost(TestDatabase::postgres().await, "SQLSTATE 42P01").await;
}

#[tokio::test]
async fn a_host_that_has_used_up_its_connections_learns_of_it() {
    let database = TestDatabase::postgres().await;
    let builder = SeaOrmStore::builder(&database.url).max_connections(1).connect_timeout(Duration::from_secs(2));
    let store = builder.connect().await.unwrap();
    let _taken = store.begin().await.unwrap();
    let error = store.begin().await.unwrap_err();
    assert!(error.to_string().contains("max_connections"), "{error}");
}

#[tokio::test]
async fn the_number_of_the_stores_own_connections_is_kept() {
    let database = TestDatabase::postgres().await;
    let store = SeaOrmStore::builder(&database.url).own_connections(2).connect().await.unwrap();
    let loads = (0..40).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.load(sample::run_id(number)).await.unwrap() })
    });
    for load in loads.collect::<Vec<_>>() {
        load.await.unwrap();
    }
    // One connection of the host has migrated, and another one looks. Closed connections may take a moment to
    // disappear.
    let looker = database.connection().await;
    let begun = Instant::now();
    while count(&looker, "pg_stat_activity WHERE datname = current_database()").await > 2 + 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "there are more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn no_secret_of_a_url_is_logged_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    tracing::info!("it is recorded");
    let database = TestDatabase::postgres().await;
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let (user, rest) = rest.split_once('@').unwrap();
    for url in [
        format!("{scheme}://{user}:S3CRET@{rest}"),
        format!("{scheme}://{user}:S3CRET@{rest}?sslpassword=S3CRET"),
        format!("{scheme}://{user}:12?S3CRET=S3CRET@{rest}"),
        format!("{scheme}://{user}:12?S3CRET@{rest}"),
        format!("{scheme}://{user}@{rest}?password=S3CRET&application_name=shop"),
        "postgres://u:S3CRET@127.0.0.1:1/shop".to_owned(),
    ] {
        let builder = SeaOrmStore::builder(&url);
        assert!(!format!("{builder:?}").contains("S3CRET"));
        match builder.connect().await {
            Ok(store) => drop(store.begin().await.unwrap()),
            Err(error) => assert!(!format!("{error} {error:?}").contains("S3CRET"), "{error:?}"),
        }
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("it is recorded"));
    let line = log.lines().find(|line| line.contains("S3CRET"));
    assert!(line.is_none(), "{line:?}");
}
