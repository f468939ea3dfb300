//! Replaying and resuming many runs at once: page by page over a filter, or only to see what would happen.
//!
//! Each run is judged and carried out by itself, exactly as if it were the only one.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use super::start::check_key;
use super::{ReplayError, ReplayRun, ResumeError, ResumeRun, Runtime};
use crate::{Run, RunFilter, RunId, StoreError};

/// What came of one page of runs.
#[derive(Debug)]
#[non_exhaustive]
pub struct Bulk<E> {
    /// The runs that matched, newest first, and what came of each.
    pub runs: Vec<BulkRun<E>>,
    /// What to pass to [`RunFilter::after`] for the next page; `None` at the end.
    pub next: Option<RunId>,
}

/// One run that matched.
#[derive(Debug)]
#[non_exhaustive]
pub struct BulkRun<E> {
    /// The run.
    pub id: RunId,
    /// What came of it.
    pub outcome: BulkOutcome<E>,
}

/// What came of one run.
#[derive(Debug)]
#[non_exhaustive]
pub enum BulkOutcome<E> {
    /// A run was started from it: now, or by an earlier call under the same batch key, or by whoever resumed it before.
    Started(Box<Run>),
    /// A run would be started from it.
    WouldStart,
    /// It was refused.
    Refused(E),
}

/// Why no run was looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BulkError {
    /// The batch key is empty, too long or holds a NUL.
    #[error("a batch key has 1 to 200 bytes and no NUL")]
    InvalidKey,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The longest batch key, in bytes: with the run's id it is still an idempotency key.
const LONGEST_KEY: usize = 200;

/// The options, of which a resumption has no batch key: a run goes on once in any case.
struct Options {
    runtime: Arc<Runtime>,
    filter: RunFilter,
    dry_run: bool,
    allow_irreversible: bool,
    actor: Option<String>,
    batch_key: Option<String>,
}

impl Options {
    /// The key under which this batch replays a run.
    fn key(&self, id: RunId) -> Option<String> {
        self.batch_key.as_ref().map(|batch| format!("replay:{batch}:{id}"))
    }

    /// The runs of the page, without those that this batch has started itself.
    async fn page(&self) -> Result<(Vec<Run>, Option<RunId>), BulkError> {
        let sound = |key: &str| key.len() <= LONGEST_KEY && check_key(Some(key)).is_ok();
        if !self.batch_key.as_deref().is_none_or(sound) {
            return Err(BulkError::InvalidKey);
        }
        let page = self.runtime.store.list(&self.filter).await?;
        let started = |run: &Run| {
            run.idempotency_key.is_some() && run.idempotency_key == run.replayed_from.and_then(|from| self.key(from))
        };
        Ok((page.runs.into_iter().filter(|run| !started(run)).collect(), page.next))
    }

    /// The run that was started from another under this key, if one was.
    async fn started(&self, run: &Run, key: Option<&str>) -> Result<Option<Box<Run>>, StoreError> {
        let Some(key) = key else { return Ok(None) };
        match self.runtime.store.find_by_key(&run.workflow, key).await? {
            Some(id) => Ok(self.runtime.store.load(id).await?.map(|state| Box::new(state.run))),
            None => Ok(None),
        }
    }
}

macro_rules! bulk {
    ($(#[$doc:meta])* $name:ident, $each:ident, $error:ident, $key:expr, $under:expr) => {
        $(#[$doc])*
        #[must_use = "nothing is done before this is awaited"]
        pub struct $name {
            options: Options,
        }

        impl $name {
            pub(super) fn new(runtime: Arc<Runtime>, filter: RunFilter) -> Self {
                let (dry_run, allow_irreversible, actor, batch_key) = (false, false, None, None);
                $name { options: Options { runtime, filter, dry_run, allow_irreversible, actor, batch_key } }
            }

            /// Only tells what would happen to each run. Nothing is stored.
            pub fn dry_run(mut self) -> Self {
                self.options.dry_run = true;
                self
            }

            /// Includes runs for which effects that cannot be undone would be repeated.
            pub fn allow_irreversible(mut self) -> Self {
                self.options.allow_irreversible = true;
                self
            }

            /// Who does it, for the audit trails.
            pub fn actor(mut self, actor: impl Into<String>) -> Self {
                self.options.actor = Some(actor.into());
                self
            }

            async fn carry_out(self) -> Result<Bulk<$error>, BulkError> {
                let (found, next) = self.options.page().await?;
                let mut runs = Vec::with_capacity(found.len());
                for run in found {
                    let outcome = match self.each(&run).await {
                        Ok(outcome) => outcome,
                        Err(error) => BulkOutcome::Refused(error),
                    };
                    runs.push(BulkRun { id: run.id, outcome });
                }
                Ok(Bulk { runs, next })
            }

            async fn each(&self, run: &Run) -> Result<BulkOutcome<$error>, $error> {
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
                Ok(BulkOutcome::Started(Box::new(each.await?)))
            }
        }

        impl IntoFuture for $name {
            type Output = Result<Bulk<$error>, BulkError>;
            type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.carry_out())
            }
        }
    };
}

bulk!(
    /// The replay of a page of runs. Made by [`Squidmesh::replay_runs`](crate::Squidmesh::replay_runs).
    ReplayRuns,
    ReplayRun,
    ReplayError,
    Options::key,
    |each: ReplayRun, key: Option<String>| match key {
        Some(key) => each.idempotency_key(key),
        None => each,
    }
);

impl ReplayRuns {
    /// Starts at most one run from each under this key, however often the call is repeated; and leaves alone what was started
    /// under it. A key has 1 to 200 bytes.
    pub fn batch_key(mut self, key: impl Into<String>) -> Self {
        self.options.batch_key = Some(key.into());
        self
    }
}

bulk!(
    /// The resumption of a page of runs. Made by [`Squidmesh::resume_runs`](crate::Squidmesh::resume_runs).
    ResumeRuns,
    ResumeRun,
    ResumeError,
    |_: &Options, id| Some(ResumeRun::key(id)),
    |each: ResumeRun, _| each
);
