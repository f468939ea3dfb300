//! The service as its clients see it: requests and answers, on an SQLite file, without a socket.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use squidmesh_core::RunFilter;
use squidmesh_core::testing::{ManualClock, MemoryExecutor};
use squidmesh_example_loans::bureau::DemoBureau;
use squidmesh_example_loans::{App, Shutdown, loan, router, serve};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

struct Service {
    app: App,
    executor: MemoryExecutor,
    _directory: TempDir,
}

impl Service {
    async fn open() -> Service {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("loans.db").display());
        let clock = Arc::new(ManualClock::default());
        let executor = MemoryExecutor::new(clock.clone());
        let store = SeaOrmStore::builder(&url).clock(clock).connect().await.unwrap();
        let app = App::open(store, executor.clone(), Arc::new(DemoBureau)).await.unwrap();
        Service { app, executor, _directory: directory }
    }

    /// Sends a request and returns the answer's status and body.
    async fn send(&self, method: Method, path: &str, user: Option<&str>, body: &Value) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(user) = user {
            request = request.header("x-user", user);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        let answer = router(self.app.clone()).oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, is_error) = (answer.status(), !answer.status().is_success());
        let kind = if is_error { "application/problem+json" } else { "application/json" };
        assert_eq!(answer.headers()[header::CONTENT_TYPE], kind);
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str, user: Option<&str>) -> (StatusCode, Value) {
        self.send(Method::GET, path, user, &Value::Null).await
    }

    async fn post(&self, path: &str, user: Option<&str>, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, user, &body).await
    }

    /// Takes in a loan, and executes its steps until it waits for a decision.
    async fn apply(&self) {
        assert_eq!(self.post("/loans", None, application()).await.0, StatusCode::CREATED);
        self.work().await;
    }

    /// Executes every step that is due.
    async fn work(&self) {
        self.executor.drain(&self.app.mesh).await.unwrap();
    }

    /// Returns the number of rows, and of runs.
    async fn stored(&self) -> (u64, usize) {
        let rows = loan::Entity::find().count(self.app.store.connection()).await.unwrap();
        (rows, self.app.mesh.list_runs(&RunFilter::new()).await.unwrap().runs.len())
    }
}

fn application() -> Value {
    json!({ "loan_id": "L-1", "customer": "Ada", "amount_cents": 250_000 })
}

