//! Parcels that customs inspect before they leave.

use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict};

/// A parcel that is inspected.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "customs")]
pub struct Model {
    /// The order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: String,
    /// Whether it may leave.
    pub cleared: bool,
}

/// The table refers to no other.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Holds the parcel of an order, unless it was held before.
///
/// # Errors
/// Returns the database's error.
pub async fn hold(database: &impl ConnectionTrait, order_id: &str) -> Result<(), DbErr> {
    let row = ActiveModel { order_id: Set(order_id.to_owned()), cleared: Set(false) };
    let once = OnConflict::column(Column::OrderId).do_nothing().to_owned();
    Entity::insert(row).on_conflict(once).exec_without_returning(database).await.map(drop)
}

/// Clears the parcel of an order.
///
/// # Errors
/// Returns the database's error.
pub async fn clear(database: &impl ConnectionTrait, order_id: &str) -> Result<(), DbErr> {
    let held = Entity::update_many().filter(Column::OrderId.eq(order_id));
    held.col_expr(Column::Cleared, Expr::value(true)).exec(database).await.map(drop)
}

/// Returns whether the parcel of an order must not leave yet.
///
/// # Errors
/// Returns the database's error.
pub async fn is_held(database: &impl ConnectionTrait, order_id: &str) -> Result<bool, DbErr> {
    Ok(Entity::find_by_id(order_id).one(database).await?.is_some_and(|parcel| !parcel.cleared))
}
