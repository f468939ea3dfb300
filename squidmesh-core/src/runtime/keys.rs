//! Idempotency keys: those of the runtime, and how they are kept apart from those of hosts.
//!
//! Both are stored in the same place. The runtime's keys begin with reserved words. A host's key that begins with one
//! of these words, or with the mark, is stored with a mark before it. So a host's key never equals one of the
//! runtime's, and two different keys of hosts are never stored as one.

use std::borrow::Cow;

use crate::id::RunId;
use crate::name::{TriggerName, WorkflowName};
use crate::port::{StoreError, StoreSession};
use crate::run::Run;
use crate::time::Timestamp;

/// The prefixes of the runtime's keys: those in use, and those reserved for later ways to start runs.
const OWN: [&str; 5] = ["cron:", "resume:", "replay:", "nested:", "hook:"];
/// The mark before a host's key that begins like one of the runtime's: a character that hosts do not use.
const MARK: char = '\u{1b}';

/// Returns the key of the run for an occurrence of a cron trigger.
pub(crate) fn occurrence(trigger: &TriggerName, intended_at: Timestamp) -> String {
    format!("cron:{trigger}:{intended_at}")
}

/// Returns the key of the one run that resumes another.
pub(super) fn resumption(from: RunId) -> String {
    format!("resume:{from}")
}

/// Returns the key of the run that a batch starts as the replay of another.
pub(super) fn replay(batch: &str, from: RunId) -> String {
    format!("replay:{batch}:{from}")
}

/// Returns a host's key as it is stored.
pub(crate) fn stored(key: &str) -> Cow<'_, str> {
    if is_ambiguous(key) { Cow::Owned(format!("{MARK}{key}")) } else { Cow::Borrowed(key) }
}

/// Returns a run as a host sees it, with the key that the host gave.
pub(crate) fn shown(run: Run) -> Run {
    Run { idempotency_key: run.idempotency_key.map(unmarked), ..run }
}

/// Returns a stored key as the host gave it.
pub(crate) fn unmarked(mut key: String) -> String {
    if key.starts_with(MARK) {
        key.remove(0);
    }
    key
}

/// The maximum length of a host's key, in bytes.
const LONGEST: usize = 255;

/// Returns whether a host's key can be stored: it has 1 to 255 bytes and no NUL.
pub(crate) fn is_sound(key: &str) -> bool {
    !key.is_empty() && key.len() <= LONGEST && !key.contains('\0')
}

/// Finds the run that was started under a key: a host's own key first, then a key of the runtime, since operators may
/// search by those too.
pub(crate) async fn find(
    session: &dyn StoreSession,
    workflow: &WorkflowName,
    key: &str,
) -> Result<Option<RunId>, StoreError> {
    // Databases differ in how they treat a query for a value that they cannot store.
    if !is_sound(key) {
        return Ok(None);
    }
    let stored = stored(key);
    match session.find_by_idempotency_key(workflow, &stored).await? {
        None if *stored != *key => session.find_by_idempotency_key(workflow, key).await,
        found => Ok(found),
    }
}

/// Finds the run that a host started under its key. A run that the runtime itself started is never found.
pub(super) async fn find_started(
    session: &dyn StoreSession,
    workflow: &WorkflowName,
    key: &str,
) -> Result<Option<RunId>, StoreError> {
    if !is_sound(key) {
        return Ok(None);
    }
    match session.find_by_idempotency_key(workflow, &stored(key)).await? {
        Some(found) => Ok(Some(found)),
        None => Ok(started_unmarked(session, workflow, key).await?.map(|run| run.id)),
    }
}

/// Returns the run that a host's key started before such keys were marked, if the key looks like one of the
/// runtime's. A run that the runtime itself started under the key is never returned.
pub(super) async fn started_unmarked(
    session: &dyn StoreSession,
    workflow: &WorkflowName,
    key: &str,
) -> Result<Option<Run>, StoreError> {
    if !OWN.iter().any(|own| key.starts_with(own)) {
        return Ok(None);
    }
    let Some(id) = session.find_by_idempotency_key(workflow, key).await? else { return Ok(None) };
    let found = session.load(id).await?.map(|state| state.run);
    Ok(found.filter(|run| !is_own(run)))
}

fn is_ambiguous(key: &str) -> bool {
    key.starts_with(MARK) || OWN.iter().any(|own| key.starts_with(own))
}

/// Returns whether the runtime created the key of a run, which the run's other fields show.
fn is_own(run: &Run) -> bool {
    let Some(key) = run.idempotency_key.as_deref() else { return false };
    let occurrence = run.intended_at.map(|time| occurrence(&run.trigger, time));
    let resumption = run.resumed_from.map(resumption);
    let replayed = run.replayed_from.map(|from| format!(":{from}"));
    occurrence.is_some_and(|own| own == key && run.replayed_from.is_none())
        || resumption.is_some_and(|own| own == key)
        || replayed.is_some_and(|from| key.starts_with("replay:") && key.ends_with(&from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_of_a_host_is_stored_as_one_of_the_runtime() {
        let (trigger, run) = (TriggerName::new("nightly").unwrap(), RunId::from_uuid(uuid::Uuid::nil()));
        let own = [occurrence(&trigger, Timestamp::EPOCH), resumption(run), replay("batch", run)];
        for key in &own {
            assert!(OWN.iter().any(|word| key.starts_with(word)), "{key}");
        }
        let mut forged: Vec<String> = own.to_vec();
        forged.extend(own.iter().map(|key| format!("{MARK}{key}")));
        forged.extend(own.iter().map(|key| format!("{MARK}{MARK}{key}")));
        forged.extend(["order 7", "cron", "resume", "\u{1b}", "Cron:x"].map(str::to_owned));
        let kept: std::collections::BTreeSet<_> = forged.iter().map(|key| stored(key).into_owned()).collect();
        assert_eq!(kept.len(), forged.len(), "two keys of a host are never one");
        assert!(own.iter().all(|key| !kept.contains(key)), "{kept:?}");
    }

    #[cfg(feature = "testing")]
    #[test]
    fn a_host_is_shown_the_key_that_it_gave() {
        for key in ["order 7", "cron:nightly:x", "\u{1b}cron:x", "\u{1b}"] {
            let run = Run { idempotency_key: Some(stored(key).into_owned()), ..crate::testing::sample::run(1) };
            assert_eq!(shown(run).idempotency_key.as_deref(), Some(key));
        }
        // The runtime's own are shown as they are.
        let run = Run { idempotency_key: Some("cron:nightly:x".to_owned()), ..crate::testing::sample::run(1) };
        assert_eq!(shown(run).idempotency_key.as_deref(), Some("cron:nightly:x"));
    }
}
