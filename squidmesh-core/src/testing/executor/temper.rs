//! How the executor in memory answers when jobs are described.

use std::collections::BTreeSet;

use crate::dispatch::{Job, JobMetadata, Refusal};
use crate::name::QueueName;

/// What a test has made the executor answer about jobs; by default, it accepts them.
#[derive(Clone, Debug, Default)]
pub(super) struct Temper {
    refused: BTreeSet<QueueName>,
    refusal: Option<Refusal>,
    panics: bool,
}

impl Temper {
    pub(super) fn refuse(&mut self, queue: QueueName) {
        self.refused.insert(queue);
    }

    pub(super) fn refuse_all(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
    }

    pub(super) fn panic(&mut self) {
        self.panics = true;
    }

    pub(super) fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        if self.panics {
            #[allow(clippy::panic, reason = "a test asked for it")]
            {
                panic!("a test made the executor panic");
            }
        }
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        if let Some(job) = jobs.iter().find(|job| self.refused.contains(&job.queue)) {
            let reason = format!("a test made the executor refuse queue {}", job.queue);
            return Err(Refusal::Unroutable { job_id: job.key.to_string(), reason });
        }
        Ok(jobs.iter().map(Job::metadata).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Priority;
    use crate::testing::sample;

    fn job(queue: &str) -> Job {
        let key = sample::intent(&sample::run(1), "first").key;
        Job::new(key, sample::queue(queue), Priority::Normal, None)
    }

    #[test]
    fn jobs_are_accepted_by_default() {
        let described = Temper::default().describe(&[job("a"), job("b")]).unwrap();
        let queues: Vec<_> = described.iter().map(|metadata| metadata.queue.as_str()).collect();
        assert_eq!(queues, ["a", "b"]);
    }

    #[test]
    fn one_refused_queue_refuses_all_jobs_of_the_call() {
        let mut temper = Temper::default();
        temper.refuse(sample::queue("b"));
        assert!(temper.describe(&[job("a")]).is_ok());
        assert!(matches!(temper.describe(&[job("a"), job("b")]), Err(Refusal::Unroutable { .. })));
    }

    #[test]
    fn it_panics_when_so_tempered() {
        let mut temper = Temper::default();
        temper.panic();
        assert!(std::panic::catch_unwind(|| temper.describe(&[job("a")]).is_ok()).is_err());
    }
}
