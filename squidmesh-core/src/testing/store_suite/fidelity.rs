//! What is stored is read back exactly, to the last digit and letter.

use serde_json::{Map, Value, json};

use super::StoreFixture;
use super::setup::{committed, history, started, state};
use crate::definition::{Guard, RecoveryPolicy, RecoveryRoute, Target, Transition, TransitionOutcome, not, secs, when};
use crate::dispatch::IntentKey;
use crate::name::WorkflowName;
use crate::port::StepWrite;
use crate::run::{
    AttemptStatus, CompensationRun, CompensationStatus, Failure, InputSnapshot, ManualAction, PausedContinuation,
    StepRun, StepStatus,
};
use crate::testing::sample;
use crate::time::Timestamp;

pub async fn text_of_every_script_reads_back(fixture: &dyn StoreFixture) {
    let all_below: String = (1..0x300).filter_map(char::from_u32).collect();
    reads_back(
        fixture,
        json!({
            "scripts": "Größe Ωμέγα Привет שלום مرحبا 你好 こんにちは 한국어 ไทย",
            "beyond the first plane": "🦑 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 👩‍👩‍👧‍👦 \u{10ffff}",
            "marks": "é e\u{301} \u{200b}\u{200f}\u{feff}\u{2028}\u{2029}",
            "quotes": "' '' \" \\ \\u0041 \\\\ ` $1 ? :name %s {} -- ; DROP TABLE runs",
            "controls": all_below,
            "": "an empty key",
            "größe 🦑 'key' \"quoted\" \\": "an odd key",
            "long key ".repeat(500): true,
        }),
    )
    .await;
}

pub async fn numbers_read_back_exactly(fixture: &dyn StoreFixture) {
    reads_back(
        fixture,
        json!({
            "integers": [0, -1, 9_007_199_254_740_993_i64, i64::MAX, i64::MIN, u64::MAX],
            "floats": [
                0.1, -0.1, -0.0, 1.0, 100.0, 0.1 + 0.2, 1e300, -1e-300, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0 / 3.0,
                1e15, 1e16, 1e17, 1e21, 1e22, 123_456_789.123_456_78, 428.657_916_980_991_33, 940.251_336_045_093_9,
                -3.597_847_523_160_892e-242, 5.164_466_425_822_488e-228,
            ],
        }),
    )
    .await;
}

pub async fn the_shape_of_json_reads_back(fixture: &dyn StoreFixture) {
    let deep = (0..60).fold(json!(["bottom"]), |inner, level| {
        if level % 2 == 0 { json!({ "inner": inner, "level": level }) } else { json!([inner, level]) }
    });
    reads_back(
        fixture,
        json!({ "null": null, "true": true, "false": false, "empty": [{}, [], "", null], "nested": [[[[]]]], "deep": deep }),
    )
    .await;
}

pub async fn an_empty_object_reads_back(fixture: &dyn StoreFixture) {
    reads_back(fixture, json!({})).await;
}

pub async fn a_mebibyte_reads_back(fixture: &dyn StoreFixture) {
    let line = "0123456789abcdefghijklmnopqrstuvwxyz ÄÖÜ 🦑 ";
    let text: String = line.chars().cycle().take(900_000).collect();
    let list: Vec<u64> = (0..20_000).collect();
    reads_back(fixture, json!({ "text": text, "list": list })).await;
}

pub async fn a_copy_of_an_input_takes_the_place_of_the_reference(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let copied = StepRun { input: full_step().input, ..sample::step("first") };
    let mut commit = sample::next(&run);
    commit.steps.push(StepWrite::CopyInput(copied.clone()));
    let mut run = committed(&*store, commit).await;
    assert_eq!(state(&*store, run.id).await.steps[&copied.step], copied);

    // An ordinary update leaves it as it is, also beside the copy of another step.
    for second in [
        StepWrite::Create(sample::step("second")),
        StepWrite::CopyInput(StepRun { step: sample::step_name("second"), ..copied.clone() }),
    ] {
        let mut commit = sample::next(&run);
        commit.steps.push(StepWrite::Update(StepRun { attempt: 1, ..copied.clone() }));
        commit.steps.push(second.clone());
        run = committed(&*store, commit).await;
        let steps = state(&*store, run.id).await.steps;
        assert_eq!((&steps[&copied.step].input, steps[&copied.step].attempt), (&copied.input, 1));
        assert_eq!(&steps[&second.step().step], second.step());
    }
}

