//! Replaying and resuming many runs at once: the pages of a filter, or a dry run.
//!
//! Each run is checked and processed exactly as if it were the only one.

use std::sync::Arc;
use std::time::Duration;

use super::awaited::awaited;
use super::call::Timer;
use super::{Call, ReplayError, ReplayRun, ResumeError, ResumeRun, RetryPolicy, Runtime, keys};
use crate::chain::debug_as_text;
use crate::id::RunId;
use crate::port::{RunFilter, StoreError};
use crate::run::{Run, RunSummary};

/// The result of processing one page of runs.
#[derive(Debug)]
#[non_exhaustive]
pub struct BulkPage<E> {
    /// The runs that matched, newest first, with their outcomes.
    pub runs: Vec<BulkRun<E>>,
    /// The value for [`RunFilter::after`] that continues with the next page; `None` at the end. If the call timed
    /// out, the next page begins within this one.
    pub next: Option<RunId>,
}

/// A run that matched.
#[derive(Debug)]
#[non_exhaustive]
pub struct BulkRun<E> {
    /// The run's id.
    pub id: RunId,
    /// The outcome for this run.
    pub outcome: BulkOutcome<E>,
}

/// The outcome for one run.
#[derive(Debug)]
#[non_exhaustive]
pub enum BulkOutcome<E> {
    /// A run was started from it: now, by an earlier call with the same batch key, or by an earlier resumption.
    Started(Box<Run>),
    /// A run would be started from it.
    WouldStart,
    /// The run was refused.
    Refused(E),
}

/// The reasons why no run was processed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BulkError {
    /// The batch key is empty, too long, or contains a NUL.
    #[error("a batch key has 1 to 200 bytes and no NUL")]
    InvalidKey,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

debug_as_text!(BulkError);

/// The maximum length of a batch key, in bytes: together with a run's id it is still an idempotency key.
const LONGEST_KEY: usize = 200;

/// The options. A resumption has no batch key: a run is resumed at most once anyway.
struct Options {
    runtime: Arc<Runtime>,
    filter: RunFilter,
    dry_run: bool,
    allow_irreversible: bool,
    actor: Option<String>,
    batch_key: Option<String>,
    timeout: Duration,
}

impl Options {
    /// Returns the key under which this batch replays a run.
    fn key(&self, id: RunId) -> Option<String> {
        self.batch_key.as_ref().map(|batch| keys::replay(batch, id))
    }

    /// Returns the runs of the page, except those that this batch has started itself.
    async fn page(&self) -> Result<(Vec<RunSummary>, Option<RunId>), BulkError> {
        let sound = |key: &str| key.len() <= LONGEST_KEY && keys::is_sound(key);
        if !self.batch_key.as_deref().is_none_or(sound) {
            return Err(BulkError::InvalidKey);
        }
        let page = self.runtime.store.list(&self.filter).await?;
        let started = |run: &RunSummary| {
            run.idempotency_key.is_some() && run.idempotency_key == run.replayed_from.and_then(|from| self.key(from))
        };
        Ok((page.runs.into_iter().filter(|run| !started(run)).collect(), page.next))
    }

    /// Returns the run that was started from another under this key, if any.
    async fn started(&self, run: &RunSummary, key: Option<&str>) -> Result<Option<Box<Run>>, StoreError> {
        let Some(key) = key else { return Ok(None) };
        match self.runtime.store.find_by_idempotency_key(&run.workflow, key).await? {
            Some(id) => Ok(self.runtime.store.load(id).await?.map(|state| Box::new(keys::shown(state.run)))),
            None => Ok(None),
        }
    }
}

