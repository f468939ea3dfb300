//! Starting runs: the payload is validated before anything is stored; the run and its first dispatch are one change.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;

use super::decide::{Announcement, NotStarted};
use super::{AfterCommit, Runtime};
use crate::engine::{self, NewRun, UnitOfWork};
use crate::{
    Definition, DispatchError, JsonViolation, PayloadErrors, Run, RunId, StoreError, StoreSession, Timestamp,
    TriggerName, Workflow, WorkflowName, json,
};

/// The longest idempotency key, in bytes.
const LONGEST_KEY: usize = 255;

/// Why a run was not started. Nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No workflow of this name is registered in this process.
    #[error("no workflow {workflow:?} is registered; registered are: {}", list(.registered))]
    UnknownWorkflow {
        /// As asked for.
        workflow: String,
        /// What there is.
        registered: Vec<WorkflowName>,
    },
    /// The workflow has no such trigger.
    #[error("workflow {workflow} has no trigger {trigger:?}; it has: {}", list(.triggers))]
    UnknownTrigger {
        /// The workflow.
        workflow: WorkflowName,
        /// As asked for.
        trigger: String,
        /// What there is.
        triggers: Vec<TriggerName>,
    },
    /// The workflow has several triggers and none was named.
    #[error("workflow {workflow} has several triggers, name one of them with `.trigger(…)`: {}", list(.triggers))]
    TriggerNeeded {
        /// The workflow.
        workflow: WorkflowName,
        /// What there is.
        triggers: Vec<TriggerName>,
    },
    /// The payload cannot be stored as JSON, or is beyond the limits.
    #[error("the payload was refused: {0}")]
    UnacceptablePayload(#[from] JsonViolation),
    /// The payload does not fit the trigger's contract.
    #[error("the payload does not fit trigger {trigger} of workflow {workflow}: {errors}")]
    InvalidPayload {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
        /// Every misfit, by path.
        errors: PayloadErrors,
    },
    /// The idempotency key is empty, too long or holds a NUL.
    #[error("an idempotency key has 1 to 255 bytes and no NUL")]
    InvalidKey,
    /// Who starts the run, by replaying or resuming another, cannot be stored.
    #[error("the actor was refused: {0}")]
    UnacceptableActor(#[source] JsonViolation),
    /// The first step could not be dispatched.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list<T: ToString>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The start of a run, to be completed and awaited. Made by [`Squidmesh::start_run`](crate::Squidmesh::start_run).
#[must_use = "a run is started when this is awaited"]
pub struct StartRun<'a> {
    runtime: Arc<Runtime>,
    within: Option<(&'a dyn StoreSession, &'a AfterCommit)>,
    workflow: String,
    trigger: Option<String>,
    payload: Result<Value, JsonViolation>,
    idempotency_key: Option<String>,
    intended_at: Option<Timestamp>,
    replay: Option<(RunId, Option<String>)>,
}

impl<'a> StartRun<'a> {
    pub(super) fn new<P: Serialize + ?Sized>(runtime: Arc<Runtime>, workflow: &str, payload: &P) -> Self {
        StartRun {
            runtime,
            within: None,
            workflow: workflow.to_owned(),
            trigger: None,
            payload: json::to_value(&payload),
            idempotency_key: None,
            intended_at: None,
            replay: None,
        }
    }

    pub(super) fn within(mut self, session: &'a dyn StoreSession, after: &'a AfterCommit) -> Self {
        self.within = Some((session, after));
        self
    }

    /// The trigger; may be left out when the workflow has but one.
    pub fn trigger(mut self, name: impl Into<String>) -> Self {
        self.trigger = Some(name.into());
        self
    }

    /// Starts at most one run of the workflow under this key: a second start returns the first run as it is by then, whatever
    /// its payload. Keys have 1 to 255 bytes.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Starts it as a replay of another.
    pub(super) fn replaying(mut self, from: RunId, actor: Option<String>) -> Self {
        self.replay = Some((from, actor));
        self
    }

    /// Starts it as the run of an occurrence of a schedule.
    pub(crate) fn intended_at(mut self, time: Option<Timestamp>) -> Self {
        self.intended_at = time;
        self
    }

    /// Starts it unless its key is taken, and answers whether it did. Spares the look at the run that has the key.
    pub(crate) async fn start_unless_taken(self) -> Result<bool, StartError> {
        let runtime = self.runtime.clone();
        let workflow = self.newest()?;
        let new = self.validated(&runtime, &workflow)?;
        let definition = workflow.definition();
        let begin = || {
            let (definition, limits) = (definition.clone(), runtime.config.limits());
            engine::start(definition, new.clone(), runtime.moment(), limits, &*runtime)
        };
        match begin_in(&runtime, &*runtime.store, definition, begin).await? {
            Begun::Started(_, announcement) => {
                runtime.tell(&announcement);
                Ok(true)
            }
            Begun::Taken(_) => Ok(false),
        }
    }

    /// Everything that [`start`](StartRun::start) checks, without starting anything.
    pub(super) fn check(self) -> Result<(), StartError> {
        let runtime = self.runtime.clone();
        let workflow = self.newest()?;
        let new = self.validated(&runtime, &workflow)?;
        let (definition, limits) = (workflow.definition().clone(), runtime.config.limits());
        engine::start(definition, new, runtime.moment(), limits, &*runtime)?;
        Ok(())
    }

    fn newest(&self) -> Result<Arc<Workflow>, StartError> {
        self.runtime.registry.newest(&self.workflow).cloned().ok_or_else(|| StartError::UnknownWorkflow {
            workflow: self.workflow.clone(),
            registered: self.runtime.registry.names(),
        })
    }

    async fn start(self) -> Result<Run, StartError> {
        let runtime = self.runtime.clone();
        let within = self.within;
        let workflow = self.newest()?;
        let new = self.validated(&runtime, &workflow)?;
        let definition = workflow.definition();
        let begin = || {
            let (definition, limits) = (definition.clone(), runtime.config.limits());
            engine::start(definition, new.clone(), runtime.moment(), limits, &*runtime)
        };
        match within {
            None => {
                let (run, announcement) = start_in(&runtime, &*runtime.store, definition, begin).await?;
                runtime.tell(&announcement);
                Ok(run)
            }
            Some((session, after)) => {
                let (run, announcement) = start_in(&runtime, session, definition, begin).await?;
                after.add(announcement);
                Ok(run)
            }
        }
    }

    /// The new run, its payload validated and its defaults resolved.
    fn validated(self, runtime: &Runtime, workflow: &Workflow) -> Result<NewRun, StartError> {
        let definition = workflow.definition();
        let triggers = || definition.triggers().iter().map(|trigger| trigger.name().clone()).collect();
        let trigger = match (&self.trigger, definition.triggers()) {
            (Some(name), _) => definition.trigger(name).ok_or_else(|| StartError::UnknownTrigger {
                workflow: definition.name().clone(),
                trigger: name.clone(),
                triggers: triggers(),
            })?,
            (None, [only]) => only,
            (None, _) => {
                return Err(StartError::TriggerNeeded { workflow: definition.name().clone(), triggers: triggers() });
            }
        };
        check_key(self.idempotency_key.as_deref())?;
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
        Ok(NewRun {
            id: runtime.entropy.run_id(now),
            trigger: trigger.name().clone(),
            payload,
            idempotency_key: self.idempotency_key,
            intended_at: self.intended_at,
            replay: self.replay,
        })
    }
}

/// How many starts are under way at once. More would not be committed in fewer transactions.
const AT_ONCE: usize = 1_024;

/// Carries out many starts, and answers for each in their order. They find together in the store's transactions by themselves.
pub(super) async fn start_all<'a>(starts: impl IntoIterator<Item = StartRun<'a>>) -> Vec<Result<Run, StartError>> {
    let mut starts = starts.into_iter();
    let mut answers = Vec::new();
    loop {
        let some: Vec<_> = starts.by_ref().take(AT_ONCE).map(StartRun::start).collect();
        if some.is_empty() {
            return answers;
        }
        answers.extend(join_all(some).await);
    }
}

