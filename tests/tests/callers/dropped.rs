//! Deliveries of siblings that are dropped, at every point at which they can be, and a store that panics: the other
//! siblings are executed as if none had been dropped.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use squidmesh_core::command::DeliveryOutcome;
use squidmesh_core::event::IgnoreReason;
use squidmesh_core::inspect::StepState;
use squidmesh_core::port::StoreError;
use squidmesh_core::testing::{InterceptedStore, StoreInterceptor};
use squidmesh_core::{RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};
use squidmesh_tests::{Backend, block_on};

use super::faults::mesh;

const SIBLINGS: [&str; 3] = ["a", "b", "c"];

/// How often each step was called.
type Calls = Arc<Mutex<BTreeMap<String, usize>>>;

/// Returns three siblings, each with its own successor.
fn siblings(calls: &Calls) -> Workflow {
    let step = |name: &str| {
        let calls = calls.clone();
        Step::new(name, move |_: Value, context: StepContext| {
            *calls.lock().unwrap().entry(context.step.to_string()).or_default() += 1;
            async { StepResult::Ok(()) }
        })
    };
    let workflow = Workflow::builder("siblings").trigger(Trigger::manual("go"));
    let workflow = SIBLINGS
        .into_iter()
        .fold(workflow, |workflow, name| workflow.step(step(name)).step(step(&format!("{name}2")).after([name])));
    workflow.build().unwrap()
}

/// A future that is dropped after it has been polled `polls` times.
struct Leaves<T> {
    inner: Option<BoxFuture<'static, T>>,
    polls: usize,
}

impl<T> Future for Leaves<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.polls == 0 {
            self.inner = None;
        }
        self.polls = self.polls.saturating_sub(1);
        match &mut self.inner {
            Some(inner) => inner.as_mut().poll(context).map(Some),
            None => Poll::Ready(None),
        }
    }
}

