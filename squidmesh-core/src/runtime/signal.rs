//! Sending signals to runs: by the id of a run, or by the key under which it was started.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::actor::InvalidActor;
use super::awaited::awaited;
use super::commit::{DecideError, RunKeptChanging};
use super::lookup_error::{RunNotFound, UnknownDefinition};
use super::scope::{Scope, Unattributable};
use super::start::{Begun, StartError, StartRun, begin_in};
use super::{Call, RetryPolicy, keys};
use crate::chain::debug_as_text;
use crate::engine::{self, Attribution, DispatchRefused, SentSignal, SignalReceipt, SignalRefused, UnitOfWork};
use crate::id::RunId;
use crate::json::{self, JsonViolation};
use crate::name::{StepName, WorkflowName};
use crate::port::{StoreError, StoreSession};
use crate::run::RunStatus;

/// The operation, as errors name it.
const SENDING: &str = "sending a signal";

/// The reasons why a signal was not received. Nothing was stored, except that after [`StoreError::OutcomeUnknown`] the
/// signal may have been received, or may yet be: send it again, with its deduplication key.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// There is no run with this id.
    #[error(transparent)]
    NotFound(#[from] RunNotFound),
    /// No run of the workflow was started under this key.
    #[error("no run of workflow {workflow:?} was started under the key {key:?}")]
    NoRunWithKey {
        /// The workflow.
        workflow: String,
        /// The key.
        key: String,
    },
    /// The run has ended, or is being cancelled.
    #[error("run {run} is {status} and receives no signals any more{}", resumed_text(*.resumed_as))]
    Ended {
        /// The run.
        run: RunId,
        /// The status of the run.
        status: RunStatus,
        /// The run that resumes it, if there is one.
        resumed_as: Option<RunId>,
    },
    /// The run does not accept the signal.
    #[error(transparent)]
    Refused(SignalRefused),
    /// The payload cannot be represented as JSON.
    #[error("the payload was refused: {0}")]
    UnacceptablePayload(#[from] JsonViolation),
    /// The deduplication key is empty, too long, or contains a NUL.
    #[error("a deduplication key has 1 to 255 bytes and no NUL")]
    InvalidDedupKey,
    /// The sender cannot be stored.
    #[error(transparent)]
    Actor(#[from] InvalidActor),
    /// The metadata cannot be stored.
    #[error("{what} was refused: {why}")]
    Unacceptable {
        /// The refused value: the metadata.
        what: &'static str,
        /// The violated rule.
        why: JsonViolation,
    },
    /// No run had the key, and none could be started.
    #[error(transparent)]
    Start(Box<StartError>),
    /// The version that the run is pinned to is neither registered nor stored.
    #[error(transparent)]
    UnknownDefinition(#[from] UnknownDefinition),
    /// The run kept changing while the signal was sent.
    #[error(transparent)]
    Conflict(#[from] RunKeptChanging),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

debug_as_text!(SignalError);

fn resumed_text(resumed_as: Option<RunId>) -> String {
    resumed_as.map_or_else(String::new, |run| format!("; it is resumed as run {run}"))
}

impl From<SignalRefused> for SignalError {
    fn from(refused: SignalRefused) -> Self {
        SignalError::Refused(refused)
    }
}

impl From<Unattributable> for SignalError {
    fn from(error: Unattributable) -> Self {
        match error {
            Unattributable::Actor(error) => error.into(),
            Unattributable::Value { what, why } => SignalError::Unacceptable { what, why },
        }
    }
}

/// What became of a signal, and of which run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalAnswer {
    /// The run.
    pub run: RunId,
    /// What became of the signal.
    pub receipt: SignalReceipt,
}

/// A signal on its way, before it is known which run receives it.
struct Outgoing<'a> {
    scope: Scope<'a>,
    name: String,
    payload: Result<Value, JsonViolation>,
    dedup_key: Option<String>,
    sender: Attribution,
}

impl<'a> Outgoing<'a> {
    fn new<P: Serialize + ?Sized>(scope: Scope<'a>, name: &str, payload: &P) -> Self {
        Outgoing {
            scope,
            name: name.to_owned(),
            payload: json::to_value(&payload),
            dedup_key: None,
            sender: Attribution::default(),
        }
    }

    /// Returns the signal, if it can be sent at all, and the scope to send it in.
    fn checked(self) -> Result<(Scope<'a>, SentSignal), SignalError> {
        self.scope.check(&self.sender)?;
        if !self.dedup_key.as_deref().is_none_or(keys::is_sound) {
            return Err(SignalError::InvalidDedupKey);
        }
        let (name, payload, dedup_key, attribution) = (self.name, self.payload?, self.dedup_key, self.sender);
        Ok((self.scope, SentSignal { name, payload, dedup_key, attribution }))
    }
}

macro_rules! outgoing {
    ($call:ident) => {
        impl $call<'_> {
            /// Makes the signal safe to send twice: of all signals of this name that a run receives under one key, the
            /// first counts, and the others are answered [`Duplicate`](SignalReceipt::Duplicate), as long as the run is
            /// stored. A run that resumes another inherits its keys. Keys have 1 to 255 bytes.
            pub fn dedup_key(mut self, key: impl AsRef<str>) -> Self {
                self.signal.dedup_key = Some(key.as_ref().to_owned());
                self
            }

            /// Sets the sender, for the audit trail.
            pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
                self.signal.sender.actor = Some(actor.as_ref().to_owned());
                self
            }

            /// Sets further data for the audit trail.
            pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
                self.signal.sender.metadata = Some(metadata);
                self
            }

            /// Sets the timeout of the call, instead of [`Config::call_timeout`](crate::Config::call_timeout).
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.signal.scope.timeout = timeout;
                self
            }
        }
    };
}

