//! Cron triggers. Time is real in databases, so the scenarios make occurrences due by moving a trigger's position
//! into the past.

use std::collections::BTreeSet;
use std::time::Duration;

use sea_orm::ConnectionTrait;
use serde_json::json;
use squidmesh_core::command::{DeliveryOutcome, PerformError, TriggerError};
use squidmesh_core::definition::{MissedPolicy, QueueName, TriggerName, WorkflowName};
use squidmesh_core::dispatch::InvalidMessage;
use squidmesh_core::event::{EventKind, IgnoreReason};
use squidmesh_core::port::StoreError;
use squidmesh_core::run::RunSummary;
use squidmesh_core::schedule::{Schedule, TriggerEventKind, TriggerRecord};
use squidmesh_core::testing::Fault;
use squidmesh_core::{COMPLETE, Field, RunFilter, RunStatus, Timestamp, Trigger, Workflow, hours, minutes};

use super::{done, nothing};
use crate::{Backend, Behavior, Journal, World};

const WORKFLOW: &str = "settlement";
const TRIGGER: &str = "nightly";

fn scheduled(expression: &str, time_zone: &str, missed: MissedPolicy) -> Workflow {
    on_queue(&Journal::new(), Trigger::cron(TRIGGER).expression(expression).time_zone(time_zone).missed(missed), None)
}

fn on_queue(journal: &std::sync::Arc<Journal>, trigger: Trigger, queue: Option<&str>) -> Workflow {
    let step = journal.step("settle", done);
    let step = match queue {
        Some(queue) => step.queue(queue),
        None => step,
    };
    Workflow::builder(WORKFLOW)
        .trigger(trigger)
        .trigger(Trigger::manual("by_hand").field(Field::string("why").optional()))
        .step(step)
        .then("settle", COMPLETE)
        .build()
        .unwrap()
}

async fn now(backend: &Backend) -> Timestamp {
    backend.store().triggers(&[]).await.unwrap().now
}

fn ago(now: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - i64::try_from(span.as_millis()).unwrap())
}

/// Records that the trigger was last processed at a time, as if every process had been down since.
async fn down_since(backend: &Backend, expression: &str, time_zone: &str, since: Timestamp) {
    dealt_with(backend, TRIGGER, expression, time_zone, since).await;
}

async fn dealt_with(backend: &Backend, trigger: &str, expression: &str, time_zone: &str, since: Timestamp) {
    let mut record = TriggerRecord::new(WorkflowName::new(WORKFLOW).unwrap(), TriggerName::new(trigger).unwrap());
    record.positions.insert(Schedule::new(expression, time_zone).unwrap().to_string(), since);
    record.revision = 1;
    assert!(backend.store().compare_and_set_trigger(&record).await.unwrap());
}

/// Fires the triggers until no occurrence is due, and returns the number of runs started.
async fn fire(world: &World) -> usize {
    let mut runs = 0;
    loop {
        let fired = world.runner().fire_due().await.unwrap();
        runs += fired.runs;
        if fired.runs == 0 && fired.next_in.is_none_or(|next| !next.is_zero()) {
            return runs;
        }
    }
}

async fn runs(world: &World) -> Vec<RunSummary> {
    let mut runs = world.list_runs(&RunFilter::new().limit(1_000)).await.unwrap().runs;
    runs.sort_by_key(|run| run.intended_at);
    runs
}

/// Returns the intended times of all runs, in order; none may occur twice.
async fn intended(world: &World) -> Vec<Timestamp> {
    let times: Vec<Timestamp> = runs(world).await.iter().filter_map(|run| run.intended_at).collect();
    assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), times.len(), "fired twice: {times:?}");
    times
}

/// Returns the occurrences after one time, up to and including another.
fn between(expression: &str, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    Schedule::new(expression, "UTC").unwrap().upcoming(after).take_while(|time| *time <= until).collect()
}

