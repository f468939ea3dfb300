//! How the defects of a store change commits and their answers.

use std::time::Duration;

use squidmesh_core::definition::{Fingerprint, Priority, QueueName};
use squidmesh_core::dispatch::Intent;
use squidmesh_core::port::{Commit, CommitOutcome, IntentWrite, Precondition, RunPage, StoreError, StoreSession};
use squidmesh_core::testing::sample;
use squidmesh_core::{RunFilter, ms};

use crate::defect::Defect;
use crate::defective::Defective;

impl Defective {
    /// Changes a commit as the defect would.
    pub(crate) async fn spoil(&self, commit: &mut Commit) {
        match self.defect {
            Defect::FenceIgnored => commit.fences.clear(),
            Defect::OneFenceIsEnough => commit.fences.truncate(1),
            Defect::KeyForgotten => commit.run.idempotency_key = None,
            Defect::DefinitionForgotten => commit.definition = None,
            Defect::AuditForgotten => commit.audit.clear(),
            Defect::AttemptsForgotten => commit.attempts.clear(),
            Defect::TokenForgotten => commit.run.token = sample::commit_token(0),
            Defect::RemoveIgnored => commit.intents.retain(|write| !matches!(write, IntentWrite::Remove(_))),
            Defect::RepinningIgnored => commit.intents.retain(|write| !matches!(write, IntentWrite::Repin { .. })),
            Defect::RevisionIgnored => {
                if let Ok(Some(state)) = self.store.load(commit.run.id).await {
                    commit.precondition = Precondition::Revision(state.run.revision);
                    commit.run.revision = state.run.revision + 1;
                }
            }
            _ => {}
        }
        for write in &mut commit.intents {
            self.spoil_intent(write);
        }
    }

    fn spoil_intent(&self, write: &mut IntentWrite) {
        if let IntentWrite::Add(intent) | IntentWrite::Replace(intent) = write {
            match self.defect {
                Defect::DelayIgnored if intent.lease.is_none() => intent.delay = Duration::ZERO,
                Defect::DueEarly if intent.lease.is_none() => intent.delay = intent.delay.saturating_sub(ms(1)),
                Defect::DueLate => intent.delay += ms(1),
                Defect::CommittedLeaseEndsEarly if intent.lease.is_some() => intent.delay -= ms(1),
                Defect::CommittedLeaseForgotten => intent.lease = None,
                Defect::PriorityForgotten => intent.priority = Priority::Normal,
                Defect::QueueForgotten => intent.queue = QueueName::default(),
                _ => {}
            }
        }
        *write = match (self.defect, write.clone()) {
            (Defect::AddReplaces, IntentWrite::Add(intent)) => IntentWrite::Replace(intent),
            (Defect::ReplaceAdds, IntentWrite::Replace(intent)) => IntentWrite::Add(intent),
            (Defect::RepinningReplaces, IntentWrite::Repin { key, fingerprint, queue, priority }) => {
                let (delay, lease) = (Duration::ZERO, None);
                IntentWrite::Replace(Intent { key, fingerprint, queue, priority, delay, lease })
            }
            (_, write) => write,
        };
    }

    /// Changes the answer to a commit as the defect would.
    pub(crate) async fn spoil_answer(&self, commit: &Commit, outcome: CommitOutcome) -> CommitOutcome {
        match (self.defect, outcome) {
            (Defect::ConflictIsFenced, CommitOutcome::Conflict) => CommitOutcome::Fenced,
            (Defect::FencedIsConflict, CommitOutcome::Fenced) => CommitOutcome::Conflict,
            (Defect::KeyTakenIsConflict, CommitOutcome::KeyTaken(_)) => CommitOutcome::Conflict,
            (Defect::KeyTakenNamesTheNewRun, CommitOutcome::KeyTaken(_)) => CommitOutcome::KeyTaken(commit.run.id),
            (Defect::SameCommitTwice, CommitOutcome::Conflict) => match self.store.load(commit.run.id).await {
                Ok(Some(state)) if state.run.token == commit.run.token => CommitOutcome::Committed,
                _ => CommitOutcome::Conflict,
            },
            (_, outcome) => outcome,
        }
    }

    /// Returns all runs, of every workflow.
    pub(crate) async fn runs(&self) -> Result<RunPage, StoreError> {
        self.store.list(&RunFilter::new().limit(1_000)).await
    }

    /// Returns the version of each run.
    pub(crate) async fn versions(&self) -> Result<Vec<Fingerprint>, StoreError> {
        Ok(self.runs().await?.runs.into_iter().map(|run| run.fingerprint).collect())
    }
}
