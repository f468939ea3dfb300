//! The shop's workflows with a gateway that answers as the test scripts it, on an SQLite in memory and a clock that
//! the test moves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::{Map, Value};
use squidmesh_core::definition::StepName;
use squidmesh_core::inspect::RunDetails;
use squidmesh_core::run::{AuditKind, CompensationStatus};
use squidmesh_core::testing::{ManualClock, MemoryExecutor};
use squidmesh_core::workflow::Cancellation;
use squidmesh_core::{RunFilter, RunId, RunStatus, Squidmesh, StepContext, Workflow, hours};
use squidmesh_examples::checkout::checkout;
use squidmesh_examples::fulfilment::fulfilment;
use squidmesh_examples::gateway::{Card, Gateway, GatewayError, Operation, Payment, Receipt};
use squidmesh_examples::mesh_slot::MeshSlot;
use squidmesh_examples::orders::{Line, Order};
use squidmesh_examples::settlement::settlement;
use squidmesh_examples::shop::Shop;
use squidmesh_examples::tables::{customs, ledger, orders, settlements, stock};
use squidmesh_store::SeaOrmStore;

/// Returns the answers of a list, then success; records what it did by key, as a gateway must.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<GatewayError>>,
    done: Mutex<BTreeMap<String, Payment>>,
}

#[async_trait]
impl Gateway for Scripted {
    async fn ask(&self, idempotency_key: &str, payment: &Payment) -> Result<Receipt, GatewayError> {
        if (payment.operation, payment.card) == (Operation::Capture, Card::ExpiresBeforeCapture) {
            return Err(GatewayError::Refused { reason: "the card has expired".to_owned() });
        }
        let answer = self.answers.lock().unwrap().pop_front();
        if !matches!(answer, Some(GatewayError::Refused { .. })) {
            // A busy answer may come after the effect: the worst case for a caller that retries.
            self.done.lock().unwrap().insert(idempotency_key.to_owned(), payment.clone());
        }
        answer.map_or_else(|| Ok(Receipt { id: idempotency_key.to_owned() }), Err)
    }
}

struct Fixture {
    shop: Shop,
    gateway: Arc<Scripted>,
    executor: MemoryExecutor,
    mesh: Squidmesh,
    checkout: Workflow,
}

impl Fixture {
    async fn with_answers(answers: impl IntoIterator<Item = GatewayError>) -> Fixture {
        let clock = Arc::new(ManualClock::default());
        let executor = MemoryExecutor::new(clock.clone());
        let store = SeaOrmStore::builder("sqlite::memory:").clock(clock).connect().await.unwrap();
        let shop = Shop::open(store.clone()).await.unwrap();
        let gateway = Arc::new(Scripted { answers: Mutex::new(answers.into_iter().collect()), ..Scripted::default() });
        let slot = MeshSlot::default();
        let checkout = checkout(&shop, gateway.clone(), slot.clone()).unwrap();
        let mesh = Squidmesh::builder(store)
            .executor(executor.clone())
            .workflow(checkout.clone())
            .workflow(fulfilment().unwrap())
            .workflow(settlement(&shop).unwrap())
            .build()
            .unwrap();
        slot.fill(mesh.clone());
        Fixture { shop, gateway, executor, mesh, checkout }
    }

    /// Processes an order through both workflows.
    async fn place(&self, order: &Order) -> RunDetails {
        let run = self.begin(order).await;
        self.finish(run).await
    }

    /// Processes an order as far as it can proceed now.
    async fn begin(&self, order: &Order) -> RunId {
        self.write_down(order).await;
        let run = self.mesh.start_run("checkout", order).await.unwrap();
        self.executor.drain(&self.mesh).await.unwrap();
        run.id
    }

    /// Processes a run to its end, however much time passes.
    async fn finish(&self, run: RunId) -> RunDetails {
        self.executor.run_to_rest(&self.mesh).await.unwrap();
        self.mesh.inspect_run(run).await.unwrap()
    }

    async fn write_down(&self, order: &Order) {
        let row = orders::ActiveModel {
            order_id: Set(order.order_id.clone()),
            run_id: Set(String::new()),
            state: Set(orders::State::Placed),
            total_cents: Set(order.total_cents()),
        };
        orders::Entity::insert(row).exec_without_returning(self.shop.connection()).await.unwrap();
    }

    async fn state(&self) -> orders::State {
        orders::Entity::find().one(self.shop.connection()).await.unwrap().unwrap().state
    }

