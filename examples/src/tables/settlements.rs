//! The payouts of the gateway to the shop, night by night: a night is settled once, and so is a payment.

use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::ledger;

/// The settlement of a night.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "settlements")]
pub struct Model {
    /// The night: its scheduled time, in RFC 3339.
    #[sea_orm(primary_key, auto_increment = false)]
    pub night: String,
    /// The number of payments.
    pub payments: i64,
    /// The sum of the payments, in cents.
    pub amount_cents: i64,
}

/// The table refers to no other.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The payments, each with the night in which it was settled.
pub mod payment {
    use sea_orm::entity::prelude::*;

    /// A settled payment.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "settled_payments")]
    pub struct Model {
        /// The order.
        #[sea_orm(primary_key, auto_increment = false)]
        pub order_id: String,
        /// The night.
        pub night: String,
    }

    /// The table refers to no other.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Returns the payments in the ledger that no night has settled, in the order of their numbers.
///
/// # Errors
/// Returns the database's error.
pub async fn unsettled(database: &impl ConnectionTrait) -> Result<Vec<ledger::Model>, DbErr> {
    let settled = sea_orm::sea_query::Query::select().column(payment::Column::OrderId).from(payment::Entity).to_owned();
    let payments = ledger::Entity::find().filter(ledger::Column::Kind.eq(ledger::Kind::Payment));
    payments.filter(ledger::Column::OrderId.not_in_subquery(settled)).all(database).await
}

/// Settles a night, unless it is settled already.
///
/// # Errors
/// Returns the database's error; roll the transaction back.
pub async fn settle(database: &impl ConnectionTrait, night: &str) -> Result<Model, DbErr> {
    if let Some(settled) = Entity::find_by_id(night).one(database).await? {
        return Ok(settled);
    }
    let payments = unsettled(database).await?;
    let settlement = Model {
        night: night.to_owned(),
        payments: i64::try_from(payments.len()).unwrap_or(i64::MAX),
        amount_cents: payments.iter().map(|payment| payment.amount_cents).sum(),
    };
    // Of two settlements of one night, or of one payment, the second is refused by its key.
    Entity::insert(ActiveModel::from(settlement.clone())).exec_without_returning(database).await?;
    for chunk in payments.chunks(500) {
        let rows = chunk.iter().map(|payment| payment::ActiveModel {
            order_id: Set(payment.order_id.clone()),
            night: Set(night.to_owned()),
        });
        payment::Entity::insert_many(rows).exec_without_returning(database).await?;
    }
    Ok(settlement)
}