outgoing!(SignalRun);
outgoing!(SignalKey);
awaited!(SignalRun<'a>, call -> Result<SignalAnswer, SignalError>);
awaited!(SignalKey<'a>, call -> Result<SignalAnswer, SignalError>);

/// A signal to a run. Created by [`Squidmesh::signal_run`](crate::Squidmesh::signal_run).
#[must_use = "the signal is sent when this is awaited"]
pub struct SignalRun<'a> {
    signal: Outgoing<'a>,
    id: RunId,
}

impl<'a> SignalRun<'a> {
    pub(crate) fn new<P: Serialize + ?Sized>(scope: Scope<'a>, id: RunId, signal: &str, payload: &P) -> Self {
        SignalRun { signal: Outgoing::new(scope, signal, payload), id }
    }

    async fn call(self) -> Result<SignalAnswer, SignalError> {
        let (scope, sent) = self.signal.checked()?;
        let call = Call::new(scope.timeout);
        let send = async {
            match receive(&scope, RetryPolicy::fail_fast(&call), self.id, &sent).await? {
                Delivery::Received(answer) => Ok(answer),
                Delivery::Ended { status, resumed_as } => Err(SignalError::Ended { run: self.id, status, resumed_as }),
            }
        };
        call.bound(&*scope.runtime.clock, SENDING, send).await
    }
}

/// A signal to the run that was started under a key. Created by
/// [`Squidmesh::signal_key`](crate::Squidmesh::signal_key).
#[must_use = "the signal is sent when this is awaited"]
pub struct SignalKey<'a> {
    signal: Outgoing<'a>,
    workflow: String,
    key: String,
    start: Option<StartRun<'a>>,
}

impl<'a> SignalKey<'a> {
    pub(crate) fn new<P: Serialize + ?Sized>(
        scope: Scope<'a>,
        workflow: &str,
        key: &str,
        signal: &str,
        payload: &P,
    ) -> Self {
        let (workflow, key) = (workflow.to_owned(), key.to_owned());
        SignalKey { signal: Outgoing::new(scope, signal, payload), workflow, key, start: None }
    }

    /// Starts a run with this payload if no stored run has the key. The run and the signal are committed together.
    pub fn or_start<P: Serialize + ?Sized>(mut self, payload: &P) -> Self {
        let start = StartRun::new(self.signal.scope.runtime.clone(), &self.workflow, payload);
        self.start = Some(start.idempotency_key(&self.key));
        self
    }

    /// Starts a run as [`or_start`](Self::or_start) does, by one of several triggers of its workflow.
    pub fn or_start_by<P: Serialize + ?Sized>(self, trigger: impl AsRef<str>, payload: &P) -> Self {
        let mut this = self.or_start(payload);
        this.start = this.start.map(|start| start.trigger(trigger));
        this
    }

