//! The stock of each article.

use sea_orm::entity::prelude::*;

/// An article in stock. At any time, `on_hand + reserved +` the shipped quantity equals `received`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stock")]
pub struct Model {
    /// The article.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sku: String,
    /// The total quantity ever received.
    pub received: i64,
    /// The quantity that can be sold.
    pub on_hand: i64,
    /// The quantity reserved for orders.
    pub reserved: i64,
}

/// The table refers to no other.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
