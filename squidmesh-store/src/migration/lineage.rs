//! The second migration: the runs that came from others are found by those.
//!
//! Few runs do, and what they came from never changes: the indexes have no entry for the others, and cost their updates nothing.

use async_trait::async_trait;
use sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Lineage;

impl MigrationName for Lineage {
    fn name(&self) -> &str {
        "m20250901_000002_squidmesh_lineage"
    }
}

#[async_trait]
impl MigrationTrait for Lineage {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        super::execute_all(manager, CREATE).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        super::execute_all(manager, DROP).await
    }
}

const CREATE: &[&str] = &[
    "CREATE INDEX IF NOT EXISTS squidmesh_runs_by_replayed ON squidmesh_runs (replayed_from) WHERE replayed_from IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS squidmesh_runs_by_resumed ON squidmesh_runs (resumed_from) WHERE resumed_from IS NOT NULL",
];

const DROP: &[&str] =
    &["DROP INDEX IF EXISTS squidmesh_runs_by_resumed", "DROP INDEX IF EXISTS squidmesh_runs_by_replayed"];