    /// Returns the on-hand and the reserved quantity of an article.
    async fn stock_of(&self, sku: &str) -> (i64, i64) {
        let article = stock::Entity::find_by_id(sku).one(self.shop.connection()).await.unwrap().unwrap();
        (article.on_hand, article.reserved)
    }

    async fn entries(&self) -> Vec<(ledger::Kind, i64)> {
        let entries =
            ledger::Entity::find().order_by_asc(ledger::Column::Kind).all(self.shop.connection()).await.unwrap();
        entries.into_iter().map(|entry| (entry.kind, entry.amount_cents)).collect()
    }

    fn done(&self) -> Vec<Operation> {
        self.gateway.done.lock().unwrap().values().map(|payment| payment.operation).collect()
    }
}

fn order(sku: &str, quantity: u32) -> Order {
    let line = Line { sku: sku.to_owned(), quantity, unit_cents: 1_999 };
    Order { order_id: "1".to_owned(), lines: vec![line], card: Card::Ordinary, inspected: false }
}

fn attempts(details: &RunDetails, step: &str) -> usize {
    details.steps.iter().find(|declared| declared.name == step).unwrap().attempts.len()
}

fn busy() -> GatewayError {
    GatewayError::Busy { status: 503, retry_after: None }
}

#[tokio::test]
async fn an_order_is_paid_once_however_often_the_gateway_is_asked() {
    let shop = Fixture::with_answers([busy(), busy(), busy()]).await;
    let details = shop.place(&order("oar", 3)).await;

    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(shop.state().await, orders::State::Fulfilled);
    assert_eq!(shop.done(), [Operation::Authorise, Operation::Capture]);
    assert_eq!(shop.entries().await, [(ledger::Kind::Invoice, 5_997), (ledger::Kind::Payment, 5_997)]);
    assert_eq!(shop.stock_of("oar").await, (99_997, 0));
    assert_eq!(attempts(&details, "authorise"), 4, "three busy answers, then a receipt");
}

#[tokio::test]
async fn a_declined_card_gives_the_goods_back() {
    let declined = GatewayError::Refused { reason: "the card was declined".to_owned() };
    let shop = Fixture::with_answers([declined]).await;
    let details = shop.place(&order("oar", 3)).await;

    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(shop.state().await, orders::State::Released);
    assert_eq!(shop.stock_of("oar").await, (100_000, 0));
    assert_eq!(shop.done(), [Operation::Void], "a refusal may come after the deed");
    assert!(shop.entries().await.is_empty());
    assert_eq!(attempts(&details, "authorise"), 1, "a refusal is not worth another attempt");
    assert!(details.audit.iter().any(|event| event.kind == AuditKind::UndoRouted));
}

#[tokio::test]
async fn an_article_that_is_not_to_be_had_costs_nothing() {
    let shop = Fixture::with_answers([]).await;
    let mut order = order("oar", 3);
    order.lines.push(Line { sku: "unicorn".to_owned(), quantity: 1, unit_cents: 1 });
    shop.place(&order).await;

    assert_eq!(shop.state().await, orders::State::Released);
    assert_eq!(shop.stock_of("oar").await, (100_000, 0));
    assert!(shop.done().is_empty());
}

#[tokio::test]
async fn a_capture_that_fails_frees_the_money_and_then_the_goods() {
    let shop = Fixture::with_answers([]).await;
    let details = shop.place(&Order { card: Card::ExpiresBeforeCapture, ..order("oar", 3) }).await;

    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(details.run.last_error.unwrap().step.unwrap(), "capture");
    let compensations = ["authorise", "reserve"].map(|name| {
        let step = details.steps.iter().find(|step| step.name == name).unwrap();
        step.run.clone().unwrap().compensation.unwrap()
    });
    assert!(compensations.iter().all(|compensation| compensation.status == CompensationStatus::Completed));
    assert!(compensations[0].finished_at.unwrap() <= compensations[1].started_at);
    assert_eq!(shop.done(), [Operation::Authorise, Operation::Void]);
    assert_eq!(shop.state().await, orders::State::Released);
    assert_eq!(shop.stock_of("oar").await, (100_000, 0));
    assert!(shop.entries().await.is_empty());
}

#[tokio::test]
async fn a_big_order_continues_when_an_operator_approves_it() {
    let shop = Fixture::with_answers([]).await;
    let run = shop.begin(&order("oar", 301)).await;
    assert_eq!(shop.stock_of("oar").await, (99_699, 301), "its goods wait with it");
    assert!(shop.done().is_empty());

    shop.mesh.approve_run(run).actor("ada").await.unwrap();
    let details = shop.finish(run).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(details.context["review"]["actor"], "ada");
    assert_eq!(shop.state().await, orders::State::Fulfilled);
}

