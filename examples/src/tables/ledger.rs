//! The shop's ledger: an order has at most one entry of each kind.

use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ledger")]
pub struct Model {
    /// The order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: String,
    /// The kind of the entry.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: Kind,
    /// The amount, in cents.
    pub amount_cents: i64,
    /// The document behind it: the gateway's id of the payment, or the number of the invoice.
    pub reference: String,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)")]
pub enum Kind {
    /// Money that the gateway has taken for the shop.
    #[sea_orm(string_value = "payment")]
    Payment,
    /// Money that the customer was billed.
    #[sea_orm(string_value = "invoice")]
    Invoice,
}

/// The table refers to no other.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Makes an entry, unless the order has one of this kind already.
///
/// # Errors
/// Returns the database's error.
pub async fn enter(database: &impl ConnectionTrait, entry: Model) -> Result<(), DbErr> {
    let Model { order_id, kind, amount_cents, reference } = entry;
    let row = ActiveModel {
        order_id: Set(order_id),
        kind: Set(kind),
        amount_cents: Set(amount_cents),
        reference: Set(reference),
    };
    let once = OnConflict::columns([Column::OrderId, Column::Kind]).do_nothing().to_owned();
    Entity::insert(row).on_conflict(once).exec_without_returning(database).await.map(drop)
}
