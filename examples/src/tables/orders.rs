//! The orders that the shop has taken in, each with the run that processes it.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: String,
    /// The run of the workflow `checkout` that processes it.
    pub run_id: String,
    /// The state of the order.
    pub state: State,
    /// The price, in cents.
    pub total_cents: i64,
}

/// The state of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)")]
pub enum State {
    /// Taken in, and being processed.
    #[sea_orm(string_value = "placed")]
    Placed,
    /// Shipped and invoiced. Final.
    #[sea_orm(string_value = "fulfilled")]
    Fulfilled,
    /// Sold out or not paid; its goods are available again. Final.
    #[sea_orm(string_value = "released")]
    Released,
}

/// The table refers to no other.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Closes an order.
///
/// # Errors
/// Returns the database's error.
pub async fn close(database: &impl ConnectionTrait, order_id: &str, state: State) -> Result<(), DbErr> {
    let placed = Entity::update_many().filter(Column::OrderId.eq(order_id)).filter(Column::State.eq(State::Placed));
    placed.col_expr(Column::State, Expr::value(state)).exec(database).await.map(drop)
}
