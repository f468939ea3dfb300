//! Where a host's call decides about a run: on the store, or in a transaction of the host.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::actor::InvalidActor;
use super::commit::DecideError;
use super::handover::begin_steps;
use super::{AfterCommit, CachedRun, Handover, RetryPolicy, Runtime, keys};
use crate::engine::{Attribution, UnitOfWork};
use crate::id::RunId;
use crate::json::JsonViolation;
use crate::port::StoreSession;
use crate::run::{InvalidTransition, Run};

/// Where a call is applied: the store, or a transaction of the host.
pub(crate) struct Scope<'a> {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) timeout: Duration,
    pub(crate) within: Option<(&'a dyn StoreSession, &'a AfterCommit)>,
}

/// The reason why the attribution of a call cannot be stored.
pub(crate) enum Unattributable {
    Actor(InvalidActor),
    /// Another value was refused: the comment or the metadata.
    Value {
        what: &'static str,
        why: JsonViolation,
    },
}

impl Scope<'_> {
    /// Returns the session in which the call reads.
    pub(super) fn session(&self) -> &dyn StoreSession {
        self.within.map_or(&*self.runtime.store, |(session, _)| session)
    }

    /// Decides about a run, and commits; outside the host's transaction, begins what the decision dispatches for idle
    /// workers of this process, and announces.
    pub(super) async fn decide<T, E>(
        &self,
        policy: RetryPolicy<'_>,
        id: RunId,
        mut decision: impl FnMut(&mut UnitOfWork) -> Result<T, E> + Send,
    ) -> Result<(T, Run), DecideError<E>>
    where
        E: From<InvalidTransition>,
    {
        match self.within {
            None => {
                // Keeps the run cached for the workers that the steps are handed to.
                let cached = self.runtime.run_cache.run(id);
                let mut begun = BegunByFirstTry::default();
                let decision = |work: &mut UnitOfWork| {
                    let value = decision(work)?;
                    begun.begin(&self.runtime, work)?;
                    Ok(value)
                };
                let (value, run) = self.runtime.decide(id, policy, decision).await?;
                begun.committed(&self.runtime, &cached).await;
                Ok((value, keys::shown(Arc::unwrap_or_clone(run))))
            }
            Some((session, after)) => {
                let (value, state, announcement) =
                    self.runtime.decide_in_session(session, id, None, policy, decision).await?;
                after.add(announcement);
                Ok((value, keys::shown(state.run)))
            }
        }
    }

    /// Checks that what a caller adds to a call can be stored.
    pub(super) fn check(&self, attribution: &Attribution) -> Result<(), Unattributable> {
        self.runtime.check_actor(attribution.actor.as_deref()).map_err(Unattributable::Actor)?;
        let check = |what, value: Value| {
            self.runtime.config.json.check(&value).map_err(|why| Unattributable::Value { what, why })
        };
        if let Some(comment) = &attribution.comment {
            check("the comment", Value::from(comment.as_str()))?;
        }
        if let Some(metadata) = &attribution.metadata {
            check("the metadata", Value::Object(metadata.clone()))?;
        }
        Ok(())
    }
}

/// The steps that the first try of a decision begins. The other tries leave them to claims.
#[derive(Default)]
struct BegunByFirstTry {
    begun: Vec<Handover>,
    tries: usize,
}

impl BegunByFirstTry {
    fn begin(&mut self, runtime: &Runtime, work: &mut UnitOfWork) -> Result<(), InvalidTransition> {
        self.tries += 1;
        if self.tries == 1 {
            self.begun = begin_steps(runtime, work, usize::MAX)?;
        }
        Ok(())
    }

    /// Hands the steps over if there was one try. After several, it is not known which of them was committed: the
    /// workers look for their steps.
    async fn committed(self, runtime: &Runtime, cached: &CachedRun) {
        if self.tries == 1 && !self.begun.is_empty() {
            let state = cached.snapshot(runtime.turn_timeout()).await.map(Arc::new);
            self.begun.into_iter().for_each(|step| step.committed(state.clone()));
        }
    }
}
