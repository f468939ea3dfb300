//! Signals: facts from outside, and the steps that wait for them.
//!
//! A signal and the begin of its wait are two decisions on one revision of the run, so they cannot miss each other:
//! whichever comes second finds what the first one stored. Knows what has come and what waits; never knows who sends.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::advance::{complete_step, fail_step, follow};
use super::context;
use super::describe::DescribeJobs;
use super::manual::Attribution;
use super::settle::finish_step;
use super::unit_of_work::{Allowed, UnitOfWork};
use super::way::has_no_way_on;
use crate::contract::PayloadErrors;
use crate::definition::{StepKind, Target, similar};
use crate::dispatch::IntentKey;
use crate::event::EventKind;
use crate::json::{JsonViolation, object_size};
use crate::name::{SignalName, StepName, listed};
use crate::run::{
    AttemptStatus, AuditEvent, AuditKind, Failure, FailureKind, InvalidTransition, ReceivedSignal, RunStatus, StepRun,
    StepStatus,
};

/// A signal as it was sent.
#[derive(Clone, Debug)]
pub struct SentSignal {
    /// The name of the signal.
    pub name: String,
    /// The payload, not validated yet.
    pub payload: Value,
    /// The sender's key: a second signal of this name under it changes nothing.
    pub dedup_key: Option<String>,
    /// The sender.
    pub attribution: Attribution,
}

/// What became of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalReceipt {
    /// It completed the step that waited for it.
    Received {
        /// The step.
        step: StepName,
    },
    /// It is kept for the next step that waits for it.
    Buffered,
    /// The run had received a signal of this name under the same key. Nothing was changed.
    Duplicate,
}

/// The limit on the signals of a run that no step has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalLimit {
    /// Their number.
    #[error("{0} signals")]
    Count(usize),
    /// The size of their payloads together, in bytes of compact JSON.
    #[error("{0} bytes of signals")]
    Bytes(usize),
}

/// The reason why a run does not accept a signal. The run is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalRefused {
    /// The run has ended, or is being cancelled.
    #[error("the run is {status} and receives no signals any more")]
    Ended {
        /// The status of the run.
        status: RunStatus,
    },
    /// The run's version of the workflow declares no such signal.
    #[error("{signal:?} is no signal of the run's version of its workflow, which declares: {}", listed(.declared))]
    UnknownSignal {
        /// The name that was sent, cut to 100 characters.
        signal: String,
        /// The declared signals.
        declared: Vec<SignalName>,
        /// The declared signal of a similar name, if there is one.
        similar: Option<String>,
    },
    /// The payload does not fit the contract of the signal.
    #[error("signal {signal}: {errors}")]
    InvalidPayload {
        /// The signal.
        signal: SignalName,
        /// Every violation of the contract, by path.
        errors: PayloadErrors,
    },
    /// The payload, which becomes the output of a step that waits for the signal, cannot be stored under the key that
    /// this step declares.
    #[error("signal {signal}: the payload as the output of step {step} was refused: {why}")]
    Unacceptable {
        /// The signal.
        signal: SignalName,
        /// The step.
        step: StepName,
        /// The violated rule.
        why: JsonViolation,
    },
    /// The payload does not fit into the context of the run, whose step waits for it.
    #[error(
        "the signal takes the context of the run to {bytes} bytes, beyond its limit of {limit} bytes: send a reference to the data, or raise the limit (`Config::max_context_bytes`)"
    )]
    ContextTooLarge {
        /// The step that waits.
        step: StepName,
        /// The resulting size of the context, in bytes.
        bytes: usize,
        /// The maximum size: [`Config::max_context_bytes`](crate::Config::max_context_bytes).
        limit: usize,
    },
    /// The run holds as many signals that no step has taken as it may.
    #[error("the run holds {limit} that no step has taken, and may hold no more")]
    BufferFull {
        /// The limit.
        limit: SignalLimit,
    },
    /// The stored state contradicts itself.
    #[error(transparent)]
    InvalidTransition(#[from] InvalidTransition),
}

/// Gives a run a signal: it completes the step that waits for it, or is kept for the next one.
///
/// # Errors
/// [`SignalRefused`]; the run is then unchanged.
pub fn signal(
    work: &mut UnitOfWork,
    sent: &SentSignal,
    jobs: &dyn DescribeJobs,
) -> Result<SignalReceipt, SignalRefused> {
    if is_duplicate(work, sent) {
        return Ok(SignalReceipt::Duplicate);
    }
    let status = work.run().status;
    if status.is_terminal() || status == RunStatus::Cancelling {
        return Err(SignalRefused::Ended { status });
    }
    let received = accepted(work, sent)?;
    let name = received.name.clone();
    let waiting = waiting_for(work, &name);
    match &waiting {
        Some(step) => check_context(work, step, &received)?,
        None => check_room(work, &received)?,
    }
    let is_late = waiting.is_none() && has_expired(work, &name);
    let kind = if is_late { AuditKind::SignalLate } else { AuditKind::SignalReceived };
    work.signals_mut().push(received);
    work.audit(kind, |event| {
        event.step = waiting.clone();
        sent.attribution.clone().sign(event);
        event.metadata = Some(metadata(sent, event.metadata.take()));
    });
    let Some(step) = waiting else { return Ok(SignalReceipt::Buffered) };
    take_buffered(work, &step, jobs)?;
    let taken = work.state().signals.last().is_some_and(|signal| !signal.is_buffered());
    Ok(if taken { SignalReceipt::Received { step } } else { SignalReceipt::Buffered })
}

