//! A signal to a run, against what else happens to the run at that moment. None is lost, none counts twice, and the
//! sender is answered with the truth.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use squidmesh_core::command::{DeliveryOutcome, SignalAnswer, SignalError, SignalReceipt};
use squidmesh_core::testing::sample;
use squidmesh_core::workflow::{BuiltIn, WorkflowBuilder};
use squidmesh_core::{COMPLETE, Field, RunId, RunStatus, Signal, Step, Trigger, Workflow, ms, wait_for};
use squidmesh_tests::block_on;

use super::{Arena, RACES, STORY, Stage, both, carried_out, compare, nothing};

/// The signals of a run, each with its key and the step that took it; the step that the audit trail names; the amount
/// that the step that waited has as its output.
const SIGNALS: &str = "\
    (SELECT string_agg(concat(signal->>'name', ' ', signal->>'dedup_key', ' ', coalesce(signal->>'taken_by', 'kept')), \
        ', ' ORDER BY signal->>'dedup_key') FROM jsonb_array_elements(signals::jsonb) AS signal), \
    (SELECT concat('by ', string_agg(step, ', ')) FROM squidmesh_audit \
        WHERE run_id = id AND kind IN ('signal_received', 'signal_late')), \
    (SELECT concat('gave ', output::jsonb->>'amount') FROM squidmesh_step_runs WHERE run_id = id AND step = 'wait')";

/// The workflows of these races.
pub(crate) fn workflows() -> Vec<Workflow> {
    vec![paying(), hurrying(), deaf()]
}

fn declared(name: &str, wait: impl Into<BuiltIn>) -> WorkflowBuilder {
    Workflow::builder(name)
        .trigger(Trigger::manual("manual"))
        .signal(Signal::new("paid").field(Field::integer("amount")))
        .step(Step::new("wait", wait.into()))
        .step(Step::new("go", nothing))
        .then("wait", "go")
        .then("go", COMPLETE)
}

/// wait → go
fn paying() -> Workflow {
    declared("paying", wait_for("paid")).build().unwrap()
}

/// The same, with a deadline that has passed as soon as the race begins: then wait → late.
fn hurrying() -> Workflow {
    declared("hurrying", wait_for("paid").deadline(ms(1)).then_to("late"))
        .step(Step::new("late", nothing))
        .then("late", COMPLETE)
        .build()
        .unwrap()
}

/// work, and no wait for the signal
fn deaf() -> Workflow {
    Workflow::builder("deaf")
        .trigger(Trigger::manual("manual"))
        .signal(Signal::new("paid").field(Field::integer("amount")))
        .step(Step::new("work", nothing))
        .then("work", COMPLETE)
        .build()
        .unwrap()
}

/// What became of a signal: a race may only end with these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    Received,
    Buffered,
    Duplicate,
    /// The run had ended.
    Ended(RunStatus),
}

fn sent(run: RunId, answer: Result<SignalAnswer, SignalError>) -> Sent {
    match answer {
        Ok(answer) => {
            assert_eq!(answer.run, run);
            match answer.receipt {
                SignalReceipt::Received { step } => {
                    assert_eq!(step.as_str(), "wait");
                    Sent::Received
                }
                SignalReceipt::Buffered => Sent::Buffered,
                SignalReceipt::Duplicate => Sent::Duplicate,
                other => panic!("{other:?}"),
            }
        }
        Err(SignalError::Ended { run: of, status, resumed_as: None }) if of == run => Sent::Ended(status),
        Err(other) => panic!("refused for another reason: {other:?}"),
    }
}

fn paid(amount: u32) -> Value {
    json!({ "amount": amount })
}

impl Arena {
    /// Returns the story of each run, and after it what is stored of its signals.
    async fn signal_stories(&self) -> BTreeMap<RunId, String> {
        self.by_run(&format!("SELECT id AS run, concat_ws(' | ', {STORY}, {SIGNALS}) AS found FROM squidmesh_runs"))
            .await
    }
}

/// One process delivers the intent of each run, the other sends the run a signal. Returns whether the delivery decided
/// something, and what became of the signal.
async fn deliver_and_send(arena: &Arena, runs: &[RunId]) -> BTreeMap<RunId, (bool, Sent)> {
    let (runner, claims) = (arena.processes[0].runner(), arena.claim(runs).await);
    arena
        .race(runs, |run, number| {
            let claim = claims.lock().unwrap().remove(&run).expect("every run is claimed once");
            let deliver = runner.deliver(claim);
            let send = arena.processes[1].signal_run(run, "paid", &paid(7)).actor("sal").into_future();
            async move {
                let (delivery, answer) = both(number, deliver, send).await;
                let delivered = match delivery {
                    DeliveryOutcome::Done { steps } => steps == 1,
                    DeliveryOutcome::Ignored(_) => false,
                    other => panic!("{other:?}"),
                };
                (delivered, sent(run, answer))
            }
        })
        .await
}

#[test]
fn a_signal_comes_before_the_deadline_of_its_wait_or_is_late() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&hurrying(), Stage::Asked).await;
        let results = deliver_and_send(&arena, &runs).await;
        compare(&arena.signal_stories().await, &results, 2, |result| match result {
            (false, Sent::Received) => "running | wait completed 1, go pending 0 | signal_received sal | go | \
                                        paid  wait | by wait | gave 7"
                .to_owned(),
            (true, Sent::Buffered) => "running | wait failed 1, late pending 0 | wait 1 failed | \
                                       expired , signal_late sal | late | paid  kept | by  | gave "
                .to_owned(),
            other => panic!("exactly one of them ends the wait: {other:?}"),
        });
    });
}