macro_rules! bulk {
    ($(#[$doc:meta])* $name:ident, $each:ident, $error:ident, $doing:literal, $key:expr, $under:expr) => {
        $(#[$doc])*
        #[must_use = "nothing is done before this is awaited"]
        pub struct $name {
            options: Options,
        }

        impl $name {
            pub(crate) fn new(runtime: Arc<Runtime>, filter: RunFilter) -> Self {
                let timeout = runtime.config.call_timeout;
                let (dry_run, allow_irreversible, actor, batch_key) = (false, false, None, None);
                $name { options: Options { runtime, filter, dry_run, allow_irreversible, actor, batch_key, timeout } }
            }

            /// Only reports what would happen to each run. Nothing is stored.
            pub fn dry_run(mut self) -> Self {
                self.options.dry_run = true;
                self
            }

            /// Includes runs for which irreversible effects would be repeated.
            pub fn allow_irreversible(mut self) -> Self {
                self.options.allow_irreversible = true;
                self
            }

            /// Sets the actor, for the audit trails.
            pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
                self.options.actor = Some(actor.as_ref().to_owned());
                self
            }

            /// Sets the timeout of the call, instead of [`Config::call_timeout`](crate::Config::call_timeout). Runs
            /// that were not processed by then are left to the next page.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.options.timeout = timeout;
                self
            }

            async fn process(self) -> Result<BulkPage<$error>, BulkError> {
                let (clock, timeout) = (self.options.runtime.clock.clone(), self.options.timeout);
                let mut timer = Timer::new(&*clock, timeout);
                let (found, next) =
                    Call::new(timeout).bound_by(&mut timer, "listing runs", self.options.page()).await?;
                let (mut runs, last) = (Vec::with_capacity(found.len()), found.last().map(|run| run.id));
                for run in found {
                    let call = Call::new(timeout);
                    let each = self.each(&run, RetryPolicy::fail_fast(&call));
                    let outcome = match call.bound_by(&mut timer, $doing, each).await {
                        Ok(outcome) => outcome,
                        Err(error) => BulkOutcome::Refused(error),
                    };
                    runs.push(BulkRun { id: run.id, outcome });
                    if last != Some(run.id) && timer.is_over().await {
                        return Ok(BulkPage { runs, next: Some(run.id) });
                    }
                }
                Ok(BulkPage { runs, next })
            }

            async fn each(&self, run: &RunSummary, policy: RetryPolicy<'_>) -> Result<BulkOutcome<$error>, $error> {
                let options = &self.options;
                let key: Option<String> = $key(options, run.id);
                if let Some(started) = options.started(run, key.as_deref()).await? {
                    return Ok(BulkOutcome::Started(started));
                }
                let mut each = $each::new(options.runtime.clone(), run.id);
                if options.allow_irreversible {
                    each = each.allow_irreversible();
                }
                if let Some(actor) = &options.actor {
                    each = each.actor(actor);
                }
                each = $under(each, key);
                if options.dry_run {
                    each.check().await?;
                    return Ok(BulkOutcome::WouldStart);
                }
                Ok(BulkOutcome::Started(Box::new(each.start(policy).await?)))
            }
        }

        awaited!($name, process -> Result<BulkPage<$error>, BulkError>);
    };
}

bulk!(
    /// The replay of a page of runs. Created by [`Squidmesh::replay_runs`](crate::Squidmesh::replay_runs).
    ReplayRuns,
    ReplayRun,
    ReplayError,
    "replaying a run",
    Options::key,
    ReplayRun::own_key
);

impl ReplayRuns {
    /// Starts at most one run from each under this key, however often the call is repeated. Skips runs that were
    /// themselves started under it. A key has 1 to 200 bytes.
    pub fn batch_key(mut self, key: impl AsRef<str>) -> Self {
        self.options.batch_key = Some(key.as_ref().to_owned());
        self
    }
}

bulk!(
    /// The resumption of a page of runs. Created by [`Squidmesh::resume_runs`](crate::Squidmesh::resume_runs).
    ResumeRuns,
    ResumeRun,
    ResumeError,
    "resuming a run",
    |_: &Options, id| Some(keys::resumption(id)),
    |each: ResumeRun, _| each
);
