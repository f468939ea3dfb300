//! The lanes of an executor's workers: which queues they serve, and how many steps run concurrently.
//!
//! Knows settings; must never know how an executor works or delivers.

use std::collections::{BTreeMap, BTreeSet};

use super::InvalidSetting;
use crate::dispatch::{Job, JobMetadata, Refusal};
use crate::name::QueueName;

/// The settings that executors with workers have in common.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// The maximum number of concurrent steps, over all queues without a limit of their own.
    pub concurrency: usize,
    /// The queues with workers of their own, and the maximum number of their concurrent steps.
    pub own: BTreeMap<QueueName, usize>,
    /// The queues to which jobs are accepted; `None` accepts all.
    pub accepted: Option<BTreeSet<QueueName>>,
}

impl Default for Lanes {
    /// 32 concurrent steps of any queue.
    fn default() -> Self {
        Lanes { concurrency: 32, own: BTreeMap::new(), accepted: None }
    }
}

impl Lanes {
    /// Returns the queues of each lane with its number of workers: one lane for each queue with workers of its own, and
    /// one for the rest of `queues`.
    pub fn of(&self, queues: &[QueueName]) -> Vec<(Vec<QueueName>, usize)> {
        let rest: Vec<_> = queues.iter().filter(|queue| !self.own.contains_key(*queue)).cloned().collect();
        let own = self.own.iter().map(|(queue, steps)| (vec![queue.clone()], *steps));
        own.chain((!rest.is_empty()).then_some((rest, self.concurrency))).collect()
    }

    /// Validates the settings `concurrency`, `queue` and `accept_only`.
    ///
    /// # Errors
    /// [`InvalidSetting`] for a lane without workers, and for a list of accepted queues that is empty.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        if self.concurrency == 0 {
            return Err(InvalidSetting::new("concurrency", "0", "it must be at least 1"));
        }
        if let Some((queue, _)) = self.own.iter().find(|(_, steps)| **steps == 0) {
            let rule = "it must be at least 1 for a queue with its own workers";
            return Err(InvalidSetting::new("queue", format!("0 for {queue}"), rule));
        }
        if self.accepted.as_ref().is_some_and(BTreeSet::is_empty) {
            let rule = "it would refuse every step: name the queues, or omit it to accept all";
            return Err(InvalidSetting::new("accept_only", "empty", rule));
        }
        Ok(())
    }

    /// Describes jobs by their own data.
    ///
    /// # Errors
    /// [`Refusal::Unroutable`] for a job on a queue that is not accepted.
    pub fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        if let Some(accepted) = &self.accepted
            && let Some(job) = jobs.iter().find(|job| !accepted.contains(&job.queue))
        {
            let reason = format!("queue {} is not among those that this executor accepts", job.queue);
            return Err(Refusal::Unroutable { job_id: job.key.to_string(), reason });
        }
        Ok(jobs.iter().map(Job::metadata).collect())
    }
}
