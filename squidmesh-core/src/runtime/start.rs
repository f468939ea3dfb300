//! Starting runs: the payload is validated before anything is stored; the run and its first dispatch are committed
//! together.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;

use super::awaited::awaited;
use super::begun_step::Handover;
use super::commit::RunKeptChanging;
use super::commit::announcement::Announcement;
use super::commit::resolve::{self, Resolution};
use super::handover::begin_steps;
use super::lookup_error::{UnknownTrigger, UnknownWorkflow, declared_trigger, trigger_names};
use super::{AfterCommit, Call, RetryBudget, RetryPolicy, Runtime, keys};
use crate::chain::debug_as_text;
use crate::contract::PayloadErrors;
use crate::engine::{self, Decision, DispatchRefused, NewRun, UnitOfWork};
use crate::id::RunId;
use crate::json::{self, JsonViolation};
use crate::name::{StepName, TriggerName, WorkflowName, listed};
use crate::port::{StoreError, StoreSession};
use crate::run::{InvalidTransition, Run};
use crate::time::Timestamp;
use crate::workflow::Workflow;

/// The operation, as errors name it.
pub(super) const STARTING: &str = "starting a run";

/// The reasons why a run was not started. Nothing was stored, except that after [`StoreError::OutcomeUnknown`] the
/// run may have been stored, or may yet be.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No workflow of this name is registered in this process.
    #[error(transparent)]
    UnknownWorkflow(#[from] UnknownWorkflow),
    /// The workflow has no such trigger.
    #[error(transparent)]
    UnknownTrigger(#[from] UnknownTrigger),
    /// The workflow has several triggers, and none was named.
    #[error("workflow {workflow} has several triggers, name one of them with `.trigger(…)`: {}", listed(.triggers))]
    TriggerNeeded {
        /// The workflow.
        workflow: WorkflowName,
        /// The triggers that the workflow has.
        triggers: Vec<TriggerName>,
    },
    /// The payload cannot be stored as JSON, or exceeds the limits.
    #[error("the payload was refused: {0}")]
    UnacceptablePayload(#[from] JsonViolation),
    /// The payload does not fit the trigger's contract.
    #[error("trigger {trigger} of workflow {workflow}: {errors}")]
    InvalidPayload {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
        /// Every violation of the contract, by path.
        errors: PayloadErrors,
    },
    /// The idempotency key is empty, too long, or contains a NUL.
    #[error("an idempotency key has 1 to 255 bytes and no NUL")]
    InvalidKey,
    /// The first step could not be dispatched.
    #[error(transparent)]
    Refused(#[from] DispatchRefused),
    /// The run kept changing, and the call gave up after some tries.
    #[error(transparent)]
    Conflict(#[from] RunKeptChanging),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

debug_as_text!(StartError);

/// A start of a run, to be configured and awaited. Created by [`Squidmesh::start_run`](crate::Squidmesh::start_run).
#[must_use = "a run is started when this is awaited"]
pub struct StartRun<'a> {
    runtime: Arc<Runtime>,
    within: Option<Within<'a>>,
    workflow: String,
    trigger: Option<String>,
    payload: Result<Value, JsonViolation>,
    idempotency_key: Option<String>,
    own_key: Option<String>,
    intended_at: Option<Timestamp>,
    replay: Option<(RunId, Option<String>)>,
    timeout: Duration,
}

impl<'a> StartRun<'a> {
    pub(crate) fn new<P: Serialize + ?Sized>(runtime: Arc<Runtime>, workflow: &str, payload: &P) -> Self {
        StartRun {
            timeout: runtime.config.call_timeout,
            runtime,
            within: None,
            workflow: workflow.to_owned(),
            trigger: None,
            payload: json::to_value(&payload),
            idempotency_key: None,
            own_key: None,
            intended_at: None,
            replay: None,
        }
    }

    pub(super) fn within(mut self, session: &'a dyn StoreSession, after: &'a AfterCommit) -> Self {
        self.within = Some((session, after));
        self
    }

    /// Sets the trigger; may be omitted if the workflow has only one.
    pub fn trigger(mut self, name: impl AsRef<str>) -> Self {
        self.trigger = Some(name.as_ref().to_owned());
        self
    }

    /// Starts at most one run of the workflow under this key: a second start returns the current state of the first
    /// run, regardless of its payload. The payload is still validated first: an invalid one is refused although the
    /// key is taken. Keys have 1 to 255 bytes. A host's key never collides with a key that the runtime itself
    /// creates.
    pub fn idempotency_key(mut self, key: impl AsRef<str>) -> Self {
        self.idempotency_key = Some(key.as_ref().to_owned());
        self
    }

    /// Starts at most one run under a key that the runtime created and that no host can give, if there is one.
    pub(crate) fn own_key(mut self, key: Option<String>) -> Self {
        self.own_key = key;
        self
    }

    /// Sets the timeout of the call, instead of [`Config::call_timeout`](crate::Config::call_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts the run as a replay of another.
    pub(super) fn replaying(mut self, from: RunId, actor: Option<String>) -> Self {
        self.replay = Some((from, actor));
        self
    }

    /// Starts the run for an occurrence of a schedule.
    pub(crate) fn intended_at(mut self, time: Option<Timestamp>) -> Self {
        self.intended_at = time;
        self
    }

    /// Starts the run unless its key is taken, and returns whether it did. Does not load the run that has the key.
    pub(crate) async fn start_unless_taken(self) -> Result<bool, StartError> {
        let runtime = self.runtime.clone();
        let begin = self.begin()?;
        let call = Call::new(runtime.config.call_timeout);
        let begun = begin_in(&runtime, None, RetryPolicy::fail_fast(&call), begin);
        match call.bound::<_, StartError>(&*runtime.clock, STARTING, begun).await? {
            Begun::Started(..) => Ok(true),
            Begun::Taken(..) => Ok(false),
        }
    }

    /// Performs every check of [`start`](StartRun::start) without starting anything.
    pub(super) fn check(self) -> Result<(), StartError> {
        self.begin()?()?;
        Ok(())
    }

    /// Validates the start. Returns the function that creates the run's unit of work, for each try.
    pub(super) fn begin(self) -> Result<impl Fn() -> Result<UnitOfWork, DispatchRefused>, StartError> {
        let runtime = self.runtime.clone();
        let workflow = runtime.registry.registered(&self.workflow)?.clone();
        let new = self.validated(&runtime, &workflow)?;
        Ok(move || {
            let (definition, limits) = (workflow.definition().clone(), runtime.config.limits());
            engine::start(definition, new.clone(), runtime.inputs(), limits, &*runtime)
        })
    }

    async fn start(self) -> Result<Run, StartError> {
        let (runtime, call) = (self.runtime.clone(), Call::new(self.timeout));
        call.bound(&*runtime.clock, STARTING, self.start_in_call(RetryPolicy::fail_fast(&call))).await
    }

    /// Starts the run as part of a call.
    pub(super) async fn start_in_call(self, policy: RetryPolicy<'_>) -> Result<Run, StartError> {
        let runtime = self.runtime.clone();
        let (within, host_key) = (self.within, self.idempotency_key.clone());
        let workflow = runtime.registry.registered(&self.workflow)?.clone();
        let begin = self.begin()?;
        let session = session_of(&runtime, within);
        if let Some(key) = host_key
            && let Some(first) = keys::started_unmarked(session, workflow.definition().name(), &key).await?
        {
            return Ok(first);
        }
        Ok(keys::shown(start_in(&runtime, within, policy, begin).await?))
    }

    /// Returns the new run, with its payload validated and its defaults resolved.
    fn validated(self, runtime: &Runtime, workflow: &Workflow) -> Result<NewRun, StartError> {
        let definition = workflow.definition();
        let trigger = match (&self.trigger, definition.triggers()) {
            (Some(name), _) => declared_trigger(definition, name)?,
            (None, [only]) => only,
            (None, _) => {
                let (workflow, triggers) = (definition.name().clone(), trigger_names(definition));
                return Err(StartError::TriggerNeeded { workflow, triggers });
            }
        };
        let payload = self.payload?;
        let now = runtime.clock.now();
        let resolved = trigger.contract().resolve(payload, now.date(), &runtime.config.json);
        let payload = resolved.map_err(|errors| match errors.violation() {
            Some(violation) => StartError::UnacceptablePayload(violation.clone()),
            None => StartError::InvalidPayload {
                workflow: definition.name().clone(),
                trigger: trigger.name().clone(),
                errors,
            },
        })?;
        // Last: the key is often a part of the payload, whose errors name the field.
        if !self.idempotency_key.as_deref().is_none_or(keys::is_sound) {
            return Err(StartError::InvalidKey);
        }
        Ok(NewRun {
            id: runtime.entropy.run_id(now),
            trigger: trigger.name().clone(),
            payload,
            idempotency_key: self.own_key.or(self.idempotency_key.map(|key| keys::stored(&key).into_owned())),
            intended_at: self.intended_at,
            replay: self.replay,
        })
    }
}

/// The maximum number of concurrent starts. More would not need fewer transactions.
const MAX_CONCURRENT: usize = 1_024;

/// Performs many starts and returns one result per start, in order. Concurrent starts share the store's transactions.
/// The timeout of each begins when it is among the concurrent ones; once all of those fail because the store is
/// unavailable, the remaining ones are not tried.
pub(crate) async fn start_all<'a>(starts: impl IntoIterator<Item = StartRun<'a>>) -> Vec<Result<Run, StartError>> {
    let mut starts = starts.into_iter();
    let mut answers = Vec::new();
    loop {
        let some: Vec<_> = starts.by_ref().take(MAX_CONCURRENT).map(StartRun::start).collect();
        if some.is_empty() {
            return answers;
        }
        let some = join_all(some).await;
        let away = some.iter().all(is_of_the_store);
        answers.extend(some);
        if away {
            answers.extend(starts.map(|_| Err(not_tried())));
            return answers;
        }
    }
}

/// Returns whether a start failed because the store is unavailable.
fn is_of_the_store(answer: &Result<Run, StartError>) -> bool {
    matches!(answer, Err(StartError::Store(StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. })))
}

fn not_tried() -> StartError {
    let source = "none of the starts before it was answered, and it was not tried".into();
    StoreError::Unavailable { doing: STARTING, source }.into()
}

/// The host's transaction that a start takes part in, and what follows its commit.
pub(super) type Within<'a> = (&'a dyn StoreSession, &'a AfterCommit);

fn session_of<'a>(runtime: &'a Runtime, within: Option<Within<'a>>) -> &'a dyn StoreSession {
    within.map_or(&*runtime.store, |(session, _)| session)
}

/// Starts a run, and announces it once it is committed; if the key is taken, returns the run that has it. `begin` creates
/// a new unit of work for each try.
pub(super) async fn start_in(
    runtime: &Runtime,
    within: Option<Within<'_>>,
    policy: RetryPolicy<'_>,
    begin: impl Fn() -> Result<UnitOfWork, DispatchRefused>,
) -> Result<Run, StartError> {
    let mut tries = 0;
    loop {
        match begin_in::<_, StartError>(runtime, within, policy, &begin).await? {
            Begun::Started(run, _) => return Ok(*run),
            Begun::Taken(id, in_doubt) => {
                match session_of(runtime, within).load(id).await {
                    Ok(Some(first)) => return Ok(first.run),
                    Ok(None) => {}
                    // This very start may be the one that has the key.
                    Err(error) => return Err(in_doubt.unwrap_or(error).into()),
                }
                tries += 1;
                if tries == CONFLICTING_STARTS {
                    return Err(RunKeptChanging { run: id }.into());
                }
            }
        }
    }
}

/// The result of a start.
pub(super) enum Begun {
    /// The run was started, and announced; with the step that took a signal in the same commit, if that is known.
    Started(Box<Run>, Option<StepName>),
    /// This run has the key. The error is that of an earlier try that may have been applied.
    Taken(RunId, Option<StoreError>),
}

/// Begins the first step of a run that starts, if there is an idle worker for it.
fn begin_first(runtime: &Runtime, work: &mut UnitOfWork) -> Result<Option<Handover>, StoreError> {
    let begun = begin_steps(runtime, work, 1).map_err(|error| contradiction(work.run().id, &error))?;
    Ok(begun.into_iter().next())
}

/// Returns the error for a new run whose own state does not allow it to begin.
fn contradiction(run: RunId, error: &InvalidTransition) -> StoreError {
    StoreError::Corrupt { what: format!("run {run}"), reason: error.to_string() }
}

/// Returns whether a start was committed, or may yet be.
fn may_be_applied(resolved: &Result<Resolution, StoreError>) -> bool {
    matches!(resolved, Ok(Resolution::Committed(_) | Resolution::InDoubt(_)) | Err(StoreError::OutcomeUnknown { .. }))
}

/// Starts a run, and announces it once it is committed. `begin` creates a new unit of work for each try.
pub(super) async fn begin_in<B, E>(
    runtime: &Runtime,
    within: Option<Within<'_>>,
    policy: RetryPolicy<'_>,
    begin: impl Fn() -> Result<UnitOfWork, B>,
) -> Result<Begun, E>
where
    E: From<B> + From<StoreError> + From<RunKeptChanging>,
{
    let (session, mut tries, mut budget) = (session_of(runtime, within), 0, RetryBudget::new(policy));
    let mut in_doubt: Option<StoreError> = None;
    loop {
        // An earlier try may yet be applied: its error is then the answer, regardless of the next try.
        let mut work = match begin() {
            Ok(work) => work,
            Err(refused) => return Err(in_doubt.map_or_else(|| E::from(refused), E::from)),
        };
        let id = work.run().id;
        // The store knows best whether the definition is stored; what this process remembers may be older than the
        // database.
        work.store_definition();
        // A worker cannot begin what a host's transaction may undo, or keep open. If an earlier try may yet be applied,
        // the events of this one must be true of both.
        let begins = within.is_none() && in_doubt.is_none();
        let first = if begins { begin_first(runtime, &mut work)? } else { None };
        let Decision { commit, events, state } = work.close();
        let announcement = Announcement::of(&commit, events);
        // A start whose answer was lost is found by its id.
        let resolved = resolve::commit(session, &*runtime.clock, commit, &mut RetryBudget::new(policy)).await;
        let first = match may_be_applied(&resolved) {
            true => first,
            false => first.map(Handover::cancel).and(None),
        };
        match resolved {
            Ok(Resolution::Committed(found)) => {
                match within {
                    None => runtime.announce(&announcement),
                    Some((_, after)) => after.add(announcement),
                }
                if let Some(run) = found {
                    return Ok(Begun::Started(run, None));
                }
                let run = Box::new(state.run.clone());
                let taken_by = state.signals.iter().find_map(|signal| signal.taken_by.clone());
                if let Some(first) = first {
                    first.committed(Some(Arc::new(state)));
                }
                return Ok(Begun::Started(run, taken_by));
            }
            Ok(Resolution::KeyTaken(id)) => return Ok(Begun::Taken(id, in_doubt)),
            // It may yet be stored: its id is taken then.
            Ok(Resolution::InDoubt(error)) => in_doubt = Some(error),
            Ok(Resolution::Fenced | Resolution::Conflict) => {}
            Err(error) => match &in_doubt {
                Some(lost) if error.is_transient() => {
                    budget.wait_for_answer(&*runtime.clock, lost).await?;
                    continue;
                }
                _ => return Err(in_doubt.unwrap_or(error).into()),
            },
        }
        tries += 1;
        if tries == CONFLICTING_STARTS {
            return Err(in_doubt.map_or_else(|| E::from(RunKeptChanging { run: id }), E::from));
        }
    }
}

/// The maximum number of tries for a start whose id is taken, or whose key's run vanishes before it can be read.
const CONFLICTING_STARTS: usize = 3;

awaited!(StartRun<'a>, start -> Result<Run, StartError>);