pub async fn every_field_of_a_step_run_reads_back(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let mut commit = sample::next(&run);
    let full = full_step();
    commit.steps.push(StepWrite::Update(StepRun {
        input: sample::step("first").input,
        recovery: RecoveryPolicy::default(),
        created_at: sample::step("first").created_at,
        ..full.clone()
    }));
    let created = StepRun { step: sample::step_name("second"), ..full.clone() };
    commit.steps.push(StepWrite::Create(created.clone()));
    let run = committed(&*store, commit).await;
    let steps = state(&*store, run.id).await.steps;
    assert_eq!(steps[&created.step], created);
    let updated = &steps[&full.step];
    assert_eq!(
        (&updated.output, &updated.manual, &updated.compensation),
        (&full.output, &full.manual, &full.compensation)
    );
    assert_eq!(updated.input, sample::step("first").input);

    // Everything that was set can be cleared again.
    let mut commit = sample::next(&run);
    commit.steps.push(StepWrite::Update(sample::step("first")));
    let run = committed(&*store, commit).await;
    assert_eq!(state(&*store, run.id).await.steps[&full.step], sample::step("first"));
}

pub async fn every_status_of_a_step_run_reads_back(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    for status in StepStatus::ALL {
        let mut commit = sample::next(&run);
        commit.steps.push(StepWrite::Update(StepRun { status, ..sample::step("first") }));
        run = committed(&*store, commit).await;
        assert_eq!(state(&*store, run.id).await.steps[&sample::step_name("first")].status, status);
    }
}

pub async fn a_failure_reads_back_with_its_details(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::next(&started(&*store, 1).await);
    let mut attempt = sample::attempt("first", 1);
    attempt.status = AttemptStatus::Failed;
    attempt.error = Some(failure());
    attempt.finished_at = Some(attempt.started_at.after(secs(2)));
    commit.run.last_error = Some(failure());
    commit.steps.push(StepWrite::Update(StepRun { last_error: Some(failure()), ..sample::step("first") }));
    commit.attempts.push(attempt.clone());
    let run = committed(&*store, commit).await;
    let stored = state(&*store, run.id).await;
    assert_eq!(stored.run.last_error, Some(failure()));
    assert_eq!(stored.steps[&sample::step_name("first")].last_error, Some(failure()));
    assert_eq!(history(&*store, run.id).await.attempts, [attempt]);
}

pub async fn a_null_that_was_given_is_not_read_as_nothing(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let failure = Failure { details: Some(Value::Null), ..failure() };
    let callback = CompensationRun { output: Some(Value::Null), ..CompensationRun::pending(sample::STARTED) };
    let step = StepRun { compensation: Some(callback), ..sample::step("first") };
    let mut commit = sample::next(&started(&*store, 1).await);
    commit.run.last_error = Some(failure.clone());
    commit.steps.push(StepWrite::Update(step.clone()));
    let run = committed(&*store, commit).await;
    let stored = state(&*store, run.id).await;
    assert_eq!(stored.run.last_error, Some(failure));
    assert_eq!(stored.steps[&step.step].compensation, step.compensation);
}

pub async fn times_read_back_to_the_millisecond(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let latest = Timestamp::from_millis(i64::MAX);
    for (number, millis) in [0, 1, 1_767_225_600_123, 4_102_444_800_999].into_iter().enumerate() {
        let mut commit = sample::start(number as u64);
        commit.run.created_at = Timestamp::from_millis(millis);
        commit.run.updated_at = Timestamp::from_millis(millis + 1);
        commit.run.finished_at = Some(latest);
        let run = committed(&*store, commit).await;
        assert_eq!(state(&*store, run.id).await.run, run);
    }
}

pub async fn names_of_any_letters_read_back(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let names = ["größe", "O'Reilly; --", "a/b", "%_", "squid 🦑", "UPPER", "upper", &"x".repeat(100), "\"quoted\""];
    for (number, name) in names.into_iter().enumerate() {
        let mut start = sample::start_of(&sample::definition_of(name, &["first", name]), number as u64);
        start.steps.push(StepWrite::Create(sample::step(name)));
        start.intents.push(crate::port::IntentWrite::Add(sample::intent(&start.run, name)));
        let run = committed(&*store, start).await;
        let stored = state(&*store, run.id).await;
        assert_eq!(stored.run.workflow, WorkflowName::new(name).unwrap());
        assert_eq!(stored.steps[&sample::step_name(name)], sample::step(name));
        let live = history(&*store, run.id).await.intents;
        assert!(live.iter().any(|intent| intent.key == IntentKey::step(run.id, sample::step_name(name))), "{name}");
    }
}