/// Gives a step that waits for a signal the oldest one that no step has taken, if there is one. A payload that does not
/// fit into the run's context fails the step, and so does one that the version does not accept any more by which the run
/// was adopted. Such a signal is kept: a run that resumes this one receives it again.
pub(super) fn take_buffered(work: &mut UnitOfWork, step: &StepName, jobs: &dyn DescribeJobs) -> Allowed {
    let Some(waiting) = work.state().steps.get(step) else { return Ok(()) };
    let Some(continuation) = waiting.continuation.as_ref() else { return Ok(()) };
    let (name, key) = (continuation.signal.clone(), continuation.output_key.clone());
    let is_next = |signal: &ReceivedSignal| signal.is_buffered() && Some(&signal.name) == name.as_ref();
    let Some(place) = work.state().signals.iter().position(is_next) else { return Ok(()) };
    let payload = work.state().signals.get(place).and_then(|signal| signal.payload.clone()).unwrap_or_default();
    work.remove_intent(IntentKey::step(work.run().id, step.clone()));
    let contract = name.as_ref().and_then(|name| work.definition().signal(name.as_str())).map(|found| found.contract());
    let fits = contract.map(|it| it.resolve(Value::Object((*payload).clone()), work.now().date(), &work.limits().json));
    if let Some(Err(errors)) = fits {
        let message = format!("the signal does not fit the version that the run was adopted by: {errors}");
        return fail_waiting(work, step, Failure::new(FailureKind::INVALID_OUTPUT, message).at(step), jobs);
    }
    let output = under(key, payload);
    let bytes = object_size(&output);
    if let Some(with) = context::overflow(work, step, &output, bytes) {
        let failure = context::too_large(work, step, with);
        return fail_waiting(work, step, failure, jobs);
    }
    if let Some(signal) = work.signals_mut().get_mut(place) {
        (signal.payload, signal.taken_by) = (None, Some(step.clone()));
    }
    work.count_output(bytes);
    complete_step(work, step, output, (None, None), jobs)
}

/// Returns a payload as the output of a step, under the key that the step declares.
fn under(key: Option<String>, payload: Arc<Map<String, Value>>) -> Arc<Map<String, Value>> {
    match key {
        Some(key) => Arc::new(Map::from_iter([(key, Value::Object(Arc::unwrap_or_clone(payload)))])),
        None => payload,
    }
}

/// Fails a step whose deadline has passed without its signal. Returns `false` if the step does not wait for a signal, or
/// has no deadline.
pub(super) fn expire_wait(work: &mut UnitOfWork, step: &StepName, jobs: &dyn DescribeJobs) -> Allowed<bool> {
    let Some(continuation) = work.state().steps.get(step).and_then(|run| run.continuation.clone()) else {
        return Ok(false);
    };
    let (Some(signal), Some(target)) = (&continuation.signal, &continuation.expired) else { return Ok(false) };
    work.remove_intent(IntentKey::step(work.run().id, step.clone()));
    work.audit(AuditKind::Expired, |event| event.step = Some(step.clone()));
    let message = format!("the signal {signal} did not come in time");
    let failure = Failure::new(FailureKind::EXPIRED, message).at(step);
    if !continuation.own_deadline {
        fail_waiting(work, step, failure, jobs)?;
        return Ok(true);
    }
    // The deadline's own target is no error transition: the run leaves the step as it leaves one that completed.
    let is_final = *target == Target::Fail;
    end_failed(work, step, &failure, is_final);
    finish_step(work, step, StepStatus::Failed);
    let sequence = work.next_sequence();
    work.change_step(step, |run| run.sequence = Some(sequence));
    follow(work, step, target, None, jobs)?;
    Ok(true)
}

/// Fails a step that waits for a signal.
fn fail_waiting(work: &mut UnitOfWork, step: &StepName, failure: Failure, jobs: &dyn DescribeJobs) -> Allowed {
    let is_final = has_no_way_on(work, step, &failure.kind);
    end_failed(work, step, &failure, is_final);
    fail_step(work, step, failure, jobs)
}

/// Closes the attempt of a step that waits for a signal as failed.
fn end_failed(work: &mut UnitOfWork, step: &StepName, failure: &Failure, is_final: bool) {
    let (attempt, duration) = work.end_attempt(step, AttemptStatus::Failed, Some(failure.clone()));
    work.change_step(step, |run| run.failures = run.failures.saturating_add(1));
    let error = failure.clone();
    work.emit(EventKind::StepFailed { step: step.clone(), attempt, duration, error, is_final });
}

