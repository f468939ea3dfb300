//! The stock of each article.

use sea_orm::entity::prelude::*;

/// An article in stock. At any time, `on_hand + reserved +` what was shipped is what was received.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stock")]
pub struct Model {
    /// The article.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sku: String,
    /// How many ever came in.
    pub received: i64,
    /// How many can be sold.
    pub on_hand: i64,
    /// How many are put aside for orders.
    pub reserved: i64,
}

/// It refers to no other table.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
