//! What an executor answers about jobs before they are committed.

use super::ExecutorFixture;
use super::process::{Process, chain};
use super::witness::Witness;
use crate::definition::Priority;
use crate::dispatch::Job;
use crate::testing::sample;

pub async fn every_job_is_described_in_its_place(fixture: &dyn ExecutorFixture) {
    let run = sample::run(1);
    let jobs: Vec<Job> = (0..20)
        .map(|number| {
            let key = sample::intent(&run, &format!("step-{number}")).key;
            let delay = (number % 2 == 0).then(|| fixture.moment() * number);
            Job::new(key, sample::queue(&format!("queue-{}", number % 3)), Priority::Normal, delay)
        })
        .collect();
    let described = fixture.executor().describe(&jobs).unwrap();
    assert_eq!(described.len(), jobs.len());
    for (job, metadata) in jobs.iter().zip(&described) {
        assert_eq!(metadata.job_id, job.key.to_string());
        assert_eq!((&metadata.queue, metadata.schedule_in), (&job.queue, job.schedule_in));
    }
}

pub async fn no_jobs_have_no_descriptions(fixture: &dyn ExecutorFixture) {
    assert_eq!(fixture.executor().describe(&[]).unwrap(), []);
}

pub async fn a_job_has_the_same_id_each_time(fixture: &dyn ExecutorFixture) {
    let key = sample::intent(&sample::run(1), "first").key;
    let job = [Job::new(key, sample::queue("default"), Priority::High, None)];
    let (one, other) = (fixture.executor(), fixture.executor());
    assert_eq!(one.describe(&job).unwrap()[0].job_id, one.describe(&job).unwrap()[0].job_id);
    assert_eq!(one.describe(&job).unwrap()[0].job_id, other.describe(&job).unwrap()[0].job_id);
}

pub async fn describing_delivers_nothing(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let executor = fixture.executor();
    let workflow = chain("solo", [("only", witness.step("only"))]);
    let mut process = Process::with(fixture, &store, &[workflow], executor.clone());
    process.work(fixture);
    let key = sample::intent(&sample::run(1), "only").key;
    executor.describe(&[Job::new(key, sample::queue("default"), Priority::Normal, None)]).unwrap();
    let run = process.start("solo").await;
    process.all_completed(&[run.id]).await;
    assert_eq!(witness.executions(), 1);
    process.stop().await;
}
