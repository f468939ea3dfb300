//! The shop's own tables, beside those of the workflows in the same database.
//!
//! Their keys make each step safe to repeat: an order's row, its reservation of an article, its entry of a kind in
//! the ledger and the settlement of its payment can each exist only once.

pub mod account;
pub mod customs;
pub mod ledger;
pub mod orders;
pub mod reservations;
pub mod settlements;
pub mod stock;

use sea_orm::{ConnectionTrait, DbErr, EntityTrait, Schema};

/// Creates the missing tables.
///
/// # Errors
/// Returns the database's error.
pub async fn create(database: &impl ConnectionTrait) -> Result<(), DbErr> {
    create_one(database, account::Entity).await?;
    create_one(database, customs::Entity).await?;
    create_one(database, ledger::Entity).await?;
    create_one(database, orders::Entity).await?;
    create_one(database, reservations::Entity).await?;
    create_one(database, settlements::Entity).await?;
    create_one(database, settlements::payment::Entity).await?;
    create_one(database, stock::Entity).await
}

async fn create_one(database: &impl ConnectionTrait, entity: impl EntityTrait) -> Result<(), DbErr> {
    let backend = database.get_database_backend();
    let table = Schema::new(backend).create_table_from_entity(entity).if_not_exists().take();
    database.execute(&table).await.map(drop)
}
