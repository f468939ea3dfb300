//! The goods that are reserved for each order, and their state.

use sea_orm::entity::prelude::*;

/// An article that is reserved for an order.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reservations")]
pub struct Model {
    /// The order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: String,
    /// The article.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sku: String,
    /// The quantity.
    pub quantity: i64,
    /// The state of the goods.
    pub state: State,
}

/// The state of reserved goods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)")]
pub enum State {
    /// On the shelf, reserved.
    #[sea_orm(string_value = "reserved")]
    Reserved,
    /// In the parcel.
    #[sea_orm(string_value = "picked")]
    Picked,
    /// Shipped. Final.
    #[sea_orm(string_value = "shipped")]
    Shipped,
    /// For sale again. Final.
    #[sea_orm(string_value = "released")]
    Released,
}

/// The table refers to no other.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
