//! What is put aside for an order, and what became of it.

use sea_orm::entity::prelude::*;

/// An article that is put aside for an order.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reservations")]
pub struct Model {
    /// The order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: String,
    /// The article.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sku: String,
    /// How many of it.
    pub quantity: i64,
    /// Where it is.
    pub state: State,
}

/// Where reserved goods are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)")]
pub enum State {
    /// On the shelf, put aside.
    #[sea_orm(string_value = "reserved")]
    Reserved,
    /// In the parcel.
    #[sea_orm(string_value = "picked")]
    Picked,
    /// Gone out. Final.
    #[sea_orm(string_value = "shipped")]
    Shipped,
    /// For sale again. Final.
    #[sea_orm(string_value = "released")]
    Released,
}

/// It refers to no other table.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