/// Whether an idempotency key can be stored.
pub(super) fn check_key(key: Option<&str>) -> Result<(), StartError> {
    let sound = |key: &str| !key.is_empty() && key.len() <= LONGEST_KEY && !key.contains('\0');
    if key.is_none_or(sound) { Ok(()) } else { Err(StartError::InvalidKey) }
}

/// Whether the name of an actor can be stored.
pub(super) fn check_actor(runtime: &Runtime, actor: Option<&str>) -> Result<(), StartError> {
    let checked = actor.map_or(Ok(()), |actor| runtime.config.json.check(&Value::from(actor)));
    checked.map_err(StartError::UnacceptableActor)
}

/// Starts a run in a session; under a key that is taken, returns the run that has it. `begin` makes the unit of work anew for
/// each try.
pub(super) async fn start_in(
    runtime: &Runtime,
    session: &dyn StoreSession,
    definition: &Arc<Definition>,
    begin: impl Fn() -> Result<UnitOfWork, DispatchError>,
) -> Result<(Run, Announcement), StartError> {
    let mut tries = 0;
    loop {
        match begin_in(runtime, session, definition, &begin).await? {
            Begun::Started(run, announcement) => return Ok((*run, announcement)),
            Begun::Taken(id) => {
                if let Some(first) = session.load(id).await? {
                    return Ok((first.run, Announcement::default()));
                }
                tries += 1;
                if tries == CONFLICTING_STARTS {
                    return Err(DispatchError::Conflict(id).into());
                }
            }
        }
    }
}

/// What a start led to.
enum Begun {
    /// The run was started.
    Started(Box<Run>, Announcement),
    /// This run has the key.
    Taken(RunId),
}

async fn begin_in(
    runtime: &Runtime,
    session: &dyn StoreSession,
    definition: &Arc<Definition>,
    begin: impl Fn() -> Result<UnitOfWork, DispatchError>,
) -> Result<Begun, StartError> {
    let mut tries = 0;
    let mut unanswered = None;
    loop {
        // An earlier try may yet be carried out: then that is what there is to say, whatever becomes of the next.
        let work = match begin() {
            Ok(work) => work,
            Err(error) => return Err(unanswered.map_or_else(|| error.into(), StartError::from)),
        };
        let id = work.run().id;
        match runtime.commit_start(session, definition, work).await {
            Ok((run, announcement)) => return Ok(Begun::Started(Box::new(run), announcement)),
            Err(NotStarted::KeyTaken(id)) => return Ok(Begun::Taken(id)),
            Err(NotStarted::Store(error)) => return Err(unanswered.unwrap_or(error).into()),
            Err(NotStarted::Unanswered(error)) => unanswered = Some(error),
            Err(NotStarted::Conflict) => {}
        }
        tries += 1;
        if tries == CONFLICTING_STARTS {
            return Err(unanswered.map_or_else(|| DispatchError::Conflict(id).into(), StartError::from));
        }
    }
}

/// How often a start is tried whose id is taken, or whose key's run vanishes before it can be read.
const CONFLICTING_STARTS: usize = 3;

impl<'a> IntoFuture for StartRun<'a> {
    type Output = Result<Run, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}
