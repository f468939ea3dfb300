//! Compares a new version of a workflow with the live runs: what deploying it would mean for them.
//!
//! Needs only a store and the new definition: no executor and no handlers. Changes nothing. Call it in the deployment
//! pipeline, with the definition of the version to be deployed:
//!
//! ```
//! use squidmesh_core::definition::Definition;
//! use squidmesh_core::deploy::compare_with_live_runs;
//! use squidmesh_core::port::{Store, StoreError};
//!
//! /// Fails the pipeline if a run would be left without a version that carries it on.
//! async fn check_deploy(store: &dyn Store, checkout: &Definition) -> Result<bool, StoreError> {
//!     let report = compare_with_live_runs(store, checkout).await?;
//!     println!("{report}");
//!     Ok(report.all_can_continue())
//! }
//! # let clock = std::sync::Arc::new(squidmesh_core::testing::ManualClock::default());
//! # let store = squidmesh_core::testing::MemoryStore::new(clock);
//! # let definition = squidmesh_core::testing::sample::definition();
//! # assert!(squidmesh_core::testing::block_on(check_deploy(&store, &definition)).unwrap());
//! ```
//!
//! The pipeline's definition must be that of the deployed program: build it with the same function. The report is a
//! snapshot: runs progress while it is made, and a run that could be adopted now may reach a step that no longer
//! exists.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::definition::{Definition, Fingerprint};
pub use crate::engine::Difference;
use crate::engine::differences;
use crate::id::RunId;
use crate::name::WorkflowName;
use crate::port::{RunFilter, Store, StoreError, StrandedRequest};
use crate::run::{RunSnapshot, RunStatus};

/// The number of runs to load from the store concurrently.
const AT_ONCE: usize = 16;
/// The number of runs per listed page.
const PAGE: usize = 500;
/// The maximum number of sample runs per difference.
const SAMPLES: usize = 10;
/// The maximum number of distinct differences per version.
const DIFFERENCES: usize = 1_000;

/// What a new version of a workflow would mean for the live runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeployReport {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The new version.
    pub version: Fingerprint,
    /// The versions that live runs are pinned to, in the order of their fingerprints.
    pub versions: Vec<VersionReport>,
}

/// What the new version would mean for the live runs of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VersionReport {
    /// The version that the runs are pinned to.
    pub version: Fingerprint,
    /// Whether it is the new version: its runs continue unchanged.
    pub same: bool,
    /// Whether its definition is stored. If not, its runs cannot be compared, and count as not adoptable.
    pub stored: bool,
    /// The number of its runs that the new version could adopt or, if it is the same version, continue.
    pub adoptable: u64,
    /// The number of its runs that the new version could not adopt.
    pub not_adoptable: u64,
    /// Samples of the runs that it could not adopt.
    pub samples: Vec<RunId>,
    /// The differences that prevent adoption.
    pub differences: Vec<FoundDifference>,
}

/// A difference, and the runs that it affects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FoundDifference {
    /// The difference.
    pub difference: Difference,
    /// The number of runs that it affects.
    pub runs: u64,
    /// Samples of these runs.
    pub samples: Vec<RunId>,
}

impl DeployReport {
    /// Returns whether the new version could continue every live run, if adoption is allowed: no process has to keep
    /// an older version.
    pub fn all_can_continue(&self) -> bool {
        self.versions.iter().all(|version| version.not_adoptable == 0)
    }
}

impl fmt::Display for DeployReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workflow {}, version {}:", self.workflow, self.version)?;
        if self.versions.is_empty() {
            write!(f, " no live runs")?;
        }
        for version in &self.versions {
            let VersionReport { version: pinned, adoptable, not_adoptable, .. } = version;
            match (version.same, version.stored) {
                (true, _) => write!(f, "\n  {pinned} is the same version; {adoptable} runs continue")?,
                (false, true) => {
                    write!(f, "\n  {pinned}: {adoptable} runs can be adopted, {not_adoptable} cannot")?;
                }
                (false, false) => write!(f, "\n  {pinned} is not stored; {not_adoptable} runs cannot be adopted")?,
            }
            for found in &version.differences {
                write!(f, "\n    {} ({} runs", found.difference, found.runs)?;
                if let Some(sample) = found.samples.first() {
                    write!(f, ", such as {sample}")?;
                }
                write!(f, ")")?;
            }
        }
        Ok(())
    }
}