pub async fn a_cron_trigger_has_an_expression_and_a_time_zone(backend: &Backend) {
    let before = now(backend).await;
    let world = backend.world([scheduled("0 3 * * *", "Asia/Kathmandu", MissedPolicy::Skip)]);
    let status = world.triggers().await.unwrap().remove(0);
    assert_eq!((status.workflow.as_str(), status.trigger.as_str()), (WORKFLOW, TRIGGER));
    assert_eq!(status.schedule, "0 3 * * * Asia/Kathmandu");
    assert_eq!((status.paused_at, status.position), (None, None));
    let next = world.next_occurrences(WORKFLOW, TRIGGER, 3).await.unwrap();
    assert_eq!(next.len(), 3);
    assert_eq!(status.next, Some(next[0]));
    assert!(next[0] > before);
    // Three in the morning is a quarter past nine on the evening before, in UTC.
    assert!(next.iter().all(|time| time.to_string().ends_with("T21:15:00.000Z")), "{next:?}");
    assert_eq!(next[2].since(next[0]), hours(48));
}

pub async fn a_trigger_seen_for_the_first_time_fires_nothing_for_the_past(backend: &Backend) {
    let world = backend.world([scheduled("0 0 1 1 *", "UTC", MissedPolicy::All)]);
    let before = now(backend).await;
    assert_eq!(fire(&world).await, 0);
    let status = world.triggers().await.unwrap().remove(0);
    assert!(status.position.is_some_and(|position| position >= before), "{status:?}");
}

pub async fn each_occurrence_fires_once_however_many_processes_run(backend: &Backend) {
    const EXPRESSION: &str = "*/10 * * * *";
    let since = ago(now(backend).await, hours(20));
    down_since(backend, EXPRESSION, "UTC", since).await;
    let worlds: Vec<World> = (0..5).map(|_| backend.world([scheduled(EXPRESSION, "UTC", MissedPolicy::All)])).collect();
    let looks = worlds.iter().map(fire);
    let fired: usize = futures_util::future::join_all(looks).await.into_iter().sum();
    let times = intended(&worlds[0]).await;
    assert_eq!(fired, times.len(), "each was started by one of them");
    let expected = between(EXPRESSION, since, now(backend).await);
    assert!(times.len() >= 120 && expected.starts_with(&times), "{times:?}");
    // Runs that a schedule started are executed like any other.
    let ids: Vec<_> = runs(&worlds[0]).await.iter().take(3).map(|run| run.id).collect();
    for details in worlds[0].settle_all(ids).await {
        assert_eq!(details.run.status, RunStatus::Completed);
    }
}