#[tokio::test]
async fn a_loan_is_taken_in_approved_and_paid_out() {
    let loans = Service::open().await;
    let (status, loan) = loans.post("/loans", None, application()).await;
    assert_eq!(
        (status, &loan["state"], &loan["run"]["status"]),
        (StatusCode::CREATED, &json!("applied"), &json!("pending"))
    );

    loans.work().await;
    let (_, why) = loans.get("/loans/L-1/why", Some("grace")).await;
    assert_eq!((&why["reason"], &why["step"]), (&json!("paused_for_approval"), &json!("review")));
    assert_eq!(why["actions"], json!(["approve", "reject", "cancel"]));

    let (status, _) = loans.post("/loans/L-1/approve", Some("grace"), Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    loans.work().await;
    let (status, loan) = loans.get("/loans/L-1", None).await;
    assert_eq!(
        (status, &loan["state"], &loan["run"]["status"]),
        (StatusCode::OK, &json!("paid_out"), &json!("completed"))
    );
}

#[tokio::test]
async fn a_rejected_loan_has_the_reason() {
    let loans = Service::open().await;
    loans.apply().await;
    let comment = json!({ "comment": "too much for one year" });
    assert_eq!(loans.post("/loans/L-1/reject", Some("grace"), comment).await.0, StatusCode::OK);
    loans.work().await;
    let (_, loan) = loans.get("/loans/L-1", None).await;
    assert_eq!((&loan["state"], &loan["reason"]), (&json!("declined"), &json!("too much for one year")));
}

#[tokio::test]
async fn an_application_that_is_repeated_is_one_run() {
    let loans = Service::open().await;
    let (first, loan) = loans.post("/loans", None, application()).await;
    let (second, again) = loans.post("/loans", None, application()).await;
    assert_eq!((first, second), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(loan["run_id"], again["run_id"]);
    assert_eq!(loans.stored().await, (1, 1));

    let other = json!({ "loan_id": "L-1", "customer": "Ada", "amount_cents": 999_999 });
    assert_eq!(loans.post("/loans", None, other).await.0, StatusCode::CONFLICT);
    assert_eq!(loans.stored().await, (1, 1));
}

#[tokio::test]
async fn a_loan_that_does_not_exist_is_not_found() {
    let loans = Service::open().await;
    for (status, problem) in [
        loans.get("/loans/L-9", None).await,
        loans.get("/loans/L-9/why", Some("grace")).await,
        loans.post("/loans/L-9/approve", Some("grace"), Value::Null).await,
    ] {
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(problem["detail"], "there is no loan \"L-9\"");
    }
}

#[tokio::test]
async fn a_decision_needs_a_caller() {
    let loans = Service::open().await;
    loans.apply().await;
    for user in [None, Some(" ")] {
        let (status, _) = loans.post("/loans/L-1/approve", user, Value::Null).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(loans.get("/loans/L-1", None).await.1["run"]["status"], "paused");
}

#[tokio::test]
async fn a_second_decision_is_a_conflict_that_names_the_first() {
    let loans = Service::open().await;
    loans.apply().await;
    assert_eq!(loans.post("/loans/L-1/approve", Some("grace"), Value::Null).await.0, StatusCode::OK);
    let (status, problem) = loans.post("/loans/L-1/approve", Some("alan"), Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("step review was approved by grace"), "{problem}");
}

#[tokio::test]
async fn a_decision_before_the_review_is_a_conflict() {
    let loans = Service::open().await;
    loans.post("/loans", None, application()).await;
    assert_eq!(loans.post("/loans/L-1/approve", Some("grace"), Value::Null).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn an_application_that_breaks_rules_is_refused_with_each_of_them() {
    let loans = Service::open().await;
    let body = json!({ "loan_id": "L-1", "customer": "", "amount_cents": 0 });
    let (status, problem) = loans.post("/loans", None, body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let paths: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["path"]).collect();
    assert_eq!(paths, ["amount_cents", "customer"], "{problem}");
    assert_eq!(loans.stored().await, (0, 0));
}

#[tokio::test]
async fn a_body_of_another_form_is_refused_with_its_path() {
    let loans = Service::open().await;
    let body = json!({ "loan_id": "L-1", "customer": "Ada", "amount_cents": "a lot" });
    let (status, problem) = loans.post("/loans", None, body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["detail"].as_str().unwrap().contains("amount_cents"), "{problem}");
    assert_eq!(loans.stored().await, (0, 0));
}

#[tokio::test]
async fn neither_the_row_nor_the_run_is_stored_without_the_other() {
    let loans = Service::open().await;
    // The executor refuses the run.
    loans.executor.refuse("default".parse().unwrap());
    assert_eq!(loans.post("/loans", None, application()).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(loans.stored().await, (0, 0));

    // The database refuses the row.
    loans.executor.accept();
    let database = loans.app.store.connection();
    database.execute_unprepared("ALTER TABLE loans RENAME TO gone").await.unwrap();
    assert_eq!(loans.post("/loans", None, application()).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    database.execute_unprepared("ALTER TABLE gone RENAME TO loans").await.unwrap();
    assert_eq!(loans.stored().await, (0, 0));

    // The key is free: the same application is taken in.
    loans.apply().await;
    assert_eq!(loans.stored().await, (1, 1));
}

#[tokio::test]
async fn one_shutdown_stops_the_server_and_the_workers() {
    let store = SeaOrmStore::connect("sqlite::memory:").await.unwrap();
    let app = App::open(store, TokioExecutor::new(), Arc::new(DemoBureau)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let shutdown = Shutdown::default();
    let service = tokio::spawn(serve(app, listener, shutdown.clone()));

    client.write_all(b"GET /loans/L-9 HTTP/1.1\r\nhost: loans\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4_096];
    let length = client.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 404 "));

    shutdown.begin();
    service.await.unwrap().unwrap();
    assert_eq!(client.read(&mut answer).await.unwrap(), 0, "the connection is closed");
}