/// Yields a few times, so that others come in between.
async fn give_way() {
    for _ in 0..3 {
        let mut given = false;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut given, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Yields before and after each call.
struct Slow {
    panics: Arc<AtomicBool>,
}

#[async_trait]
impl StoreInterceptor for Slow {
    async fn before(&self, _: &'static str) -> Result<(), StoreError> {
        give_way().await;
        Ok(())
    }

    async fn after(&self, method: &'static str) -> Result<(), StoreError> {
        let panics = method == "commit" && self.panics.swap(false, Ordering::SeqCst);
        give_way().await;
        assert!(!panics, "the test has the store panic");
        Ok(())
    }
}

struct Harness {
    backend: Backend,
    mesh: Squidmesh,
    calls: Calls,
    /// Whether the next commit panics, once it is applied.
    panics: Arc<AtomicBool>,
}

impl Harness {
    fn on(backend: Backend) -> Self {
        let (calls, panics) = (Calls::default(), Arc::new(AtomicBool::new(false)));
        let store = InterceptedStore::new(backend.store(), Slow { panics: panics.clone() });
        let mesh = mesh(&backend, store, vec![siblings(&calls)]);
        Harness { backend, mesh, calls, panics }
    }

    async fn started(&self) -> RunId {
        self.mesh.start_run("siblings", &json!({})).await.unwrap().id
    }

    /// Delivers the three siblings together; the one at `place` is dropped after `polls` polls. Returns the outcome
    /// of each.
    async fn delivered(&self, place: usize, polls: usize) -> Vec<Option<DeliveryOutcome>> {
        let runner = self.mesh.runner();
        let claims = runner.claim(3).await.unwrap().claims;
        assert_eq!(claims.len(), 3);
        let deliveries = claims.into_iter().enumerate().map(|(number, claim)| {
            let runner = runner.clone();
            let inner = Some(async move { runner.deliver(claim).await }.boxed());
            Leaves { inner, polls: if number == place { polls } else { usize::MAX } }
        });
        join_all(deliveries).await
    }

    fn called(&self, step: &str) -> usize {
        self.calls.lock().unwrap().get(step).copied().unwrap_or_default()
    }

    /// Returns the steps whose outcome is recorded.
    async fn completed(&self, id: RunId) -> Vec<String> {
        let details = self.mesh.inspect_run(id).await.unwrap();
        let steps = details.steps.into_iter().filter(|step| step.state == StepState::Completed);
        steps.map(|step| step.name.to_string()).collect()
    }

    /// Completes the run: recorded work is not left over, and the remaining work is done.
    async fn ends(&self, id: RunId) {
        let Some(clock) = self.backend.clock() else { return };
        for _ in 0..8 {
            clock.advance(Duration::from_secs(31));
            let runner = self.mesh.runner();
            for claim in runner.claim(16).await.unwrap().claims {
                runner.deliver(claim).await;
            }
        }
        assert_eq!(self.mesh.inspect_run(id).await.unwrap().run.status, RunStatus::Completed);
        assert_eq!(self.mesh.held_states(), 0);
    }
}

/// Counts the deliveries that executed two steps; the claims may come in any order.
fn lines(deliveries: &[Option<DeliveryOutcome>]) -> usize {
    deliveries.iter().filter(|delivery| matches!(delivery, Some(DeliveryOutcome::Done { steps: 2 }))).count()
}

async fn a_dropped_delivery_loses_nothing_of_its_siblings(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    for place in 0..3 {
        for polls in 0.. {
            let id = harness.started().await;
            harness.calls.lock().unwrap().clear();
            let deliveries = harness.delivered(place, polls).await;
            let case = format!("number {place} goes away after {polls} polls: {deliveries:?}");
            let stayed = deliveries[place].is_some();
            assert_eq!(lines(&deliveries), if stayed { 3 } else { 2 }, "{case}");
            let completed = harness.completed(id).await;
            let whole = |name: &&str| {
                let next = format!("{name}2");
                [name.to_string(), next.clone()].iter().all(|step| completed.contains(step))
                    && (harness.called(name), harness.called(&next)) == (1, 1)
            };
            let whole: Vec<&str> = SIBLINGS.into_iter().filter(whole).collect();
            assert!(whole.len() >= 2, "only {whole:?} were carried out, and {completed:?} completed: {case}");
            assert_eq!(harness.mesh.held_states(), 0, "{case}");
            harness.ends(id).await;
            for name in whole {
                assert_eq!((harness.called(name), harness.called(&format!("{name}2"))), (1, 1), "{case}");
            }
            if stayed {
                assert!(polls > 5, "it goes away at more points than {polls}");
                break;
            }
        }
    }
}

async fn deliveries_that_are_all_dropped_leave_nothing(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    for polls in 0..30 {
        let id = harness.started().await;
        let runner = harness.mesh.runner();
        let claims = runner.claim(3).await.unwrap().claims;
        let deliveries = claims.into_iter().map(|claim| {
            let runner = runner.clone();
            Leaves { inner: Some(async move { runner.deliver(claim).await }.boxed()), polls }
        });
        join_all(deliveries).await;
        assert_eq!(harness.mesh.held_states(), 0, "after {polls} polls");
        harness.ends(id).await;
    }
}

/// The commit of all siblings was applied, and its answer is lost.
async fn a_store_that_panics_costs_no_sibling_its_outcome(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    let id = harness.started().await;
    harness.panics.store(true, Ordering::SeqCst);
    let delivered = harness.delivered(0, usize::MAX);
    let deliveries = match harness.backend.clock().cloned() {
        None => delivered.await,
        Some(clock) => {
            let ticks = async {
                loop {
                    tokio::task::yield_now().await;
                    clock.advance(Duration::from_millis(5));
                }
            };
            tokio::select! {
                deliveries = delivered => deliveries,
                () = ticks => unreachable!("time passes for ever"),
            }
        }
    };
    assert_eq!(lines(&deliveries), 3, "{deliveries:?}");
    assert_eq!(harness.completed(id).await.len(), 6);
    let lost = |delivery: &Option<DeliveryOutcome>| {
        matches!(delivery, Some(DeliveryOutcome::Ignored(IgnoreReason::LeaseLost)))
    };
    assert!(!deliveries.iter().any(lost));
}

macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        on_every_store! { @on memory $($name),+ }
        on_every_store! { @on sqlite $($name),+ }
        on_every_store! { @on postgres $($name),+ }
    };
    (@on $backend:ident $($name:ident),+) => {
        mod $backend {
            use super::*;
            $(#[test]
            fn $name() {
                block_on(super::$name(Backend::$backend));
            })+
        }
    };
}

on_every_store! {
    a_dropped_delivery_loses_nothing_of_its_siblings,
    deliveries_that_are_all_dropped_leave_nothing,
    a_store_that_panics_costs_no_sibling_its_outcome,
}