pub async fn workers_fire_what_is_due_without_being_asked(backend: &Backend) {
    let since = ago(now(backend).await, minutes(90));
    down_since(backend, "0 * * * *", "UTC", since).await;
    let world = backend.world([scheduled("0 * * * *", "UTC", MissedPolicy::Once)]);
    world.working(world.until(|event| matches!(event.kind, EventKind::RunCreated))).await;
    let run = runs(&world).await.remove(0);
    assert_eq!(run.trigger.as_str(), TRIGGER);
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

pub async fn an_occurrences_key_names_workflow_trigger_and_nominal_time(backend: &Backend) {
    let now = now(backend).await;
    down_since(backend, "0 * * * *", "UTC", ago(now, minutes(70))).await;
    let world = backend.world([scheduled("0 * * * *", "UTC", MissedPolicy::Once)]);
    let due = *between("0 * * * *", ago(now, minutes(70)), now).last().unwrap();
    // The host's own scheduler delivers it first, and again afterwards.
    let payload =
        json!({"v": 1, "kind": "cron", "workflow": WORKFLOW, "trigger": TRIGGER, "intended_at": due}).to_string();
    assert!(matches!(world.runner().perform(payload.as_bytes()).await.unwrap(), DeliveryOutcome::Done { .. }));
    let first = world.find_run(WORKFLOW, &format!("cron:{TRIGGER}:{due}")).await.unwrap().unwrap();
    assert_eq!(first.intended_at, Some(due));
    assert_eq!(fire(&world).await, 0);
    assert!(matches!(world.runner().perform(payload.as_bytes()).await.unwrap(), DeliveryOutcome::Done { .. }));
    assert_eq!(runs(&world).await.len(), 1);
    let unknown = payload.replace(TRIGGER, "weekly");
    let delivery = world.runner().perform(unknown.as_bytes()).await.unwrap_err();
    assert!(matches!(delivery, PerformError::UnknownTrigger { .. }), "{delivery:?}");
}

pub async fn a_run_is_given_its_intended_time(backend: &Backend) {
    let now = now(backend).await;
    down_since(backend, "0 0 * * *", "UTC", ago(now, hours(24))).await;
    let journal = Journal::new();
    let trigger = Trigger::cron(TRIGGER).expression("0 0 * * *").time_zone("UTC").missed(MissedPolicy::Once);
    let world = backend.world([on_queue(&journal, trigger, None)]);
    assert_eq!(fire(&world).await, 1);
    let run = runs(&world).await.remove(0);
    let midnight = *between("0 0 * * *", ago(now, hours(24)), now).last().unwrap();
    assert_eq!(run.intended_at, Some(midnight));
    assert_eq!(world.settle(run.id).await.run.intended_at, Some(midnight), "it is kept with the run");
    assert_eq!(journal.calls()[0].intended_at, Some(midnight), "a handler sees it");
    let again = world.replay_run(run.id).await.unwrap();
    assert_eq!(again.intended_at, Some(midnight), "a replay is for the same occurrence");
    let by_hand = world.start_run(WORKFLOW, &nothing()).trigger("by_hand").await.unwrap();
    assert_eq!(by_hand.intended_at, None);
}

pub async fn daylight_saving_gaps_and_repeats_are_handled_as_documented(backend: &Backend) {
    // In Berlin there was no 02:30 on 30 March 2025, and there were two on 26 October.
    let cases = [
        ("gap", "30 2 30 3 *", "2025-03-01T00:00:00Z", vec!["2025-03-30T01:00:00Z"]),
        ("repeat", "30 2 26 10 *", "2025-10-01T00:00:00Z", vec!["2025-10-26T00:30:00Z"]),
        (
            "hourly",
            "30 * 26 10 *",
            "2025-10-25T23:45:00Z",
            vec!["2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z", "2025-10-26T02:30:00Z"],
        ),
    ];
    let mut workflow = Workflow::builder(WORKFLOW).step(Journal::new().step("settle", done));
    for (trigger, expression, since, _) in &cases {
        let cron = Trigger::cron(trigger).expression(expression).time_zone("Europe/Berlin");
        workflow = workflow.trigger(cron.missed(MissedPolicy::All));
        dealt_with(backend, trigger, expression, "Europe/Berlin", since.parse().unwrap()).await;
    }
    let world = backend.world([workflow.then("settle", COMPLETE).build().unwrap()]);
    fire(&world).await;
    let runs = runs(&world).await;
    for (trigger, _, _, expected) in cases {
        let times = runs.iter().filter(|run| run.trigger.as_str() == trigger).filter_map(|run| run.intended_at);
        let times: Vec<Timestamp> = times.collect();
        let expected: Vec<Timestamp> = expected.iter().map(|time| time.parse().unwrap()).collect();
        assert!(times.starts_with(&expected), "{trigger}: {times:?}");
    }
}

pub async fn on_downtime_skip_leaves_the_missed_out(backend: &Backend) {
    let before = now(backend).await;
    down_since(backend, "* * * * *", "UTC", ago(before, hours(3))).await;
    let world = backend.world([scheduled("* * * * *", "UTC", MissedPolicy::Skip)]);
    fire(&world).await;
    // An occurrence due at this very minute was not missed.
    let times = intended(&world).await;
    assert!(times.iter().all(|time| *time >= ago(before, minutes(1))), "{times:?}");
    let status = world.triggers().await.unwrap().remove(0);
    assert!(status.position >= Some(ago(before, minutes(1))), "{status:?}");
}

pub async fn on_downtime_once_fires_one_run_for_all_that_were_missed(backend: &Backend) {
    let before = now(backend).await;
    down_since(backend, "0 * * * *", "UTC", ago(before, hours(50))).await;
    let world = backend.world([scheduled("0 * * * *", "UTC", MissedPolicy::Once)]);
    fire(&world).await;
    let last = between("0 * * * *", ago(before, hours(2)), before).pop().unwrap();
    assert_eq!(intended(&world).await[0], last, "it stands for the last of them");
    assert!(intended(&world).await.len() <= 2, "an hour may have begun meanwhile");
}

pub async fn on_downtime_all_fires_each_that_was_missed(backend: &Backend) {
    let since = ago(now(backend).await, hours(5));
    down_since(backend, "*/2 * * * *", "UTC", since).await;
    let world = backend.world([scheduled("*/2 * * * *", "UTC", MissedPolicy::All)]);
    fire(&world).await;
    let times = intended(&world).await;
    assert!(times.len() >= 150 && between("*/2 * * * *", since, now(backend).await).starts_with(&times), "{times:?}");
}

pub async fn a_paused_trigger_fires_nothing_until_it_is_resumed(backend: &Backend) {
    let before_pause = now(backend).await;
    let since = ago(before_pause, hours(3));
    down_since(backend, "* * * * *", "UTC", since).await;
    let world = backend.world([scheduled("* * * * *", "UTC", MissedPolicy::All)]);
    let other = backend.world([scheduled("* * * * *", "UTC", MissedPolicy::All)]);
    let paused = world.pause_trigger(WORKFLOW, TRIGGER).await.unwrap();
    assert!(paused.paused_at.is_some() && paused.next.is_none(), "{paused:?}");
    assert_eq!(world.pause_trigger(WORKFLOW, TRIGGER).await.unwrap(), paused, "twice is once");
    assert_eq!(other.triggers().await.unwrap()[0].paused_at, paused.paused_at);
    assert_eq!(fire(&other).await, 0);
    let due = between("* * * * *", since, before_pause)[0];
    let payload =
        json!({"v": 1, "kind": "cron", "workflow": WORKFLOW, "trigger": TRIGGER, "intended_at": due}).to_string();
    let delivery = other.runner().perform(payload.as_bytes()).await.unwrap();
    assert!(matches!(delivery, DeliveryOutcome::Ignored(IgnoreReason::TriggerPaused)), "{delivery:?}");
    assert_eq!(other.next_occurrences(WORKFLOW, TRIGGER, 2).await.unwrap().len(), 2);
    let before = now(backend).await;
    let resumed = other.resume_trigger(WORKFLOW, TRIGGER).await.unwrap();
    assert!(resumed.paused_at.is_none() && resumed.next.is_some(), "{resumed:?}");
    fire(&world).await;
    let times = intended(&world).await;
    assert!(times.iter().all(|time| *time > before), "what came during the pause is left out: {times:?}");
}

pub async fn a_trigger_paused_before_a_worker_saw_it_stays_paused(backend: &Backend) {
    let world = backend.world([scheduled("* * * * *", "UTC", MissedPolicy::All)]);
    world.pause_trigger(WORKFLOW, TRIGGER).await.unwrap();
    let fired = world.runner().fire_due().await.unwrap();
    assert_eq!((fired.runs, fired.next_in), (0, None));
    assert!(world.triggers().await.unwrap()[0].paused_at.is_some());
}

pub async fn a_trigger_that_is_not_cron_is_reported(backend: &Backend) {
    let world = backend.world([scheduled("0 3 * * *", "UTC", MissedPolicy::Skip)]);
    let unknown = world.pause_trigger("sttlement", TRIGGER).await.unwrap_err();
    assert!(matches!(unknown, TriggerError::UnknownWorkflow(_)), "{unknown}");
    let unknown = world.resume_trigger(WORKFLOW, "nihgtly").await.unwrap_err();
    assert_eq!(unknown.to_string(), "workflow settlement has no trigger \"nihgtly\"; it has: nightly, by_hand");
    let manual = world.next_occurrences(WORKFLOW, "by_hand", 1).await.unwrap_err();
    assert!(matches!(manual, TriggerError::NotCron { .. }), "{manual}");
    assert_eq!(backend.world([]).triggers().await.unwrap(), []);
}

pub async fn an_occurrence_that_is_refused_permanently_blocks_nothing(backend: &Backend) {
    let since = ago(now(backend).await, minutes(150));
    down_since(backend, "0 * * * *", "UTC", since).await;
    let trigger = Trigger::cron(TRIGGER).expression("0 * * * *").time_zone("UTC").missed(MissedPolicy::All);
    let world = backend.world([on_queue(&Journal::new(), trigger, Some("nowhere"))]);
    world.executor.behave(Behavior::Refuses(QueueName::new("nowhere").unwrap()));
    assert_eq!(fire(&world).await, 0);
    world.executor.behave(Behavior::Fine);
    let before = now(backend).await;
    fire(&world).await;
    assert!(intended(&world).await.iter().all(|time| *time > ago(before, minutes(1))), "they were left out");
    assert!(world.triggers().await.unwrap()[0].position > Some(ago(before, minutes(61))));
}

pub async fn an_occurrence_that_cannot_be_started_now_is_tried_again(backend: &Backend) {
    let since = ago(now(backend).await, minutes(150));
    down_since(backend, "0 * * * *", "UTC", since).await;
    let world = backend.world([scheduled("0 * * * *", "UTC", MissedPolicy::All)]);
    world.executor.behave(Behavior::Unavailable);
    let fired = world.runner().fire_due().await.unwrap();
    assert_eq!(fired.runs, 0);
    assert_eq!(fired.next_in, Some(Duration::from_secs(1)));
    world.executor.behave(Behavior::Fine);
    if let Some(memory) = backend.memory_store() {
        memory.fail_next_commit(Fault::Unavailable);
        assert_eq!(world.runner().fire_due().await.unwrap().next_in, Some(Duration::from_secs(1)));
    }
    fire(&world).await;
    let times = intended(&world).await;
    assert!(times.len() >= 2 && between("0 * * * *", since, now(backend).await).starts_with(&times), "{times:?}");
}

pub async fn an_unreadable_trigger_delays_no_other_workflow(backend: &Backend) {
    let Some(store) = backend.database_store() else { return }; // in memory nothing is ever unreadable
    let other = Workflow::builder("other")
        .trigger(Trigger::cron("often").expression("* * * * *").time_zone("UTC"))
        .step(Journal::new().step("only", done))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    down_since(backend, "0 * * * *", "UTC", ago(now(backend).await, minutes(90))).await;
    let world = backend.world([scheduled("0 * * * *", "UTC", MissedPolicy::All), other]);
    let spoil = "INSERT INTO squidmesh_triggers (workflow, trigger_name, positions, revision) \
                 VALUES ('other', 'often', 'no', 1)";
    store.connection().execute_unprepared(spoil).await.unwrap();
    assert!(fire(&world).await > 0);
    assert!(runs(&world).await.iter().all(|run| run.workflow.as_str() == WORKFLOW));
    let statuses = world.triggers().await.unwrap();
    assert!(statuses[0].unreadable.is_some() && statuses[0].next.is_none(), "{statuses:?}");
    assert!(statuses[1].unreadable.is_none() && statuses[1].next.is_some(), "{statuses:?}");
    let refused = world.pause_trigger("other", "often").await;
    assert!(matches!(refused, Err(TriggerError::Store(StoreError::Corrupt { .. }))), "{refused:?}");
}

pub async fn an_unreadable_trigger_stops_no_other_of_its_workflow(backend: &Backend) {
    let Some(store) = backend.database_store() else { return }; // in memory nothing is ever unreadable
    let hourly = |name| Trigger::cron(name).expression("0 * * * *").time_zone("UTC").missed(MissedPolicy::All);
    let workflow = Workflow::builder(WORKFLOW).trigger(hourly(TRIGGER)).trigger(hourly("spoiled"));
    let workflow = workflow.step(Journal::new().step("settle", done)).then("settle", COMPLETE).build().unwrap();
    down_since(backend, "0 * * * *", "UTC", ago(now(backend).await, minutes(90))).await;
    let spoil = format!(
        "INSERT INTO squidmesh_triggers (workflow, trigger_name, positions, revision) VALUES ('{WORKFLOW}', 'spoiled', 'no', 1)"
    );
    store.connection().execute_unprepared(&spoil).await.unwrap();
    let world = backend.world([workflow]);
    assert!(fire(&world).await > 0);
    assert!(runs(&world).await.iter().all(|run| run.trigger.as_str() == TRIGGER));
}

pub async fn missed_occurrences_are_reported_once_with_their_number(backend: &Backend) {
    let before = now(backend).await;
    down_since(backend, "0 * * * *", "UTC", ago(before, hours(50))).await;
    let worlds: Vec<World> =
        (0..3).map(|_| backend.world([scheduled("0 * * * *", "UTC", MissedPolicy::Skip)])).collect();
    futures_util::future::join_all(worlds.iter().map(fire)).await;
    let events: Vec<_> = worlds.iter().flat_map(|world| world.sink.trigger_events()).collect();
    let [event] = &events[..] else { panic!("one process reports it, once: {events:?}") };
    assert_eq!((event.workflow.as_str(), event.trigger.as_str()), (WORKFLOW, TRIGGER));
    let TriggerEventKind::OccurrencesMissed { missed, .. } = &event.kind else { panic!("{event:?}") };
    assert!((49..=51).contains(&missed.count), "{missed:?}");
    for world in &worlds {
        assert_eq!(world.triggers().await.unwrap()[0].missed_occurrences.as_ref(), Some(missed));
    }
}

pub async fn a_position_ahead_of_the_clock_stops_no_schedule(backend: &Backend) {
    let before = now(backend).await;
    let tomorrow = before.after(hours(24));
    down_since(backend, "* * * * *", "UTC", tomorrow).await;
    let world = backend.world([scheduled("* * * * *", "UTC", MissedPolicy::All)]);
    let promised = world.triggers().await.unwrap()[0].next.unwrap();
    assert!(promised <= before.after(minutes(1)), "{promised}");
    fire(&world).await;
    let events = world.sink.trigger_events();
    let went_back = TriggerEventKind::ClockWentBack { position: tomorrow };
    assert_eq!(events.iter().map(|event| &event.kind).collect::<Vec<_>>(), [&went_back]);
    let status = world.triggers().await.unwrap().remove(0);
    assert!(status.position <= Some(before.after(minutes(1))), "{status:?}");
    assert!(status.next.is_some_and(|next| next <= before.after(minutes(2))), "{status:?}");
}

pub async fn a_delivery_that_is_no_occurrence_starts_nothing(backend: &Backend) {
    let world = backend.world([scheduled("0 3 * * *", "UTC", MissedPolicy::Skip)]);
    let deliver = async |workflow: &str, trigger: &str, at: &str| {
        let payload = json!({"v": 1, "kind": "cron", "workflow": workflow, "trigger": trigger, "intended_at": at});
        world.runner().perform(payload.to_string().as_bytes()).await
    };
    let refused = deliver(WORKFLOW, TRIGGER, "2026-01-05T03:00:00.001Z").await;
    assert!(matches!(refused, Err(PerformError::InvalidMessage(InvalidMessage::NoOccurrence { .. }))), "{refused:?}");
    let refused = deliver(WORKFLOW, "by_hand", "2026-01-05T03:00:00Z").await;
    assert!(matches!(refused, Err(PerformError::InvalidMessage(InvalidMessage::ManualTrigger { .. }))), "{refused:?}");
    let left = deliver("elsewhere", TRIGGER, "2026-01-05T03:00:00Z").await;
    assert!(matches!(left, Err(PerformError::UnknownTrigger { .. })), "{left:?}");
    assert_eq!(world.sink.names(), ["trigger.unknown_occurrence"]);
    assert_eq!(runs(&world).await, []);
    assert_eq!(world.triggers().await.unwrap()[0].position, None, "nothing was touched");
}

pub async fn who_paused_a_trigger_is_recorded(backend: &Backend) {
    let world = backend.world([scheduled("0 3 * * *", "UTC", MissedPolicy::Skip)]);
    let paused = world.pause_trigger(WORKFLOW, TRIGGER).actor("gül").await.unwrap();
    assert_eq!(paused.actor.as_deref(), Some("gül"));
    assert_eq!(world.triggers().await.unwrap(), [paused]);
}