#[tokio::test]
async fn a_big_order_that_nobody_approves_is_released() {
    let reject = async |shop: &Fixture, run: RunId| drop(shop.mesh.reject_run(run).actor("ada").await.unwrap());
    let rejected = Fixture::with_answers([]).await;
    let run = rejected.begin(&order("oar", 301)).await;
    reject(&rejected, run).await;
    rejected.finish(run).await;

    let expired = Fixture::with_answers([]).await;
    let details = expired.place(&order("oar", 301)).await;
    assert_eq!(details.context["review"]["decision"], "expired");

    for shop in [rejected, expired] {
        assert_eq!(shop.state().await, orders::State::Released);
        assert_eq!(shop.stock_of("oar").await, (100_000, 0));
        assert!(shop.done().is_empty(), "no money was asked for");
    }
}

#[tokio::test]
async fn a_parcel_that_customs_held_continues_where_it_was() {
    let shop = Fixture::with_answers([]).await;
    customs::hold(shop.shop.connection(), "1").await.unwrap();
    shop.place(&order("oar", 3)).await;
    let failed = shop.mesh.list_runs(&RunFilter::new().status(RunStatus::Failed)).await.unwrap().runs;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].failure.as_ref().unwrap().kind, "held");

    customs::clear(shop.shop.connection(), "1").await.unwrap();
    let resumed = shop.mesh.resume_run(failed[0].id).await.unwrap();
    let details = shop.finish(resumed.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    assert!(details.steps[0].attempts.is_empty(), "what was picked is not picked again");
    assert_eq!(shop.state().await, orders::State::Fulfilled);
    assert_eq!(shop.stock_of("oar").await, (99_997, 0));
}

#[tokio::test]
async fn each_night_settles_what_was_paid_since_the_last() {
    let shop = Fixture::with_answers([]).await;
    shop.executor.drain(&shop.mesh).await.unwrap(); // the schedule begins, at midnight
    let number = |number: u32| Order { order_id: number.to_string(), ..order("oar", number) };
    for (night, day) in [[1, 2], [3, 4]].into_iter().enumerate() {
        for order in day {
            shop.place(&number(order)).await;
        }
        shop.executor.manual_clock().advance(hours(24));
        shop.executor.drain(&shop.mesh).await.unwrap();
        shop.executor.drain(&shop.mesh).await.unwrap();
        let settled = settlements::Entity::find().order_by_asc(settlements::Column::Night);
        let settled = settled.all(shop.shop.connection()).await.unwrap();
        assert_eq!(settled.len(), night + 1);
        assert!(settled[night].night.ends_with("T03:00:00.000Z"), "{}", settled[night].night);
        let expected: u32 = day.iter().map(|quantity| quantity * 1_999).sum();
        assert_eq!((settled[night].payments, settled[night].amount_cents), (2, i64::from(expected)));
    }
}

/// A worker that dies between a step's effect and its record leaves a step that runs again.
#[tokio::test]
async fn every_step_of_checkout_can_run_twice() {
    let shop = Fixture::with_answers([]).await;
    let order = order("oar", 3);
    shop.write_down(&order).await;
    let run = shop.mesh.start_run("checkout", &order).await.unwrap();

    let mut state: Map<String, Value> = serde_json::to_value(&order).unwrap().as_object().unwrap().clone();
    let steps = ["reserve", "screen", "authorise", "capture", "book", "hand_over"];
    let outputs = ["reservation", "screened", "authorisation", "payment", "nothing", "fulfilment"];
    for (step, output) in steps.into_iter().zip(outputs) {
        let mut outputs = Vec::new();
        for attempt in [1, 2] {
            let name = StepName::new(step).unwrap();
            let context = StepContext::new(
                run.id,
                run.workflow.clone(),
                name,
                attempt,
                Arc::new(state.clone()),
                Cancellation::new(),
            );
            let handler = shop.checkout.handler(step).unwrap();
            outputs.push(handler.call(Value::Object(state.clone()), context).await.unwrap().value);
        }
        assert_eq!(outputs[0], outputs[1], "{step} gives the same the second time");
        state.insert(output.to_owned(), outputs[0].clone());
    }
    assert_eq!(shop.stock_of("oar").await, (99_997, 3));
    assert_eq!(shop.done(), [Operation::Authorise, Operation::Capture]);
    assert_eq!(shop.entries().await, [(ledger::Kind::Payment, 5_997)]);
}
