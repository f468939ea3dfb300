//! The list of cases, and the macro that makes tests of them.

/// Creates a `#[test]` for every case of the executor conformance suite, in a module with the given name.
///
/// `runtime` is a function that runs a future to completion, such as one that calls `block_on` of an async runtime;
/// `fixture` is an expression that creates an [`ExecutorFixture`](crate::testing::executor_suite::ExecutorFixture),
/// once for each case.
///
/// Both are evaluated on the thread of the case. A case that has not ended within
/// [`CASE_TIMEOUT`](crate::testing::CASE_TIMEOUT) fails with a message that says so.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use futures_util::future::BoxFuture;
/// use squidmesh_core::testing::executor_suite::ExecutorFixture;
/// use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on, spawn_thread};
/// use squidmesh_core::definition::QueueName;
/// use squidmesh_core::port::{Executor, Store};
/// use squidmesh_core::minutes;
///
/// #[derive(Default)]
/// struct Memory {
///     clock: Arc<ManualClock>,
/// }
///
/// #[async_trait::async_trait]
/// impl ExecutorFixture for Memory {
///     fn executor(&self) -> Arc<dyn Executor> {
///         Arc::new(MemoryExecutor::new(self.clock.clone()))
///     }
///
///     fn refusing(&self, queue: &QueueName) -> Option<Arc<dyn Executor>> {
///         let executor = MemoryExecutor::new(self.clock.clone());
///         executor.refuse(queue.clone());
///         Some(Arc::new(executor))
///     }
///
///     async fn store(&self) -> Arc<dyn Store> {
///         Arc::new(MemoryStore::new(self.clock.clone()))
///     }
///
///     fn moment(&self) -> Duration {
///         minutes(1)
///     }
///
///     async fn pass(&self, time: Duration) {
///         self.clock.advance(time);
///     }
///
///     fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
///         spawn_thread(work)
///     }
/// }
///
/// squidmesh_core::executor_conformance! { mod memory, runtime: block_on, fixture: Memory::default() }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! executor_conformance {
    ($(#[$meta:meta])* mod $name:ident, runtime: $runtime:expr, fixture: $fixture:expr $(,)?) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "the expressions may need none of it")]
            use super::*;
            $crate::__executor_cases! { ($runtime) ($fixture) }
        }
    };
}

/// Every case of the suite, by module. A case is written in its module alone: `cargo xtask fix` writes this list, and
/// `cargo xtask lint` rejects one that lacks a case.
#[doc(hidden)]
#[macro_export]
macro_rules! __executor_cases {
    ($runtime:tt $fixture:tt) => {
        $crate::__suite_tests! { executor_suite $runtime $fixture
            // Written by `cargo xtask fix`, from the functions:
            cron:
                occurrences_that_are_due_are_fired_while_workers_run
                two_workers_on_one_store_fire_each_occurrence_once
                a_trigger_that_is_new_fires_nothing_for_the_past;
            delivery:
                every_dispatched_step_is_delivered_once
                work_committed_before_the_workers_started_is_delivered
                siblings_are_delivered_and_their_join_after_them
                every_queue_that_the_workflows_name_is_served
                work_that_was_never_published_is_found
                an_executor_without_notifications_delivers_everything
                work_for_other_versions_is_left_alone;
            describe:
                every_job_is_described_in_its_place
                no_jobs_have_no_descriptions
                a_job_has_the_same_id_each_time
                describing_delivers_nothing;
            drain:
                idle_workers_stop
                workers_stopped_before_they_start_take_nothing
                a_step_that_runs_may_finish
                what_has_not_begun_is_left_for_others
                a_step_that_does_not_end_is_interrupted_and_does_not_count;
            duplicate:
                of_four_deliveries_at_once_one_is_carried_out
                deliveries_beside_the_workers_are_carried_out_once
                a_late_delivery_changes_nothing
                a_delivery_for_an_unknown_run_changes_nothing
                a_malformed_payload_is_refused_and_touches_nothing;
            refusal:
                a_job_for_a_refused_queue_is_unroutable
                a_run_that_begins_with_a_refused_job_is_not_started
                a_refused_successor_fails_its_run_and_keeps_the_output;
            takeover:
                two_workers_on_one_store_do_each_step_once
                a_dead_workers_step_is_retried_after_its_lease
                a_slow_step_is_not_taken_from_its_worker
                a_worker_that_died_between_steps_loses_none;
            timing:
                delayed_work_is_not_delivered_early
                a_retry_comes_after_its_backoff
                what_waits_does_not_hold_up_what_is_due
                work_that_falls_due_while_nobody_works_is_delivered_later;
        }
    };
}