#[test]
fn a_signal_and_the_begin_of_its_wait_do_not_miss_each_other() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&paying(), Stage::Due).await;
        let results = deliver_and_send(&arena, &runs).await;
        compare(&arena.signal_stories().await, &results, 2, |(delivered, sent)| {
            assert!(delivered, "the wait begins in any case");
            let by = match sent {
                Sent::Received => "wait",
                Sent::Buffered => "",
                other => panic!("the signal is accepted: {other:?}"),
            };
            format!(
                "running | wait completed 1, go pending 0 | signal_received sal | go | paid  wait | by {by} | gave 7"
            )
        });
    });
}

#[test]
fn a_signal_comes_before_the_cancellation_of_its_wait_or_is_refused() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&paying(), Stage::Asked).await;
        let results = arena
            .race(&runs, |run, number| {
                let send = arena.processes[0].signal_run(run, "paid", &paid(7)).actor("sal").into_future();
                let cancel = arena.processes[1].cancel_run(run).actor("cat").into_future();
                async move {
                    let (answer, cancelled) = both(number, send, cancel).await;
                    assert!(carried_out(&cancelled), "a run that has received a signal can still be cancelled");
                    sent(run, answer)
                }
            })
            .await;
        compare(&arena.signal_stories().await, &results, 2, |sent| match sent {
            Sent::Received => "cancelled | wait completed 1, go cancelled 0 | signal_received sal, cancelled cat | \
                               paid  wait | by wait | gave 7"
                .to_owned(),
            Sent::Ended(RunStatus::Cancelled) => {
                "cancelled | wait cancelled 1 | wait 1 failed | cancelled cat | by  | gave ".to_owned()
            }
            other => panic!("{other:?}"),
        });
    });
}

#[test]
fn a_signal_comes_before_the_end_of_its_run_or_is_refused() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&deaf(), Stage::Due).await;
        let results = deliver_and_send(&arena, &runs).await;
        compare(&arena.signal_stories().await, &results, 2, |result| match result {
            (true, Sent::Buffered) => "completed | work completed 1 | signal_received sal, signals_unconsumed  | \
                                       paid  kept | by "
                .to_owned(),
            (true, Sent::Ended(RunStatus::Completed)) => "completed | work completed 1 | by ".to_owned(),
            other => panic!("the step completes in any case: {other:?}"),
        });
    });
}

#[test]
fn of_two_signals_under_one_key_the_first_counts() {
    block_on(async {
        let mut arena = Arena::new().await;
        let runs = arena.place(&paying(), Stage::Asked).await;
        let results = arena
            .race(&runs, |run, number| {
                let send = |process: usize, actor: &str, amount| {
                    let signal = arena.processes[process].signal_run(run, "paid", &paid(amount));
                    signal.dedup_key("evt_9").actor(actor).into_future()
                };
                let (sal, sam) = (send(0, "sal", 1), send(1, "sam", 2));
                async move {
                    let (sal, sam) = both(number, sal, sam).await;
                    (sent(run, sal), sent(run, sam))
                }
            })
            .await;
        compare(&arena.signal_stories().await, &results, 2, |sent| {
            let (actor, amount) = match sent {
                (Sent::Received, Sent::Duplicate) => ("sal", 1),
                (Sent::Duplicate, Sent::Received) => ("sam", 2),
                other => panic!("exactly one counts: {other:?}"),
            };
            format!(
                "running | wait completed 1, go pending 0 | signal_received {actor} | go | \
                 paid evt_9 wait | by wait | gave {amount}"
            )
        });
    });
}

#[test]
fn of_two_signals_that_may_start_their_run_one_starts_it() {
    block_on(async {
        let arena = Arena::new().await;
        // Each number is the key of a run that is not there yet.
        let numbers: Vec<RunId> = (0..*RACES).map(sample::run_id).collect();
        let results = arena
            .race(&numbers, |key, number| {
                let send = |process: usize, actor: &str| {
                    let signal = arena.processes[process].signal_key("paying", key.to_string(), "paid", &paid(7));
                    signal.or_start(&json!({})).dedup_key(actor).actor(actor).into_future()
                };
                let (sal, sam) = (send(0, "sal"), send(1, "sam"));
                async move {
                    let (sal, sam) = both(number, sal, sam).await;
                    let (sal, sam) = (sal.unwrap(), sam.unwrap());
                    assert_eq!(sal.run, sam.run, "they mean one run");
                    assert_eq!([sal.receipt, sam.receipt], [SignalReceipt::Buffered, SignalReceipt::Buffered]);
                    sal.run
                }
            })
            .await;
        let stories = arena.signal_stories().await;
        assert_eq!(stories.len() as u64, *RACES, "one run for each key");
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for run in results.values() {
            *seen.entry(stories[run].as_str()).or_default() += 1;
        }
        let expected = ["sal, signal_received sam", "sam, signal_received sal"].map(|actors| {
            let kept = "paid sal kept, paid sam kept";
            format!("pending | wait pending 0 | signal_received {actors} | wait | {kept} | by  | gave ")
        });
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), expected, "each of them came first sometimes: {seen:#?}");
    });
}
