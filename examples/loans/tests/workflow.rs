//! The workflow with a scripted bureau, on a database in memory and a clock that the test moves.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use squidmesh_core::inspect::{Reason, RunDetails};
use squidmesh_core::port::Clock;
use squidmesh_core::testing::{ManualClock, MemoryExecutor};
use squidmesh_core::{RunId, RunStatus, Timestamp, hours};
use squidmesh_example_loans::App;
use squidmesh_example_loans::application::Application;
use squidmesh_example_loans::bureau::{Bureau, BureauError};
use squidmesh_example_loans::loan::{self, State};
use squidmesh_example_loans::workflow::LOAN;
use squidmesh_store::SeaOrmStore;

/// A bureau that does not answer the first calls, and then returns the same result to each.
struct Scripted {
    unavailable_for: u32,
    result: Result<u32, BureauError>,
    calls: AtomicU32,
}

#[async_trait]
impl Bureau for Scripted {
    async fn score(&self, _: &str) -> Result<u32, BureauError> {
        let earlier = self.calls.fetch_add(1, Ordering::Relaxed);
        if earlier < self.unavailable_for { Err(BureauError::Unavailable) } else { self.result }
    }
}

struct Fixture {
    app: App,
    executor: MemoryExecutor,
    bureau: Arc<Scripted>,
    run: RunId,
}

impl Fixture {
    /// Starts a run and executes what is due.
    async fn with_bureau(unavailable_for: u32, result: Result<u32, BureauError>) -> Fixture {
        let clock = Arc::new(ManualClock::default());
        let executor = MemoryExecutor::new(clock.clone());
        let store = SeaOrmStore::builder("sqlite::memory:").clock(clock).connect().await.unwrap();
        let bureau = Arc::new(Scripted { unavailable_for, result, calls: AtomicU32::new(0) });
        let app = App::open(store, executor.clone(), bureau.clone()).await.unwrap();

        let application = Application { loan_id: "L-1".to_owned(), customer: "Ada".to_owned(), amount_cents: 250_000 };
        let run = app.mesh.start(LOAN, &application).await.unwrap().id;
        loan::insert(app.store.connection(), &application, run).await.unwrap();
        executor.drain(&app.mesh).await.unwrap();
        Fixture { app, executor, bureau, run }
    }

    /// Lets time pass until no work is left.
    async fn to_its_end(&self) -> RunDetails {
        self.executor.run_to_rest(&self.app.mesh).await.unwrap();
        self.app.mesh.inspect_run(self.run).await.unwrap()
    }

    async fn row(&self) -> (State, Option<String>) {
        let loan = self.app.loan("L-1").await.unwrap();
        (loan.state, loan.reason)
    }

    fn now(&self) -> Timestamp {
        self.executor.manual_clock().now()
    }
}

#[tokio::test]
async fn an_approved_loan_is_paid_out() {
    let loans = Fixture::with_bureau(0, Ok(640)).await;
    let why = loans.app.mesh.explain_run(loans.run).await.unwrap();
    assert_eq!((why.reason, why.at), (Reason::PausedForApproval, Some(loans.now().after(hours(72)))));

    loans.app.mesh.approve_run(loans.run).actor("grace").await.unwrap();
    let details = loans.to_its_end().await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(details.context["assessment"]["score"], 640);
    assert_eq!(loans.row().await, (State::PaidOut, None));
}

#[tokio::test]
async fn a_rejected_loan_is_declined_with_the_comment_of_the_reviewer() {
    let loans = Fixture::with_bureau(0, Ok(640)).await;
    loans.app.mesh.reject_run(loans.run).actor("grace").comment("too much for one year").await.unwrap();
    assert_eq!(loans.to_its_end().await.run.status, RunStatus::Completed);
    assert_eq!(loans.row().await, (State::Declined, Some("too much for one year".to_owned())));
}

#[tokio::test]
async fn a_loan_without_a_decision_is_declined_after_three_days() {
    let loans = Fixture::with_bureau(0, Ok(640)).await;
    let applied = loans.now();
    loans.to_its_end().await;
    assert_eq!(loans.now().since(applied), hours(72));
    assert_eq!(loans.row().await, (State::Declined, Some("the approval was not decided in time".to_owned())));
}

#[tokio::test]
async fn a_customer_whom_the_bureau_does_not_know_is_declined_after_one_call() {
    let loans = Fixture::with_bureau(0, Err(BureauError::UnknownCustomer)).await;
    assert_eq!(loans.to_its_end().await.run.status, RunStatus::Completed);
    assert_eq!(loans.bureau.calls.load(Ordering::Relaxed), 1);
    assert_eq!(loans.row().await, (State::Declined, Some(BureauError::UnknownCustomer.to_string())));
}

#[tokio::test]
async fn a_bureau_that_does_not_answer_is_called_again() {
    let loans = Fixture::with_bureau(5, Ok(640)).await;
    let why = loans.app.mesh.explain_run(loans.run).await.unwrap();
    assert_eq!((why.reason, why.attempt), (Reason::WaitingForRetry, Some(2)));

    loans.to_its_end().await;
    assert_eq!(loans.bureau.calls.load(Ordering::Relaxed), 6);
}
