//! The shop's account at the payment gateway: one row.
//!
//! It is created with the database, so that the journal of one database's payments is never taken for another's.

use sea_orm::entity::prelude::*;

/// The account.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "account")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The gateway's name for the shop.
    pub merchant: String,
}

/// The table refers to no other.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