/// Stores an object as payload, input and output, and compares what is read back, as JSON text.
async fn reads_back(fixture: &dyn StoreFixture, value: Value) {
    let (store, _) = fixture.fresh().await;
    let object = sample::object(value);
    let mut commit = sample::start(1);
    commit.run.payload = object.clone();
    let input = InputSnapshot::Copy(object.clone());
    let step = StepRun { input, output: Some(object.clone()), ..sample::step("first") };
    commit.steps = vec![StepWrite::Create(step)];
    let run = committed(&*store, commit).await;
    let stored = state(&*store, run.id).await;
    let step = &stored.steps[&sample::step_name("first")];
    for (place, found) in [
        ("payload", &stored.run.payload),
        ("input", step.input.copy().unwrap()),
        ("output", step.output.as_ref().unwrap()),
    ] {
        assert_same_text(place, found, &object);
    }
}

#[track_caller]
fn assert_same_text(place: &str, found: &Map<String, Value>, expected: &Map<String, Value>) {
    for (key, expected) in expected {
        let found = found.get(key).map(Value::to_string);
        // Shortened: a message with a whole mebibyte is unreadable.
        let short = |text: &str| text.chars().take(2_000).collect::<String>();
        assert!(
            found == Some(expected.to_string()),
            "the {place} changed under {}: {} became {}",
            short(key),
            short(&expected.to_string()),
            short(found.as_deref().unwrap_or("nothing"))
        );
    }
    assert_eq!(found.len(), expected.len(), "the {place} has other keys");
}

fn failure() -> Failure {
    Failure {
        kind: "card_declined".into(),
        message: "the card was declined: “no funds”\nline two".to_owned(),
        step: Some(sample::step_name("first")),
        retryable: true,
        details: Some(json!({ "code": 51, "nested": [1.5, null, "ü"] })),
        chain: vec!["the gateway said no".to_owned(), "HTTP 402".to_owned()],
    }
}

/// Returns a transition with a condition.
fn routed() -> Transition {
    let condition = when("größe.0").at_least(0.1 + 0.2).or(not(when("näme").one_of(["ü", "\u{1}'"])));
    Transition {
        from: sample::step_name("first"),
        on: TransitionOutcome::Ok,
        guard: Some(Guard::If(condition)),
        to: Target::Step(sample::step_name("second")),
        recovery: None,
    }
}

/// Returns a step run with a value in every field.
fn full_step() -> StepRun {
    StepRun {
        step: sample::step_name("first"),
        status: StepStatus::Completed,
        input: InputSnapshot::Copy(sample::object(json!({ "in": [1, 2.5, "drei"] }))),
        recovery: RecoveryPolicy::IRREVERSIBLE,
        output: Some(sample::object(json!({ "out": { "nested": true } }))),
        last_error: Some(failure()),
        attempt: 7,
        failures: 5,
        crashes: 2,
        lease: Some(sample::lease_token(4)),
        sequence: Some(3),
        successors_at: Some(sample::STARTED.after(secs(3_600))),
        continuation: Some(PausedContinuation {
            signal: Some(sample::signal_name("payment")),
            ok: Target::Step(sample::step_name("second")),
            error: Some(Target::Complete),
            expired: Some(Target::Step(sample::step_name("third"))),
            own_deadline: true,
            guarded: vec![routed()],
            output_key: Some("review".to_owned()),
        }),
        manual: Some(ManualAction {
            decision: "approved".to_owned(),
            actor: Some("Zoë".to_owned()),
            comment: Some("fine".to_owned()),
            metadata: Some(Map::from_iter([("ticket".to_owned(), json!(12))])),
            at: sample::STARTED.after(secs(9)),
        }),
        routes: vec![RecoveryRoute::Undo, RecoveryRoute::Compensation],
        taken: Some(routed()),
        compensation: Some(CompensationRun {
            status: CompensationStatus::Failed,
            output: Some(json!("half done")),
            error: Some(failure()),
            attempt: 2,
            failures: 1,
            crashes: 1,
            lease: Some(sample::lease_token(5)),
            started_at: sample::STARTED.after(secs(20)),
            attempt_started_at: Some(sample::STARTED.after(secs(20))),
            finished_at: Some(sample::STARTED.after(secs(21))),
        }),
        created_at: sample::STARTED.after(secs(1)),
        started_at: Some(sample::STARTED.after(secs(2))),
        attempt_started_at: Some(sample::STARTED.after(secs(4))),
        finished_at: Some(sample::STARTED.after(secs(5))),
    }
}
