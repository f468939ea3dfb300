//! Writes a wave of commits on Postgres: one statement, however many commits there are, which is a transaction of its own.
//!
//! Knows the tables and the order of locking. Knows nothing of waiting, retrying, or of who opened a transaction around it.
//!
//! The runs come first: changing a run's row takes its lock and checks its revision, and everything else is written only for runs
//! that passed. All of the statement sees the tables as they were when it began; an intent that a heartbeat or a claim
//! moves in that very moment is found where it was and cannot be taken from there. The statement counts what it found
//! and what it took, and where the two differ it undoes itself in the only way that plain SQL has: it divides by zero.

use std::collections::{BTreeMap, HashMap, HashSet};

use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use squidmesh_core::{CommitOutcome, Fingerprint, RunId};

use crate::apply::{Answer, CHANGE_RUN, CHANGE_STEP_RUN, CHANGED_RUN, CHANGED_STEP_RUN, Key, Undo, key_owners, rows};
use crate::clock::StoreClock;
use crate::columns::{Column, fixed, names};
use crate::error::{failed, is_division_by_zero};
use crate::intents::{
    HELD_INTENT, NEW_INTENT, PUT_INTENT, REMOVED_INTENT, REPIN_INTENT, REPINNED_INTENT, REPLACE_INTENT, WhenLocked,
    lock_held,
};
use crate::member::{Member, RunWrite};
use crate::rows::{
    ATTEMPT_COLUMNS, AUDIT_COLUMNS, DEFINITION_COLUMNS, INTENT_COLUMNS, RUN_COLUMNS, STEP_RUN_COLUMNS, lease_to_row,
};
use crate::sql::{Row, Sql};

/// How many times a wave is tried again that found something moved in the moment in which it was to be changed.
pub(crate) const UNSETTLED: u32 = 5;

/// How a statement of the store's own waits for the lock of a row: for a short time, since many commits wait with the one whose row it is.
/// It is set where the rows of runs come from, so that it holds before the first of them is locked, and for this transaction alone.
const PATIENCE: &str = "patience AS MATERIALIZED (SELECT set_config('lock_timeout', '250ms', true)), ";

/// Whose transaction a wave is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// One of its own, which is the statement.
    Own,
    /// One of the host's, which waits for locks as the host says.
    Hosts,
}

/// Only what belongs to runs whose own row was written.
const APPLIED: &str = "IN (SELECT id FROM applied)";

/// Writes members of different runs, all or none of those whose run is as they expect it. The answer for each, in their order.
/// Without an error they are written, whatever the answers say of those that were refused.
pub(crate) async fn write<C: ConnectionTrait>(
    connection: &C,
    clock: &StoreClock,
    known: &HashSet<Fingerprint>,
    members: &[&Member],
    within: Within,
) -> Result<Vec<Answer>, Undo> {
    let applied = match statement(Sql::on(connection), clock, known, members, within).fetch(connection).await {
        Ok(applied) => applied,
        Err(error) if is_division_by_zero(&error) => return Err(Undo::Unsettled),
        Err(error) => return Err(error.into()),
    };
    let applied: HashSet<RunId> = applied.iter().map(id_of).collect::<Result<_, _>>()?;
    let refused = members.iter().filter(|member| !applied.contains(&member.run_id));
    let keys: Vec<&Key> = refused.filter_map(|member| key_of(member)).collect();
    let owners = key_owners(connection, &keys).await;
    Ok(members.iter().map(|member| answer(member, &applied, &owners)).collect())
}

fn id_of(row: &QueryResult) -> Result<RunId, DbErr> {
    row.try_get_by::<Uuid, _>("id").map(RunId::from_uuid)
}

/// The key that a member starts its run under.
fn key_of(member: &Member) -> Option<&Key> {
    match &member.run {
        RunWrite::Insert { key, .. } => key.as_ref(),
        RunWrite::Change { .. } => None,
    }
}

/// The wave is written by now: an owner that could not be found out is the matter of those alone who were refused.
fn answer(member: &Member, applied: &HashSet<RunId>, owners: &Result<HashMap<Key, RunId>, DbErr>) -> Answer {
    if applied.contains(&member.run_id) {
        return Ok(CommitOutcome::Committed);
    }
    let Some(key) = key_of(member) else { return Ok(CommitOutcome::Conflict) };
    let owners = owners.as_ref().map_err(|error| failed("looking up an idempotency key")(error.clone()))?;
    Ok(match owners.get(key) {
        Some(owner) if *owner != member.run_id => CommitOutcome::KeyTaken(*owner),
        _ => CommitOutcome::Conflict,
    })
}