/// Compares a new version of a workflow with every run of it that has not ended or still has to be compensated.
///
/// Reads page by page: memory does not grow with the number of runs, time does.
///
/// # Errors
/// [`StoreError`], including for a run that cannot be read.
pub async fn compare_with_live_runs(store: &dyn Store, new: &Definition) -> Result<DeployReport, StoreError> {
    let mut comparison = Comparison { store, new, definitions: HashMap::new(), versions: BTreeMap::new() };
    let live = RunStatus::ALL.into_iter().filter(|status| !status.is_terminal());
    let mut filter = live.fold(RunFilter::new(), RunFilter::status).workflow(new.name().clone()).limit(PAGE);
    loop {
        let page = store.list(&filter).await?;
        let ids: Vec<RunId> = page.runs.iter().map(|run| run.id).collect();
        comparison.add_all(&ids, |state| !state.run.status.is_terminal()).await?;
        match page.next {
            Some(next) => filter = filter.after(next),
            None => break,
        }
    }
    // Failed runs that still have to be compensated have work due.
    let mut request = StrandedRequest::new(vec![*new.fingerprint()], Duration::ZERO, PAGE);
    loop {
        let ids = store.stranded(&request).await?;
        let failed = |state: &RunSnapshot| state.run.status == RunStatus::Failed && state.run.workflow == *new.name();
        comparison.add_all(&ids, failed).await?;
        match ids.last() {
            Some(last) if ids.len() == PAGE => request = request.after(Some(*last)),
            _ => break,
        }
    }
    Ok(comparison.report())
}

struct Comparison<'a> {
    store: &'a dyn Store,
    new: &'a Definition,
    definitions: HashMap<Fingerprint, Option<Arc<Definition>>>,
    versions: BTreeMap<Fingerprint, (VersionReport, BTreeMap<String, FoundDifference>)>,
}

impl Comparison<'_> {
    async fn add_all(&mut self, ids: &[RunId], counts: impl Fn(&RunSnapshot) -> bool) -> Result<(), StoreError> {
        for ids in ids.chunks(AT_ONCE) {
            let states = try_join_all(ids.iter().map(|id| self.store.load(*id))).await?;
            for state in states.into_iter().flatten().filter(&counts) {
                self.add(&state).await?;
            }
        }
        Ok(())
    }

    async fn add(&mut self, state: &RunSnapshot) -> Result<(), StoreError> {
        let version = state.run.fingerprint;
        let same = version == *self.new.fingerprint();
        let definition = match self.definitions.get(&version) {
            Some(known) => known.clone(),
            None => {
                let stored = self.store.definition(&version).await?.map(Arc::new);
                self.definitions.entry(version).or_insert(stored).clone()
            }
        };
        let found = match &definition {
            Some(from) if !same => differences(state, from, self.new),
            _ => Vec::new(),
        };
        let stored = definition.is_some();
        let (report, kept) = self.versions.entry(version).or_insert_with(|| {
            let (samples, differences) = (Vec::new(), Vec::new());
            let report = VersionReport { version, same, stored, adoptable: 0, not_adoptable: 0, samples, differences };
            (report, BTreeMap::new())
        });
        if same || (stored && found.is_empty()) {
            report.adoptable += 1;
            return Ok(());
        }
        report.not_adoptable += 1;
        sample(&mut report.samples, state.run.id);
        for difference in found {
            let text = difference.to_string();
            if kept.len() >= DIFFERENCES && !kept.contains_key(&text) {
                continue;
            }
            let found =
                kept.entry(text).or_insert_with(|| FoundDifference { difference, runs: 0, samples: Vec::new() });
            found.runs += 1;
            sample(&mut found.samples, state.run.id);
        }
        Ok(())
    }

    fn report(self) -> DeployReport {
        let versions = self.versions.into_values().map(|(report, kept)| {
            let mut differences: Vec<FoundDifference> = kept.into_values().collect();
            differences.sort_by_key(|found| std::cmp::Reverse(found.runs));
            VersionReport { differences, ..report }
        });
        DeployReport {
            workflow: self.new.name().clone(),
            version: *self.new.fingerprint(),
            versions: versions.collect(),
        }
    }
}

fn sample(samples: &mut Vec<RunId>, run: RunId) {
    if samples.len() < SAMPLES {
        samples.push(run);
    }
}
