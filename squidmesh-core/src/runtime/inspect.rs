//! Inspecting runs: in any process that shares the store, whether or not it has the workflow's code.

use serde_json::Value;

use super::lookup_error::{RunNotFound, UnknownDefinition};
use super::{CommandError, Runtime, keys};
use crate::definition::TriggerDefinition;
use crate::id::RunId;
use crate::inspect::{Explanation, Graph, RunDetails, Subject, explain, graph};
use crate::port::{RunHistory, StoreSession};
use crate::run::RunSnapshot;

impl Runtime {
    /// Explains why a run is in its current state.
    pub(crate) async fn explain(&self, session: &dyn StoreSession, id: RunId) -> Result<Explanation, CommandError> {
        let (state, history) = whole(session, id).await?;
        let definition = self.definition(session, &state.run.fingerprint).await?;
        let newest = self.registry.newest(state.run.workflow.as_str());
        let trigger = newest.and_then(|found| found.definition().trigger(state.run.trigger.as_str()));
        let payload = Value::Object((*state.run.payload).clone());
        let accepts = |found: &TriggerDefinition| {
            found.contract().resolve(payload.clone(), self.clock.now().date(), &self.config.json).is_ok()
        };
        Ok(explain(&Subject {
            definition: definition.as_deref(),
            registered: self.registry.version(&state.run.fingerprint).is_some(),
            replayable: trigger.is_some_and(accepts),
            newest: newest.map(|found| &**found.definition()),
            adoption: self.registry.adopter(&state.run.workflow).is_some(),
            history: &history,
            now: self.clock.now(),
            state: &state,
        }))
    }

    /// Returns a run as a graph.
    pub(crate) async fn graph(&self, session: &dyn StoreSession, id: RunId) -> Result<Graph, CommandError> {
        let state = session.load(id).await?.ok_or(RunNotFound { run: id })?;
        let definition = self.definition(session, &state.run.fingerprint).await?;
        Ok(graph(&state, &*definition.ok_or(UnknownDefinition { run: id })?))
    }

    /// Returns a run with everything recorded about it.
    pub(crate) async fn inspect(&self, session: &dyn StoreSession, id: RunId) -> Result<RunDetails, CommandError> {
        let (state, history) = whole(session, id).await?;
        let definition = self.definition(session, &state.run.fingerprint).await?;
        let definition = definition.ok_or(UnknownDefinition { run: id })?;
        let details = RunDetails::of(state, &definition, history);
        Ok(RunDetails { run: keys::shown(details.run), ..details })
    }
}

/// The maximum number of reads of a run that keeps changing, before the last one is returned as it is.
const READS: usize = 5;

/// Returns a run and its history as of one revision; of a run that keeps changing, the history may be newer.
async fn whole(session: &dyn StoreSession, id: RunId) -> Result<(RunSnapshot, RunHistory), CommandError> {
    let mut state = session.load(id).await?.ok_or(RunNotFound { run: id })?;
    for _ in 1..READS {
        let history = session.history(id).await?;
        let after = session.load(id).await?.ok_or(RunNotFound { run: id })?;
        if after.run.revision == state.run.revision {
            return Ok((state, history));
        }
        state = after;
    }
    Ok((state, session.history(id).await?))
}