/// A statement in the making: its parts so far, and what must hold when all of them are done.
struct Wave {
    sql: Sql,
    checks: Vec<String>,
}

fn statement(sql: Sql, clock: &StoreClock, known: &HashSet<Fingerprint>, members: &[&Member], within: Within) -> Sql {
    let wave = Wave { sql: sql.push("WITH "), checks: Vec::new() }.runs(members, within).definitions(known, members);
    // Everybody who locks rows of several runs does so in the order of the runs.
    let mut members = members.to_vec();
    members.sort_by_key(|member| member.run_id);
    let members = &*members;
    let steps = rows(members, |member| &member.created_steps);
    let attempts = rows(members, |member| &member.attempts);
    let audit = rows(members, |member| &member.audit);
    let wave = wave
        .insert("new_steps", "squidmesh_step_runs", STEP_RUN_COLUMNS, &steps)
        .change_steps(&rows(members, |member| &member.changed_steps))
        .insert("new_attempts", "squidmesh_attempts", ATTEMPT_COLUMNS, &attempts)
        .remove_intents(&rows(members, |member| &member.removed_intents))
        .hold_fences(members)
        .put_intents("added", clock, &rows(members, |member| &member.added_intents), "DO NOTHING")
        .put_intents("replaced", clock, &rows(members, |member| &member.replaced_intents), REPLACE_INTENT)
        .repin_intents(&rows(members, |member| &member.repinned_intents))
        .insert("new_audit", "squidmesh_audit", AUDIT_COLUMNS, &audit);
    let Wave { sql, checks } = wave;
    if checks.is_empty() {
        return sql.push(" SELECT id FROM applied");
    }
    sql.push(&format!(" SELECT id, 1 / CASE WHEN {} THEN 1 ELSE 0 END AS whole FROM applied", checks.join(" AND ")))
}

impl Wave {
    fn push(mut self, text: &str) -> Self {
        self.sql = self.sql.push(text);
        self
    }

    /// `, name(columns) AS (list of rows)`
    fn list(mut self, name: &str, columns: &[Column], rows: &[&Row]) -> Self {
        self.sql = self.sql.push(", ").list_of(name, columns, rows);
        self
    }

    fn check(mut self, check: String) -> Self {
        self.checks.push(check);
        self
    }

    fn runs(mut self, members: &[&Member], within: Within) -> Self {
        let (patience, of_changes, of_starts) = match within {
            Within::Own => (PATIENCE, "patience CROSS JOIN change", " CROSS JOIN patience"),
            Within::Hosts => ("", "change", ""),
        };
        self = self.push(patience);
        let mut changed: Vec<_> = members
            .iter()
            .filter_map(|member| match &member.run {
                RunWrite::Change { row } => Some((member.run_id, row)),
                RunWrite::Insert { .. } => None,
            })
            .collect();
        changed.sort_by_key(|(id, _)| *id);
        let changed: Vec<&Row> = changed.into_iter().map(|(_, row)| row).collect();
        // By key, so that two writers with the same keys cannot wait for each other; of equal keys the first one wins.
        let mut started: Vec<_> = members
            .iter()
            .filter_map(|member| match &member.run {
                RunWrite::Insert { row, key } => Some((key.as_ref(), row)),
                RunWrite::Change { .. } => None,
            })
            .collect();
        started.sort_by_key(|(key, _)| *key);
        let started: Vec<&Row> = started.into_iter().map(|(_, row)| row).collect();
        let mut applied = Vec::new();
        if !changed.is_empty() {
            self.sql = self
                .sql
                .list_of("change", CHANGED_RUN, &changed)
                .push(&format!(", changed AS ({CHANGE_RUN}"))
                .join_list(of_changes, "squidmesh_runs", "id = run AND revision = expected")
                .push(" AND revision = expected RETURNING id), ");
            applied.push("SELECT id FROM changed");
        }
        if !started.is_empty() {
            self.sql = self
                .sql
                .push("started AS (")
                .insert("squidmesh_runs", RUN_COLUMNS, &started)
                .push(of_starts)
                .push(" ON CONFLICT DO NOTHING RETURNING id), ");
            applied.push("SELECT id FROM started");
        }
        self.push(&format!("applied AS MATERIALIZED ({})", applied.join(" UNION ALL ")))
    }

