//! Asks the executor to describe jobs before they are committed.

use crate::dispatch::{Job, JobMetadata, Refusal};

/// Describes jobs before they are committed, or refuses them all: the executor's part in a decision.
pub trait DescribeJobs {
    /// Returns one metadata for each job, in their order.
    ///
    /// # Errors
    /// Returns the [`Refusal`] of the jobs.
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal>;
}

impl<F: Fn(&[Job]) -> Result<Vec<JobMetadata>, Refusal>> DescribeJobs for F {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        self(jobs)
    }
}

/// Returns one metadata for each job, in their order. A refusal names the refused job.
pub(super) fn describe(jobs: &dyn DescribeJobs, planned: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
    if planned.is_empty() {
        return Ok(Vec::new());
    }
    describe_all(jobs, planned).map_err(|refusal| refused_by_name(jobs, planned, refusal))
}

/// Describes the compensation of a run, which is dispatched even if the executor refuses it.
pub(super) fn describe_compensation(jobs: &dyn DescribeJobs, job: &Job) -> Vec<JobMetadata> {
    describe(jobs, std::slice::from_ref(job)).unwrap_or_else(|_| vec![job.metadata()])
}

fn describe_all(jobs: &dyn DescribeJobs, planned: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
    let metadata = jobs.describe(planned)?;
    if metadata.len() == planned.len() {
        Ok(metadata)
    } else {
        let reason = format!("it described {} jobs when asked about {}", metadata.len(), planned.len());
        Err(Refusal::Defective { reason })
    }
}

/// The maximum number of jobs that an executor describes one by one, to find out which of them it refuses.
const ASKED_ALONE: usize = 100;

/// Returns the refusal with the refused job's own id. An executor may name the job by an id that only the
/// executor knows; then each job is described alone.
fn refused_by_name(jobs: &dyn DescribeJobs, planned: &[Job], refusal: Refusal) -> Refusal {
    let named = match &refusal {
        Refusal::Unroutable { job_id, .. } => planned.iter().find(|job| job.key.to_string() == *job_id),
        Refusal::Defective { .. } => None,
        Refusal::Unavailable { .. } => return refusal,
    };
    let refuses = |job: &&Job| describe_all(jobs, std::slice::from_ref(*job)).is_err();
    let alone = || if planned.len() > 1 { planned.iter().take(ASKED_ALONE).find(refuses) } else { None };
    let Some(job) = named.or_else(alone).or(planned.first()) else { return refusal };
    match refusal {
        Refusal::Unroutable { reason, .. } => Refusal::Unroutable { job_id: job.key.to_string(), reason },
        Refusal::Defective { reason } => Refusal::Defective { reason: format!("{reason} (job {})", job.key) },
        other => other,
    }
}
