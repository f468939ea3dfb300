//! Deliveries that come twice, late or malformed.

use std::sync::{Arc, Mutex};

use event_listener::Event;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::ExecutorFixture;
use super::process::{Process, chain, facts};
use super::witness::Witness;
use crate::dispatch::{DeliveryMessage, IntentKey};
use crate::event::IgnoreReason;
use crate::id::RunId;
use crate::name::StepName;
use crate::port::RunFilter;
use crate::run::RunStatus;
use crate::runner::{DeliveryOutcome, PerformError};

pub async fn of_four_deliveries_at_once_one_is_carried_out(fixture: &dyn ExecutorFixture) {
    let store = fixture.store().await;
    for _ in 0..10 {
        let witness = Witness::default();
        let process = Process::new(fixture, &store, &[chain("solo", [("only", witness.gated("only"))])]);
        let run = process.start("solo").await;
        let answers = Answers::default();
        let deliveries: Vec<_> = (0..4)
            .map(|_| {
                let (runner, payload, answers) = (process.mesh.runner(), payload(run.id, "only"), answers.clone());
                fixture.spawn(async move { answers.add(runner.perform(payload.as_bytes()).await.unwrap()) }.boxed())
            })
            .collect();
        // One waits at the gate; the other three are answered meanwhile.
        answers.given(3).await;
        witness.seen(1).await;
        witness.open_gate();
        join_all(deliveries).await;
        assert_eq!(witness.executions(), 1);
        let given = answers.all();
        assert_eq!(
            given.iter().filter(|answer| matches!(answer, DeliveryOutcome::Done { steps: 1 })).count(),
            1,
            "{given:?}"
        );
        assert_eq!(given.iter().filter(|answer| matches!(answer, DeliveryOutcome::Ignored(_))).count(), 3, "{given:?}");
        assert_eq!(process.end_of(run.id).await, RunStatus::Completed);
        assert_eq!(process.details(run.id).await.steps[0].attempts.len(), 1);
    }
}

pub async fn deliveries_beside_the_workers_are_carried_out_once(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain("pair", [("one", witness.step("one")), ("two", witness.step("two"))]);
    let mut process = Process::new(fixture, &store, &[workflow]);
    process.work(fixture);
    for _ in 0..10 {
        let run = process.start("pair").await;
        for step in ["one", "two"] {
            let payload = payload(run.id, step);
            for _ in 0..2 {
                process.mesh.runner().perform(payload.as_bytes()).await.unwrap();
            }
        }
        process.all_completed(&[run.id]).await;
    }
    assert_eq!(witness.each(), vec![1; 20]);
    process.stop().await;
}

pub async fn a_late_delivery_changes_nothing(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let mut process = Process::new(fixture, &store, &[chain("solo", [("only", witness.step("only"))])]);
    process.work(fixture);
    let run = process.start("solo").await;
    process.all_completed(&[run.id]).await;
    let before = facts(&*store, run.id).await;
    let late = process.mesh.runner().perform(payload(run.id, "only").as_bytes()).await.unwrap();
    assert!(matches!(late, DeliveryOutcome::Ignored(IgnoreReason::NoIntent)), "{late:?}");
    let compensation = DeliveryMessage::Compensation { run_id: run.id }.to_string();
    let late = process.mesh.runner().perform(compensation.as_bytes()).await.unwrap();
    assert!(matches!(late, DeliveryOutcome::Ignored(IgnoreReason::NoIntent)), "{late:?}");
    assert_eq!(facts(&*store, run.id).await, before);
    assert_eq!(witness.executions(), 1);
    process.stop().await;
}

pub async fn a_delivery_for_an_unknown_run_changes_nothing(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let process = Process::new(fixture, &store, &[chain("solo", [("only", witness.step("only"))])]);
    let unknown = payload(crate::testing::sample::run_id(1), "only");
    let answer = process.mesh.runner().perform(unknown.as_bytes()).await.unwrap();
    assert!(matches!(answer, DeliveryOutcome::Ignored(IgnoreReason::NoIntent)), "{answer:?}");
    assert!(process.mesh.list_runs(&RunFilter::new()).await.unwrap().runs.is_empty());
}

pub async fn a_malformed_payload_is_refused_and_touches_nothing(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let process = Process::new(fixture, &store, &[chain("solo", [("only", witness.step("only"))])]);
    let run = process.start("solo").await;
    let before = facts(&*store, run.id).await;
    let good = payload(run.id, "only");
    let bad: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\0\xff\xfe".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        format!("{good}{good}").into_bytes(),
        good.replace("\"v\":1", "\"v\":2").into_bytes(),
        good.replace("\"v\":1", "\"v\":\"1\"").into_bytes(),
        good.replace("\"kind\":\"step\"", "\"kind\":\"dance\"").into_bytes(),
        good.replace("\"step\":\"only\"", "\"step\":\"\"").into_bytes(),
        good.replace(&run.id.to_string(), "not-an-id").into_bytes(),
        format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(),
    ];
    for payload in bad {
        let answer = process.mesh.runner().perform(&payload).await;
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(80)]).into_owned();
        assert!(matches!(answer, Err(PerformError::InvalidMessage(_))), "{shown}: {answer:?}");
    }
    assert_eq!(facts(&*store, run.id).await, before);
    assert_eq!(witness.executions(), 0);
}

fn payload(run: RunId, step: &str) -> String {
    DeliveryMessage::from(&IntentKey::step(run, StepName::new(step).unwrap())).to_string()
}

/// The answers of deliveries.
#[derive(Clone, Default)]
struct Answers {
    shared: Arc<(Mutex<Vec<DeliveryOutcome>>, Event)>,
}

impl Answers {
    fn add(&self, answer: DeliveryOutcome) {
        self.shared.0.lock().unwrap().push(answer);
        self.shared.1.notify(usize::MAX);
    }

    /// Waits until this number of answers was given.
    async fn given(&self, answers: usize) {
        loop {
            let added = self.shared.1.listen();
            if self.shared.0.lock().unwrap().len() >= answers {
                return;
            }
            added.await;
        }
    }

    fn all(&self) -> Vec<DeliveryOutcome> {
        std::mem::take(&mut *self.shared.0.lock().unwrap())
    }
}