    /// Definitions go by their content: the first one stays, and whoever writes them takes the same order.
    fn definitions(mut self, known: &HashSet<Fingerprint>, members: &[&Member]) -> Self {
        let mut new = BTreeMap::new();
        let mut users: Vec<Row> = Vec::new();
        for member in members {
            if let Some((fingerprint, row)) = member.definition.as_ref().filter(|(found, _)| !known.contains(found)) {
                new.insert(*fingerprint, row);
                users.push(vec![fingerprint.to_string().into(), member.run_id.as_uuid().into()]);
            }
        }
        if new.is_empty() {
            return self;
        }
        self = self.list("users", &[fixed("version"), fixed("used_by")], &users.iter().collect::<Vec<_>>());
        let rows: Vec<&Row> = new.into_values().collect();
        self.sql = self
            .sql
            .push(", new_definitions AS (")
            .insert("squidmesh_definitions", DEFINITION_COLUMNS, &rows)
            .push(&format!(" WHERE fingerprint IN (SELECT version FROM users WHERE used_by {APPLIED})"))
            .push(" ON CONFLICT DO NOTHING)");
        self
    }

    fn insert(mut self, part: &str, table: &str, columns: &[Column], rows: &[&Row]) -> Self {
        if !rows.is_empty() {
            self.sql = self
                .sql
                .push(&format!(", {part} AS ("))
                .insert(table, columns, rows)
                .push(&format!(" WHERE run_id {APPLIED})"));
        }
        self
    }

    fn change_steps(mut self, rows: &[&Row]) -> Self {
        if rows.is_empty() {
            return self;
        }
        self = self.list("step_change", CHANGED_STEP_RUN, rows);
        self.sql = self
            .sql
            .push(&format!(", changed_steps AS ({CHANGE_STEP_RUN}"))
            .join_list("step_change", "squidmesh_step_runs", "run_id = run AND step = name")
            .push(&format!(" AND run {APPLIED} RETURNING 1)"));
        self.check(format!(
            "(SELECT count(*) FROM changed_steps) = (SELECT count(*) FROM step_change WHERE run {APPLIED})"
        ))
    }

    /// Takes intents away, and checks the fences whose own intents are among them.
    fn remove_intents(mut self, rows: &[&Row]) -> Self {
        if rows.is_empty() {
            return self;
        }
        self = self.list("removed", REMOVED_INTENT, rows);
        self.sql = self
            .sql
            .push(", found AS MATERIALIZED (SELECT token, lease, place FROM removed CROSS JOIN LATERAL ")
            .push("(SELECT lease, ctid AS place FROM squidmesh_intents WHERE run_id = run AND step = name OFFSET 0) AS hit ")
            .push(&format!("WHERE run {APPLIED}), "))
            .push("gone AS (DELETE FROM squidmesh_intents USING found WHERE squidmesh_intents.ctid = place RETURNING 1)");
        self.check("(SELECT count(*) FROM gone) = (SELECT count(*) FROM found)".to_owned()).check(format!(
            "(SELECT count(*) FROM found WHERE lease = token) = \
             (SELECT count(*) FROM removed WHERE token IS NOT NULL AND run {APPLIED})"
        ))
    }

    /// Checks the other fences, and keeps everybody else from taking them over.
    fn hold_fences(mut self, members: &[&Member]) -> Self {
        let fences: Vec<Row> = members.iter().flat_map(|member| &member.held).map(lease_to_row).collect();
        if fences.is_empty() {
            return self;
        }
        self = self.list("fence", HELD_INTENT, &fences.iter().collect::<Vec<_>>());
        self.push(&format!(
            ", held AS MATERIALIZED (SELECT run FROM fence CROSS JOIN LATERAL (SELECT lease FROM squidmesh_intents \
             WHERE run_id = run AND step = name AND lease = token FOR UPDATE) AS hit WHERE run {APPLIED})"
        ))
        .check(format!("(SELECT count(*) FROM held) = (SELECT count(*) FROM fence WHERE run {APPLIED})"))
    }