fn is_duplicate(work: &UnitOfWork, sent: &SentSignal) -> bool {
    let Some(key) = sent.dedup_key.as_deref() else { return false };
    let is_it = |signal: &ReceivedSignal| signal.name == *sent.name && signal.dedup_key.as_deref() == Some(key);
    work.state().signals.iter().any(is_it)
}

/// Returns the signal as the run keeps it, if its version of the workflow accepts it.
fn accepted(work: &UnitOfWork, sent: &SentSignal) -> Result<ReceivedSignal, SignalRefused> {
    let definition = work.definition();
    let Some(declared) = definition.signal(&sent.name) else {
        let names = || definition.signals().iter().map(|signal| signal.name().clone());
        return Err(SignalRefused::UnknownSignal {
            signal: sent.name.chars().take(100).collect(),
            similar: similar(&sent.name, definition.signals().iter().map(|signal| signal.name().as_str())),
            declared: names().collect(),
        });
    };
    let name = declared.name().clone();
    let payload = declared.contract().resolve(sent.payload.clone(), work.now().date(), &work.limits().json);
    let payload = match payload {
        Ok(payload) => Arc::new(payload),
        Err(errors) => return Err(SignalRefused::InvalidPayload { signal: name, errors }),
    };
    for step in definition.steps() {
        let StepKind::WaitFor { signal } = &step.kind else { continue };
        if let (true, Some(key)) = (name == signal.as_str(), &step.output) {
            let output = under(Some(key.clone()), Arc::clone(&payload));
            if let Err(why) = work.limits().json.measure_object(&output) {
                return Err(SignalRefused::Unacceptable { signal: name, step: step.name.clone(), why });
            }
        }
    }
    let (dedup_key, at) = (sent.dedup_key.clone(), work.now());
    Ok(ReceivedSignal { id: work.inputs().token, name, dedup_key, payload: Some(payload), taken_by: None, at })
}

/// Checks that the payload fits into the run's context as the output of the step that waits for it.
fn check_context(work: &mut UnitOfWork, step: &StepName, received: &ReceivedSignal) -> Result<(), SignalRefused> {
    let stored = work.state().steps.get(step).and_then(|run| run.continuation.as_ref());
    let key = stored.and_then(|stored| stored.output_key.clone());
    let output = under(key, received.payload.clone().unwrap_or_default());
    let bytes = object_size(&output);
    match context::overflow(work, step, &output, bytes) {
        None => Ok(()),
        Some(with) => {
            let limit = work.limits().context;
            Err(SignalRefused::ContextTooLarge { step: step.clone(), bytes: with, limit })
        }
    }
}

/// Returns the step that waits for a signal of this name.
fn waiting_for(work: &UnitOfWork, name: &SignalName) -> Option<StepName> {
    let mut paused = work.state().in_status(StepStatus::Paused);
    paused.find(|run| waits_for(run, name)).map(|run| run.step.clone())
}

fn waits_for(run: &StepRun, name: &SignalName) -> bool {
    run.continuation.as_ref().is_some_and(|stored| stored.signal.as_ref() == Some(name))
}

/// Returns whether a step has waited for a signal of this name in vain.
fn has_expired(work: &UnitOfWork, name: &SignalName) -> bool {
    let is_expired =
        |run: &StepRun| run.last_error.as_ref().is_some_and(|failure| failure.kind == FailureKind::EXPIRED);
    work.state().in_status(StepStatus::Failed).any(|run| waits_for(run, name) && is_expired(run))
}

/// Checks that the run may keep one more signal that no step has taken.
fn check_room(work: &UnitOfWork, received: &ReceivedSignal) -> Result<(), SignalRefused> {
    let (count, bytes) = (work.limits().signals, work.limits().signal_bytes);
    let buffered = || work.state().signals.iter().filter(|signal| signal.is_buffered());
    if buffered().count() >= count {
        return Err(SignalRefused::BufferFull { limit: SignalLimit::Count(count) });
    }
    let held = buffered().chain([received]).map(ReceivedSignal::payload_bytes).fold(0, usize::saturating_add);
    if held > bytes { Err(SignalRefused::BufferFull { limit: SignalLimit::Bytes(bytes) }) } else { Ok(()) }
}

/// Returns the metadata of the entry in the audit trail: the name of the signal, its key, and the sender's metadata.
fn metadata(sent: &SentSignal, own: Option<Map<String, Value>>) -> Map<String, Value> {
    let key = sent.dedup_key.clone().map(|key| ("dedup_key".to_owned(), Value::String(key)));
    let own = own.map(|own| ("metadata".to_owned(), Value::Object(own)));
    [Some((AuditEvent::SIGNAL.to_owned(), Value::String(sent.name.clone()))), key, own].into_iter().flatten().collect()
}