    async fn call(self) -> Result<SignalAnswer, SignalError> {
        let SignalKey { signal, workflow, key, start } = self;
        let (scope, sent) = signal.checked()?;
        let call = Call::new(scope.timeout);
        let send = send_to_key(&scope, RetryPolicy::fail_fast(&call), (&workflow, &key), &sent, start);
        call.bound(&*scope.runtime.clock, SENDING, send).await
    }
}

/// What became of a signal at one run.
enum Delivery {
    Received(SignalAnswer),
    /// The run has ended.
    Ended {
        status: RunStatus,
        resumed_as: Option<RunId>,
    },
}

/// The maximum number of look-ups of a key whose run is deleted before it receives the signal.
const MAX_LOOKUPS: usize = 3;

async fn send_to_key(
    scope: &Scope<'_>,
    policy: RetryPolicy<'_>,
    (workflow, key): (&str, &str),
    sent: &SentSignal,
    start: Option<StartRun<'_>>,
) -> Result<SignalAnswer, SignalError> {
    let no_run = || SignalError::NoRunWithKey { workflow: workflow.to_owned(), key: key.to_owned() };
    let begin = start.map(|start| start.begin()).transpose().map_err(|error| SignalError::Start(Box::new(error)))?;
    let name = WorkflowName::new(workflow).map_err(|_| no_run())?;
    for _ in 0..MAX_LOOKUPS {
        let run = match (keys::find_started(scope.session(), &name, key).await?, &begin) {
            (Some(found), _) => found,
            (None, None) => return Err(no_run()),
            (None, Some(begin)) => match start_with(scope, policy, begin, sent).await? {
                Begun::Started(run, taken_by) => return Ok(SignalAnswer { run: run.id, receipt: receipt(taken_by) }),
                Begun::Taken(run, _) => run,
            },
        };
        match follow_resumptions(scope, policy, run, sent).await {
            Err(SignalError::NotFound(_)) => {}
            answer => return answer,
        }
    }
    Err(no_run())
}

fn receipt(taken_by: Option<StepName>) -> SignalReceipt {
    taken_by.map_or(SignalReceipt::Buffered, |step| SignalReceipt::Received { step })
}

/// Gives a signal to a run, or to the last of those that resume it.
async fn follow_resumptions(
    scope: &Scope<'_>,
    policy: RetryPolicy<'_>,
    mut run: RunId,
    sent: &SentSignal,
) -> Result<SignalAnswer, SignalError> {
    loop {
        match receive(scope, policy, run, sent).await? {
            Delivery::Received(answer) => return Ok(answer),
            Delivery::Ended { resumed_as: Some(resumed), .. } => run = resumed,
            Delivery::Ended { status, resumed_as: None } => {
                return Err(SignalError::Ended { run, status, resumed_as: None });
            }
        }
    }
}

/// Gives a run a signal.
async fn receive(
    scope: &Scope<'_>,
    policy: RetryPolicy<'_>,
    run: RunId,
    sent: &SentSignal,
) -> Result<Delivery, SignalError> {
    let jobs = &*scope.runtime;
    match scope.decide(policy, run, |work: &mut UnitOfWork| engine::signal(work, sent, jobs)).await {
        Ok((receipt, _)) => Ok(Delivery::Received(SignalAnswer { run, receipt })),
        Err(DecideError::Refused(SignalRefused::Ended { status })) => {
            let resumed_as = resumption_of(scope.session(), run).await?;
            Ok(Delivery::Ended { status, resumed_as })
        }
        Err(error) => Err(error.into_call_error()),
    }
}

/// Starts a run that has received a signal.
async fn start_with(
    scope: &Scope<'_>,
    policy: RetryPolicy<'_>,
    begin: &(impl Fn() -> Result<UnitOfWork, DispatchRefused> + Sync),
    sent: &SentSignal,
) -> Result<Begun, SignalError> {
    let runtime = &scope.runtime;
    let begin = || {
        let mut work = begin().map_err(|refused| SignalError::Start(Box::new(refused.into())))?;
        engine::signal(&mut work, sent, &**runtime)?;
        Ok::<UnitOfWork, SignalError>(work)
    };
    begin_in(runtime, scope.within, policy, begin).await
}

/// Returns the run that resumes another, if there is one.
async fn resumption_of(session: &dyn StoreSession, run: RunId) -> Result<Option<RunId>, StoreError> {
    let Some(state) = session.load(run).await? else { return Ok(None) };
    session.find_by_idempotency_key(&state.run.workflow, &keys::resumption(run)).await
}