    fn put_intents(mut self, part: &str, clock: &StoreClock, rows: &[&Row], on_conflict: &str) -> Self {
        if rows.is_empty() {
            return self;
        }
        let list = format!("{part}_list");
        self = self.list(&list, NEW_INTENT, rows);
        let columns = names(INTENT_COLUMNS);
        let insert = format!(", {part} AS (INSERT INTO squidmesh_intents ({columns}) SELECT {PUT_INTENT}");
        self.sql = clock.now(self.sql.push(&insert));
        self.push(&format!(" FROM {list} WHERE run {APPLIED} ON CONFLICT {on_conflict})"))
    }

    /// Gives intents to another version. Whoever holds one goes on holding it.
    fn repin_intents(mut self, rows: &[&Row]) -> Self {
        if rows.is_empty() {
            return self;
        }
        self = self.list("repinned", REPINNED_INTENT, rows);
        self.push(&format!(
            ", lying AS MATERIALIZED (SELECT line, rank, version, place FROM repinned CROSS JOIN LATERAL \
             (SELECT ctid AS place FROM squidmesh_intents WHERE run_id = run AND step = name OFFSET 0) AS hit \
             WHERE run {APPLIED}), \
             moved AS ({REPIN_INTENT} FROM lying WHERE squidmesh_intents.ctid = place RETURNING 1)"
        ))
        .check("(SELECT count(*) FROM moved) = (SELECT count(*) FROM lying)".to_owned())
    }
}

/// The runs of members that somebody else has locked: found out after a wave gave up waiting. This waits for none of them.
pub(crate) async fn locked<C: ConnectionTrait>(connection: &C, members: &[&Member]) -> Result<HashSet<RunId>, DbErr> {
    let changed = |member: &&&Member| matches!(member.run, RunWrite::Change { .. });
    let ids = || members.iter().filter(changed).map(|member| member.run_id);
    let find = Sql::on(connection).push("SELECT id FROM squidmesh_runs WHERE id");
    let find = find.one_of(ids().map(|id| id.as_uuid()).collect::<Vec<_>>());
    // The lock that a change takes, and no stronger one: a reference to the run from a table of the host's is none.
    let free = find.push(" FOR NO KEY UPDATE SKIP LOCKED").fetch(connection).await?;
    let free: HashSet<RunId> = free.iter().map(id_of).collect::<Result<_, _>>()?;
    Ok(ids().filter(|id| !free.contains(id)).collect())
}

/// The places of the members whose claims have been lost: found out after a wave has undone itself.
pub(crate) async fn lost<C: ConnectionTrait>(connection: &C, members: &[&Member]) -> Result<Vec<usize>, DbErr> {
    let fences: Vec<Row> = members.iter().flat_map(|member| &member.fences).map(lease_to_row).collect();
    let held = lock_held(connection, &fences, WhenLocked::Wait).await?;
    let is_lost = |member: &&Member| member.fences.iter().any(|fence| !held.contains(fence));
    Ok(members.iter().enumerate().filter(|(_, member)| is_lost(member)).map(|(place, _)| place).collect())
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnAcquireErr, DbErr};
    use squidmesh_core::StoreError;
    use squidmesh_core::testing::sample;

    use super::*;

    #[test]
    fn what_is_written_stays_written_when_the_owner_of_a_key_cannot_be_found_out() -> Result<(), StoreError> {
        let keyed = |number| {
            let mut commit = sample::start(number);
            commit.run.idempotency_key = Some("key".to_owned());
            Member::encode(&commit)
        };
        let (written, refused) = (keyed(1)?, keyed(2)?);
        let applied = HashSet::from([written.run_id]);
        let away = Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
        assert!(matches!(answer(&written, &applied, &away), Ok(CommitOutcome::Committed)));
        assert!(matches!(answer(&refused, &applied, &away), Err(StoreError::Unavailable { .. })));
        let found = Ok(HashMap::from([(("sample".to_owned(), "other".to_owned()), written.run_id)]));
        assert!(matches!(answer(&refused, &applied, &found), Ok(CommitOutcome::Conflict)));
        Ok(())
    }

    #[test]
    fn without_a_connection_nobody_is_tried_alone() {
        let refused = Undo::from(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
        assert!(refused.strikes_all(), "each would wait as long for a connection as all of them together");
        assert!(matches!(refused.to_error(sample::run_id(1)), StoreError::Unavailable { .. }));
    }
}
