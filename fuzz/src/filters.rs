//! Filters of lists: page by page, for any filter and cursor, the matching runs are listed newest first and once
//! each.

use std::cell::OnceCell;

use squidmesh_core::port::StoreSession;
use squidmesh_core::run::RunSummary;
use squidmesh_core::testing::{ManualClock, MemoryStore, block_on, sample};
use squidmesh_core::{RunFilter, RunId, RunStatus, Timestamp};

use crate::source::Source;

const RUNS: u64 = 40;

thread_local! {
    static STORED: OnceCell<(MemoryStore, Vec<RunSummary>)> = const { OnceCell::new() };
}

fn stored() -> (MemoryStore, Vec<RunSummary>) {
    let store = MemoryStore::new(std::sync::Arc::new(ManualClock::default()));
    let definitions = [sample::definition(), sample::definition_of("other", &["first"])];
    for number in 1..=RUNS {
        let mut commit = sample::start_of(&definitions[usize::from(number % 3 == 0)], number);
        let place = usize::try_from(number).expect("few") % RunStatus::ALL.len();
        commit.run.status = RunStatus::ALL[place];
        assert!(block_on(store.commit(vec![commit])).expect("the store is there").iter().all(Result::is_ok));
    }
    let all = block_on(store.list(&RunFilter::new().limit(1_000))).expect("the store is there").runs;
    assert_eq!(u64::try_from(all.len()), Ok(RUNS));
    (store, all)
}

pub fn run(data: &[u8]) {
    STORED.with(|stored| {
        let (store, all) = stored.get_or_init(self::stored);
        let mut source = Source::new(data);
        let filter = filter(&mut source, all);
        let matching = all.iter().filter(|run| matches(run, &filter));
        let expected: Vec<RunId> = matching.map(|run| run.id).collect();

        let (mut found, mut next) = (Vec::new(), filter.clone());
        for page_number in 0.. {
            assert!(page_number <= expected.len(), "the pages come to an end");
            let page = block_on(store.list(&next)).expect("a filter is no reason to fail");
            assert!(page.runs.len() <= filter.page_size());
            assert!(
                page.next.is_none() || page.runs.last().map(|run| run.id) == page.next,
                "the cursor is the last run"
            );
            found.extend(page.runs.iter().map(|run| run.id));
            match page.next {
                Some(last) => next = next.after(last),
                None => break,
            }
        }
        assert_eq!(found, expected, "{filter:?}");
    });
}

fn filter(source: &mut Source<'_>, all: &[RunSummary]) -> RunFilter {
    let mut filter = RunFilter::new();
    filter.workflow = source.maybe(|source| {
        let text = source.text();
        source.of(&["sample", "other", text.as_str()]).parse().unwrap_or_else(|_| sample::workflow("nobodys"))
    });
    for _ in 0..source.below(4) {
        filter = filter.status(source.of(&RunStatus::ALL));
    }
    let time = |source: &mut Source<'_>| match source.chance() {
        true => source.of(all).created_at,
        false => Timestamp::from_millis(source.integer()),
    };
    filter.created_from = source.maybe(time);
    filter.created_before = source.maybe(time);
    filter.after = source.maybe(|source| match source.chance() {
        true => source.of(all).id,
        false => RunId::from_uuid(uuid::Uuid::from_u64_pair(source.number(), source.number())),
    });
    filter.limit = source.of(&[0, 1, 2, 3, 7, 39, 40, 1_000, usize::MAX]);
    filter
}

/// Returns whether a run matches, according to the documentation of the filter.
fn matches(run: &RunSummary, filter: &RunFilter) -> bool {
    filter.workflow.as_ref().is_none_or(|workflow| run.workflow == *workflow)
        && (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
        && filter.created_from.is_none_or(|from| run.created_at >= from)
        && filter.created_before.is_none_or(|before| run.created_at < before)
        && filter.after.is_none_or(|after| run.id < after)
}
